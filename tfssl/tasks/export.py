"""`--mode=export`: writes the trained encoder for other programs, see `--format`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import tfssl
from tfssl import build
from tfssl.build import Trained, trained, vectors
from tfssl.config import Config, method_row, tables
from tfssl.config.distill_flags import DistillFlags
from tfssl.config.encoder_name import is_foreign
from tfssl.config.flag import specs_of
from tfssl.config.groups import Images, Network, Training
from tfssl.config.tasks import FinetuneFlags
from tfssl.core.paths import AnyPath
from tfssl.data import inference, spread
from tfssl.embeddings.shard_files import FEATURES
from tfssl.errors import DataError, TfsslError, message, printable
from tfssl.exporters import CARD, About, Inference
from tfssl.exporters.verify import Sample, line, verified
from tfssl.runs import RunDirectory, checkpoint
from tfssl.show import console
from tfssl.show.model_card import model_card
from tfssl.tasks import Outcome, export_dense
from tfssl.weights import CLASSIFIER, licence_text

VERIFIED, CALIBRATION = 16, 128
"""Images to compare on, and to see the ranges of int8 on."""

SERVING = "serving"

DENSE = {"detect": export_dense.write_boxes, "segment": export_dense.write_masks}
"""Mode of a run that learned more than an encoder to what writes it."""


LEARNED = {"finetune": (FinetuneFlags,), "distill": (DistillFlags,)}
"""Mode of a run that learned classes to the flags that it did so by."""


def run(config: Config) -> Outcome:
    """Writes `run_dir/FORMAT`, such as `run_dir/saved_model` or `run_dir/litert_int8`.

    After `finetune` that is the fine-tuned run's directory, `run_dir/finetune`. Nothing
    takes its place that does not give the encoder's features in a process of its own.

    Returns:
      The path written.
    """
    with RunDirectory(config.run_dir) as directory:
        run = trained.of_command(config)
        path = place(directory.path, config)
        about = About(_metadata(config, run), _texts(run), None)
        if write := DENSE.get(run.config.mode):
            _require_saved_model(config, run)
            write(config, run, path, dataclasses.replace(about, texts=_licence(run)))
        else:
            _write_encoder(config, run, path, about)
    console.say(f"exported {run.path} to {path}")
    return Outcome(value=str(path))


def _write_encoder(config: Config, run: Trained, path: AnyPath, about: About) -> None:
    images = _OwnImages(run)
    given = _inference(config, run, images)
    if given.dtype == "int8":
        images.first(1)  # else its conversion would fail in the middle
    if config.export_verify:
        check = _check(config, run, given, images)
        about = dataclasses.replace(about, check=check)
    tables.find(tables.EXPORT_FORMATS, "format", config.format)(given, path, about)


def _require_saved_model(config: Config, run: Trained) -> None:
    if config.format != "saved_model":
        raise TfsslError(
            message(
                f"format={config.format} for {run.path}, a run of "
                f"mode={run.config.mode}",
                "saved_model, which alone holds its head",
                "format=saved_model",
            )
        )


def place(run_dir: AnyPath, config: Config) -> AnyPath:
    """Where an export goes: a folder a format, or the next version for a server."""
    if config.export_versions:
        base = run_dir / SERVING
        there = [p.name for p in base.iterdir()] if base.exists() else []
        return base / str(1 + max([int(n) for n in there if n.isdecimal()], default=0))
    dtype = config.export_dtype
    return run_dir / (config.format + ("" if dtype == "float32" else f"_{dtype}"))


class _OwnImages:
    """Images of the run's own training split, as the encoder gets them."""

    def __init__(self, run: Trained):
        self._run = run

    def first(self, count: int) -> tuple[np.ndarray, str]:
        """At most `count` readable images `[n, S, S, 3]`, spread; and what they are.

        Raises:
          DataError: None can be read.
        """
        source = self._source
        part = spread(source, count)
        batches = inference(
            part,
            self._run.transform,
            batch=part.num_examples,
            image_size=self._run.image_size,
        )
        found = [batch["image"].numpy()[batch["mask"].numpy()] for batch in batches]
        images = np.concatenate(found)
        if not len(images):
            raise DataError(
                message(
                    f"{part.num_examples} unreadable images of {source.name}",
                    "images that the run was trained on",
                    "another export_dtype than int8",
                )
            )
        return images, f"{len(images)} images of {printable(source.name)}"

    @functools.cached_property
    def _source(self) -> Any:
        config = self._run.config
        return build.source(config, config.train_split, memory=0)


