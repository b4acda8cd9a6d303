"""Every kind of source gives the same examples after a resume and on any replicas."""

import json

import numpy as np
import pytest

from tfssl.augment import RECIPES
from tfssl.config.tables import DATASETS
from tfssl.data import open_source, training
from tfssl.data.tfrecord_write import Settings, begin, end, write_shard

BATCH, STEPS = 8, 5


def folder(tmp_path, files):
    files.tree(tmp_path / "pictures", ["a", "b"], 10)
    return f"folder:{tmp_path}/pictures"


def file_list(tmp_path, files):
    folder(tmp_path, files)
    names = [f"{c}/{n:03}.png\t{c}" for c in "ab" for n in range(10)]
    (tmp_path / "pictures" / "list.txt").write_text("\n".join(names))
    return f"list:{tmp_path}/pictures/list.txt"


def tfrecord(tmp_path, files):
    settings, out = Settings(folder(tmp_path, files), "all", 3), str(tmp_path / "out")
    source = open_source(settings.dataset, "all", image_size=8, memory=0)
    begin(source, settings, out)
    for number in range(3):
        write_shard(source, settings, out, number)
    end(source, settings, out)
    return f"tfrecord:{out}/all-*"


def arrays(tmp_path, files):
    images = np.stack([files.picture(number) for number in range(20)])
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(20) % 2)
    return f"arrays:{tmp_path}/set.npz"


def masks(tmp_path, files):
    for folder_ in ("images", "masks"):
        (tmp_path / folder_).mkdir()
        for number in range(20):
            pixels = files.picture(number)
            data = files.encoded(
                pixels[..., 0] % 4 if folder_ == "masks" else pixels, "PNG"
            )
            (tmp_path / folder_ / f"{number}.png").write_bytes(data)
    return f"masks:{tmp_path}"


def coco(tmp_path, files):
    files.tree(tmp_path / "images", ["a", "b"], 10)
    names = [f"{c}/{n:03}.png" for c in "ab" for n in range(10)]
    images = [{"id": n, "file_name": name} for n, name in enumerate(names)]
    content = {"images": images, "annotations": [], "categories": []}
    (tmp_path / "all.json").write_text(json.dumps(content))
    return f"coco:{tmp_path}"


MAKE = {
    "shapes": lambda *_: "shapes:20",
    "folder": folder,
    "list": file_list,
    "tfrecord": tfrecord,
    "arrays": arrays,
    "masks": masks,
    "coco": coco,
}


def test_every_kind_is_here():
    # test_tfds_source.py prepares one; voc and yolo are coco's class.
    assert set(MAKE) == set(DATASETS) - {"tfds", "voc", "yolo"}


def check_order(source):
    """Example order and views: after a resume, on 1, 2 and 4 replicas, on 2 workers."""

    def stream(batches, start=0, **rows):
        dataset = training(
            source, RECIPES["simclr_cifar"], seed=3, start_step=start,
            global_batch=BATCH, image_size=8, **{"replica_batch": BATCH, **rows},
        )  # fmt: skip
        parts = list(dataset.take(batches).as_numpy_iterator())
        return {key: np.concatenate([p[key] for p in parts]) for key in parts[0]}

    def same(a, b):
        for key in ("id", "label", "views"):
            np.testing.assert_array_equal(a[key], b[key], err_msg=key)

    whole = stream(STEPS)
    n = source.num_examples
    assert sorted(whole["id"][:n]) == sorted(source.ids)
    same(stream(2, start=3), {key: value[3 * BATCH :] for key, value in whole.items()})
    for replicas in (2, 4):
        same(stream(STEPS * replicas, replica_batch=BATCH // replicas), whole)
    half = BATCH // 2
    workers = [
        stream(STEPS, first_row=row, rows=half, replica_batch=half) for row in (0, half)
    ]
    for key, value in whole.items():
        parts = [w[key].reshape(STEPS, half, *value.shape[1:]) for w in workers]
        joined = np.concatenate(parts, 1).reshape(value.shape)
        np.testing.assert_array_equal(joined, value, err_msg=key)


@pytest.mark.slow
def test_images_in_memory_keep_the_order_and_its_promises(tmp_path, files):
    spec = folder(tmp_path, files)
    options = {"image_size": 8, "index_dir": str(tmp_path / "index")}
    kept = open_source(spec, "all", **options)
    assert kept.shape is not None  # so views are cut a batch at a time
    check_order(kept)
    plain = open_source(spec, "all", memory=0, **options)
    settings = {"global_batch": BATCH, "replica_batch": BATCH, "image_size": 8}
    first, second = (
        next(iter(training(s, RECIPES["byol_cifar"], seed=1, start_step=2, **settings)))
        for s in (kept, plain)
    )
    assert first.keys() == second.keys()
    # The batch holds the end of one epoch and the beginning of the next.
    for key in ("id", "label", "index"):
        np.testing.assert_array_equal(first[key], second[key])


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(MAKE))
def test_same_examples_after_resume_and_on_any_replicas(kind, tmp_path, files):
    spec = MAKE[kind](tmp_path, files)
    split = "train" if kind == "shapes" else "all"
    size = 16 if kind == "shapes" else 8
    options = {"image_size": size, "memory": 0, "index_dir": str(tmp_path / "index")}
    source = open_source(spec, split, **options)
    again = open_source(spec, split, **options)
    np.testing.assert_array_equal(source.ids, again.ids)
    check_order(source)
