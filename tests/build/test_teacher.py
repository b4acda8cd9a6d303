"""Who can teach: models by import path, and whose classes are whose."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from examples import teacher as teacher_example
from tests import foreign_models
from tfssl import build
from tfssl.augment import RECIPES, eval_transform
from tfssl.build import teacher as teachers
from tfssl.config import Config, resolve
from tfssl.core import runtime
from tfssl.data import inference
from tfssl.errors import ConfigError
from tfssl.models import build_foreign_teacher

HERE = "tests.foreign_models"


def test_a_model_elsewhere_teaches_its_logits_in_float32_and_is_frozen():
    with runtime.precision("mixed_bfloat16"):
        model = build_foreign_teacher(f"{HERE}:teacher", logits=True)
    images = np.random.default_rng(0).random((3, 16, 16, 3)).astype(np.float32)
    want = foreign_models.teacher()(images).numpy()
    assert model(images).dtype == tf.float32 and not model.trainable_weights
    np.testing.assert_array_equal(model(images), want)


def test_a_backbone_of_a_dict_teaches_the_mean_of_its_maps():
    model = build_foreign_teacher(f"{HERE}:teacher_of_maps", logits=False)
    images = np.random.default_rng(0).random((3, 24, 24, 3)).astype(np.float32)
    maps = foreign_models.teacher_of_maps()({"images": images}).numpy()
    np.testing.assert_allclose(model(images), maps.mean((1, 2)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "logits", "words"),
    [
        ("probabilities", True, "probabilities"),
        ("teacher_of_maps", True, "logits .b, classes."),
        ("of_bytes", True, "multiplies its images by 0.0039"),
        ("number", True, "expected a functional keras.Model"),
        ("two_outputs", False, "fails"),
        ("broken", True, "no such luck"),
        ("nobody", True, "nobody"),
        ("subclassed", True, "0 inputs"),
    ],
)
def test_what_cannot_teach_is_refused_with_a_reason(name, logits, words):
    with pytest.raises(ConfigError, match=words):
        build_foreign_teacher(f"{HERE}:{name}", logits=logits)


def test_an_application_is_refused_since_its_images_are_others():
    with pytest.raises(ConfigError, match="preprocess_input"):
        build_foreign_teacher("keras.applications:ResNet50", logits=True)


def test_the_example_wraps_one_that_wants_bytes():
    keras.utils.set_random_seed(0)
    model = teacher_example.mobilenet(weights=None)
    images = np.random.default_rng(0).random((1, 224, 224, 3)).astype(np.float32)
    got = model(images).numpy()
    assert got.shape == (1, 1000) and (got < 0).any()  # logits
    np.testing.assert_allclose(
        got, model.layers[-1](images * 255), rtol=1e-4, atol=1e-5
    )


def of_classes(source, width=10, names=()):
    crop = eval_transform(RECIPES["linear_simclr"])
    one = teachers.Teacher("t", (foreign_models.teacher(),), 16, crop, width)
    return teachers.other_classes(dataclasses.replace(one, class_names=names), source)


def test_classes_are_compared_by_number_and_by_name():
    config = resolve(Config(dataset="shapes:32", image_size=16))
    source = build.source(config, "train")
    names = tuple(source.class_names)
    assert of_classes(source) == of_classes(source, names=names) == ""
    assert "7 of the teacher" in of_classes(source, 7)
    swapped = (names[1], names[0], *names[2:])
    assert repr(names[0]) in of_classes(source, names=swapped)


def test_problems_of_a_teacher_are_found_before_training():
    flags = {"dataset": "shapes:32", "image_size": 16, "mode": "distill"}
    config = resolve(Config(teacher=f"{HERE}:teacher", **flags))
    source = build.source(config, "train")
    assert teachers.problems(config, source) == []
    wrong = dataclasses.replace(config, teacher=f"{HERE}:probabilities")
    assert "probabilities" in teachers.problems(wrong, source)[0]
    gone = dataclasses.replace(config, teacher="no/such/run")
    assert "holds no run" in teachers.problems(gone, source)[0]


def test_outputs_of_every_image_stand_in_the_order_of_the_source():
    config = resolve(
        Config(dataset="shapes:20", image_size=16, teacher=f"{HERE}:teacher")
    )
    source = build.source(config, "train")
    teacher = teachers.load(config)
    table = teacher.of_every_image(source)
    batches = inference(source, teacher.transform, batch=20, image_size=16)
    images = next(iter(batches))["image"]
    np.testing.assert_allclose(table, teacher.says(images), rtol=1e-4, atol=1e-5)
