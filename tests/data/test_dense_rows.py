"""Batches of images with boxes: one stream, whatever replicas and restarts."""

import numpy as np
import pytest
import tensorflow as tf

from tfssl.augment import dense
from tfssl.augment.dense import DenseView
from tfssl.data import dense_inference, dense_training, open_source, spread
from tfssl.data.drawing import SEEN, draw, draw_scene
from tfssl.data.objects import CROWD, DIFFICULT, Objects, OfImage, Padded
from tfssl.errors import DataError

VIEW = DenseView((24, 48))
HOW = {"seed": 3, "global_batch": 4, "canvas": (32, 32)}


@pytest.fixture(scope="module")
def scenes():
    return open_source("shapes:12", "train", image_size=32, targets="boxes")


def steps(source, **how):
    batches = dense_training(source, VIEW, **{"start_step": 0, **HOW, **how})
    found = list(batches.take(2 * HOW["global_batch"] // how["replica_batch"]))
    return tf.nest.map_structure(lambda *rows: np.concatenate(rows), *found)


def test_two_replicas_and_a_resumed_run_see_the_same_rows(scenes):
    one = steps(scenes, replica_batch=4)
    two = steps(scenes, replica_batch=2)
    later = next(
        iter(dense_training(scenes, VIEW, start_step=1, replica_batch=4, **HOW))
    )
    tf.nest.map_structure(np.testing.assert_array_equal, one, two)
    tf.nest.map_structure(
        lambda a, b: np.testing.assert_array_equal(a[4:], b), one, later
    )
    boxes, classes = one["target"]["boxes"], one["target"]["classes"]
    assert one["views"].shape == (8, 1, 32, 32, 3)
    assert boxes.shape[:2] == classes.shape == (8, Padded(scenes.objects).most)
    there = classes >= 0
    assert there.any()
    assert (boxes[~there] == 0).all()
    assert (boxes[there][:, 2:] > boxes[there][:, :2]).all()
    assert boxes.max() <= 32
    assert {len(np.unique(one["label"]))} == {1}


def test_every_example_once_and_boxes_come_back(scenes):
    seen = []
    for rows in dense_inference(scenes, batch=5, canvas=(64, 48)):
        for place in np.flatnonzero(rows["mask"]):
            index = int(rows["index"][place])
            seen.append(index)
            cut = dense.fitted(tf.constant(32), tf.constant(32), (64, 48))
            inside, _ = dense.moved_boxes(scenes.objects.images[index].boxes, cut)
            back = dense.restored_boxes(
                inside, rows["source"][place], rows["shown"][place]
            )
            want = scenes.objects.images[index].boxes
            np.testing.assert_allclose(back, want, atol=1e-4)
            assert tuple(rows["shown"][place].numpy()) == (48, 48)
    assert seen == list(range(12))


def test_a_part_of_a_source_has_its_own_objects(scenes):
    part = spread(scenes, 5)
    want = [scenes.objects.images[i * 12 // 5].boxes for i in range(5)]
    for image, boxes in zip(part.objects.images, want, strict=True):
        np.testing.assert_array_equal(image.boxes, boxes)


def test_scenes_are_crowded_and_cut_and_their_boxes_bound_what_is_seen():
    drawn = [draw_scene(n, "train", 64) for n in range(60)]
    again = draw_scene(7, "train", 64)
    np.testing.assert_array_equal(again.image, drawn[7].image)
    assert not np.array_equal(draw(7, "train", 64).image, drawn[7].image)
    overlap = cut = 0
    for scene in drawn:
        assert (scene.masks.sum(0) <= 1).all()
        for box, mask in zip(scene.boxes, scene.masks, strict=True):
            rows, columns = np.nonzero(mask)
            edges = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
            np.testing.assert_array_equal(box, edges)
            assert mask.sum() >= SEEN
            cut += box.min() == 0 or box.max() == 64
            y0, x0, y1, x1 = box.astype(int)
            overlap += (scene.masks[:, y0:y1, x0:x1].any((1, 2)).sum() > 1).sum()
    assert overlap > 20
    assert cut > 20
    assert {len(s.boxes) for s in drawn} >= {1, 2, 3, 4, 5}
    assert {int(c) for s in drawn for c in s.classes} == set(range(10))


def test_crowds_are_not_learned_and_classes_are_matched_by_name():
    image = OfImage.of(
        [[0, 0, 2, 2], [1, 1, 5, 5], [0, 0, 9, 9]], [0, 1, 1], [0, DIFFICULT, CROWD]
    )
    objects = Objects(("a", "b"), (image, OfImage.of([], [])))
    assert objects.text() == (
        "3 objects of 2 classes, 1 difficult, 1 crowds, 1 images without any"
    )
    boxes, classes = Padded(objects)(tf.constant(0, tf.int64))
    assert classes.numpy().tolist() == [0, 1]
    assert boxes.numpy()[1].tolist() == [1, 1, 5, 5]
    assert Padded(objects)(tf.constant(1, tf.int64))[1].numpy().tolist() == [-1, -1]
    known, left_out = objects.in_classes(("b", "c"))
    assert left_out == {"a": 1}
    assert known.images[0].classes.tolist() == [0, 0]
    assert known.class_names == ("b", "c")
    assert known.digest() != objects.digest()


def test_a_data_set_without_boxes_is_refused():
    with pytest.raises(DataError, match="no boxes"):
        open_source("folder:/nowhere", "train", image_size=32, targets="boxes")
