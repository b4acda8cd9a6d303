"""Files of searches and selections: tables, lists for `list:`, pages of pictures."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections.abc import Iterable, Sequence

import numpy as np

from tfssl import build
from tfssl.augment.recipes import EvalTransform
from tfssl.build import pictures
from tfssl.config import Config
from tfssl.data import Source
from tfssl.embeddings.reading import Embeddings
from tfssl.embeddings.shard_files import HEAD, replacing
from tfssl.errors import DataError
from tfssl.runs import RunDirectory
from tfssl.show import console
from tfssl.show.report.gallery import Picture, PictureRow, build_gallery


class Findings:
    """Files about rows of embeddings, in one folder.

    Args:
      directory: Of the run that the command is about.
      name: Of the folder in it.
      table: The embeddings.
      config: Of the command; where the pictures are, the embeddings know.
    """

    def __init__(
        self, directory: RunDirectory, name: str, table: Embeddings, config: Config
    ):
        self.directory, self._table = directory, table
        self.folder = directory.path / name
        self._config = dataclasses.replace(config, **table.manifest["flags"])
        self._files: list[tuple[str, str]] = []
        self._images: dict[int, np.ndarray | None] = {}
        self.folder.mkdir(parents=True, exist_ok=True)

    def write_table(
        self, name: str, columns: Sequence[str], lines: Iterable[tuple[int, tuple]]
    ) -> None:
        """Writes a CSV file: a row of the embeddings, and what was found of it.

        Args:
          name: Of the file.
          columns: What stands before id, key, label and class name.
          lines: Row and the columns' values.
        """
        rows = self._table.rows
        text = io.StringIO()
        out = csv.writer(text)
        out.writerow((*columns, *HEAD))
        for row, values in lines:
            label = int(rows.labels[row])
            name_ = self._table.class_name(row)
            head = rows.ids[row], rows.keys[row], label if label >= 0 else "", name_
            out.writerow((*values, *head))
        self._write(name, text.getvalue(), "table")

    def write_list(self, name: str, groups: Sequence[np.ndarray], title: str) -> None:
        """Writes a file that `list:` and `--label_fraction` read.

        Args:
          name: Of the file.
          groups: Rows; where there are several, a comment stands above each.
          title: What is in it.
        """
        lines, lost = [], 0
        for number, group in enumerate(groups, 1):
            if len(groups) > 1:
                lines.append(f"# group {number}: {len(group)} images")
            for row in group:
                key = self._table.rows.keys[row]
                if _unlistable(key):
                    lost += 1
                    continue
                of = self._table.class_name(row)
                lines.append(f"{key}\t{of}" if of else key)
        if lost:
            console.say(f"{lost} names hold a line break or a tab: not in {name}")
        self._write(name, "".join(f"{line}\n" for line in lines), title)

    def load_pictures(self, rows: np.ndarray) -> None:
        """Loads small pictures of rows, for `tiles`; negative rows are none.

        Where the data set is not there any more, the page has no pictures, and a word
        says so.
        """
        rows = np.unique(rows[rows >= 0]).astype(np.int64)
        if not len(rows):
            return
        try:
            source = build.source(self._config, self._table.manifest["split"], memory=0)
        except DataError as error:
            console.say(f"no pictures: {error}")
            return
        transform = EvalTransform(**self._table.manifest["transform"])
        place = _places(source, self._table.rows.ids[rows])
        known = np.flatnonzero(place >= 0)
        images = pictures.pictures(
            source, place[known], transform, self._table.manifest["image_size"]
        )
        self._images |= dict(zip(rows[known].tolist(), images, strict=True))

    def tiles(
        self, rows: np.ndarray, notes: Sequence[str], like: str = ""
    ) -> list[Picture]:
        """Rows as pictures for a page; see `load_pictures`.

        Args:
          rows: The rows.
          notes: One for each.
          like: Class that a match has; "" where that is not asked.
        """
        tiles = []
        for row, note in zip(rows, notes, strict=True):
            of, key = self._table.class_name(row), self._table.rows.keys[row]
            image = self._images.get(int(row))
            match = of == like if of and like else None
            tiles.append(Picture(image, of or os.path.basename(key), note, match, key))
        return tiles

    def write_page(
        self,
        name: str,
        title: str,
        lead: str,
        rows: Sequence[PictureRow],
        facts: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Writes the page, with the addresses of the files written so far."""
        facts = [("vectors", f"{len(self._table):,}"), *facts]
        page = build_gallery(title, lead, rows, facts=facts, files=self._files)
        self._write(name, page, "page")

    def _write(self, name: str, text: str, what: str) -> None:
        with replacing(self.folder / name) as out:
            out.write(text.encode("utf-8", "surrogateescape"))
        console.say(f"{what}: {self.folder / name}")
        self._files.append((what, str(self.folder / name)))


def _places(source: Source, ids: np.ndarray) -> np.ndarray:
    """Index of each id in a source, -1 where it has none."""
    order = np.argsort(source.ids, kind="stable")
    sorted_ids = source.ids[order]
    place = np.minimum(np.searchsorted(sorted_ids, ids), len(order) - 1)
    return np.where(sorted_ids[place] == ids, order[place], -1)


def _unlistable(key: str) -> bool:
    return key != key.strip() or any(mark in key for mark in "\n\r\t")
