import subprocess
import sys

import pytest
import tensorflow as tf

from tests.worker_processes import ROOT
from tfssl.core.python_calls import python_call, python_errors_raised
from tfssl.errors import DataError

LONG = "got " + ", ".join(f"file{i}.jpg" for i in range(400)) + "; expected images"


def numbers(fail_at: int, error: Exception) -> tf.data.Dataset:
    def check(x):
        if x >= fail_at:
            raise error
        return x

    def call(x):
        return tf.ensure_shape(python_call(check, [x], tf.int64), [])

    return tf.data.Dataset.range(50).map(call, num_parallel_calls=2).prefetch(2)


def test_an_error_inside_tf_data_arrives_as_ours_whole():
    with pytest.raises(DataError) as caught, python_errors_raised():
        list(numbers(7, DataError(LONG)))
    assert str(caught.value) == LONG


def test_an_error_inside_a_function_over_a_dataset_arrives_too():
    @tf.function
    def total(data):
        return data.reduce(tf.constant(0, tf.int64), lambda a, b: a + b)

    with pytest.raises(DataError, match="file399"), python_errors_raised():
        total(numbers(7, DataError(LONG)))


def test_other_errors_stay_what_they_are():
    with pytest.raises(tf.errors.OpError), python_errors_raised():
        list(numbers(7, ValueError("not one of ours")))
    with pytest.raises(KeyError), python_errors_raised():
        raise KeyError("x")


def test_an_error_of_before_is_forgotten():
    with pytest.raises(DataError, match="first"), python_errors_raised():
        list(numbers(7, DataError("first")))
    with pytest.raises(tf.errors.InvalidArgumentError), python_errors_raised():
        tf.debugging.assert_equal(1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("bar", ["--tensorboard", "--notensorboard"])
@pytest.mark.parametrize("devices", [1, 2])
def test_unreadable_files_end_a_run_in_one_sentence_within_a_minute(
    tmp_path, bar, devices
):
    images = tmp_path / "images"
    images.mkdir()
    for i in range(40):
        (images / f"p{i}.jpg").write_bytes(b"\0\0\0\x1cftypavif" + bytes(1000))
    several = ["--strategy=mirrored", "--virtual_devices=2"] if devices == 2 else []
    command = [
        *(sys.executable, "-m", "tfssl.main", "--mode=pretrain", "--method=simclr"),
        *(f"--dataset=folder:{images}", f"--run_dir={tmp_path}/run", "--batch_size=16"),
        *("--encoder=resnet18x0.25_cifar", "--image_size=32", "--train_steps=4"),
        *("--train_split=all", "--projector_dim=16", "--noprogress", bar, *several),
    ]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("tfssl:")]
    assert len(lines) == 1 and lines[0].count(".jpg") >= 8
    assert "Traceback" not in done.stderr and "{{" not in done.stderr