def _inference(config: Config, run: Trained, images: _OwnImages) -> Inference:
    return Inference(
        encoder=run.encoder,
        classifier=run.head,
        several_labels=run.several_labels,
        transform=run.transform,
        image_size=run.image_size,
        any_size=not is_foreign(run.config.encoder),
        max_pixels=config.max_image_pixels,
        orient=config.orient,
        on_error=config.export_on_error,
        dtype=config.export_dtype,
        sample=lambda: images.first(CALIBRATION)[0],
        linear=_linear(run),
    )


def _check(
    config: Config, run: Trained, given: Inference, images: _OwnImages
) -> Callable[[Path], Mapping[str, Any]]:
    def check(folder: Path) -> Mapping[str, Any]:
        try:
            chosen, of = images.first(VERIFIED)
        except TfsslError as error:
            # The images may be on another machine by now; the weights are here.
            console.say(f"compared on noise: {error}")
            size = run.image_size
            noise = np.random.default_rng(0).uniform(size=(VERIFIED, size, size, 3))
            chosen, of = np.float32(noise), f"{VERIFIED} images of noise"
        sample = Sample(chosen, run.features, of)
        found = verified(folder, config.format, given, sample)
        console.say(f"{config.format}: {line(found)}")
        return {"verified": found}

    return check


def _metadata(config: Config, run: Trained) -> dict[str, Any]:
    of = run.config
    found = {
        "tfssl": tfssl.__version__,
        "format": config.format,
        "dtype": config.export_dtype,
        "method": of.method,
        "encoder": of.encoder,
        "encoder_family": of.encoder_family,
        "dataset": of.dataset,
        "checkpoint": run.checkpoint.name if run.checkpoint else None,
        "provenance": run.provenance,
        "image_size": run.image_size,
        "orient": config.orient,
        "feature_dim": int(run.encoder.outputs[0].shape[-1]),
        "num_classes": run.head and int(run.head.outputs[0].shape[-1]),
        "weights_sha256": vectors.weights_digest({FEATURES: run.encoder}),
    }
    names = list(map(printable, run.class_names))
    return found | ({"classes": names} if names else {})


def _texts(run: Trained) -> dict[str, Any]:
    of, results = run.config, run.results
    groups = (Network, Images, Training, method_row(of.method).flags)
    groups += LEARNED.get(of.mode, ())
    names = [name for group in groups for name in specs_of(group)]
    recipe = {name: text for name in [*names, "seed"] if (text := of.text(name))}
    recipe.pop("teacher", None)  # a path
    if of.mode in LEARNED and not isinstance(of.label_fraction, str):
        recipe["label_fraction"] = of.text("label_fraction")
    card = functools.partial(
        model_card,
        recipe=recipe,
        scores=run.scores,
        data=list(results.get("data", {}).values()),
        unreadable=len(results.get("skipped_files") or []),
    )
    return {CARD: card, **_licence(run)}


def _licence(run: Trained) -> dict[str, str]:
    """The notice that travels with weights that are not ours."""
    record = run.provenance
    return {"LICENSE-weights.txt": licence_text(record)} if record else {}


def _linear(run: Trained) -> tuple[np.ndarray, np.ndarray] | None:
    """A classifier right behind the encoder: fine-tuned, or come with the weights."""
    record = run.provenance
    supervised = record and record["source"]["kind"] == "torchvision"
    if not supervised and run.head is None:
        return None
    tensors = checkpoint.read(run.checkpoint, CLASSIFIER) if run.checkpoint else {}
    names = [f"{CLASSIFIER}/{leaf}" for leaf in ("kernel", "bias")]
    kernel, bias = (tensors.get(name) for name in names)
    behind_projector = run.head is not None and run.config.finetune_layer > 0
    return (
        None if kernel is None or bias is None or behind_projector else (kernel, bias)
    )
