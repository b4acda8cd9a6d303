import keras
import pytest
import tensorflow as tf

from tfssl.optim import excluded
from tfssl.optim.exclude import checked


class Named:
    """Stands for a Keras weight: a path and a shape."""

    def __init__(self, path, shape=(3, 4)):
        self.path, self.shape = path, shape


@pytest.mark.parametrize(
    ("path", "want"),
    [
        ("encoder/stem_conv/kernel", False),
        ("dense/kernel", False),
        ("normal_net/dense/kernel", False),
        ("normalised/conv/kernel", False),
        ("dense/bias", True),
        ("debias/kernel", False),
        ("encoder/batch_normalization_12/gamma", True),
        ("sync_batch_normalization_1/beta", True),
        ("net/batchnorm/scale", True),
        ("mlp/batch_norm/offset", True),
        ("block1_bn2/anything", True),
        ("bn/anything", True),
        ("LayerNorm/anything", True),
    ],
)
def test_default_by_path(path, want):
    # Matrices, so that the path alone decides (haiku's batch norm is (1, 1, 1, C)).
    assert excluded(None, [Named(path)]) == [want]


def test_default_excludes_vectors_without_a_telling_path():
    plain = [tf.Variable(tf.ones([3])), tf.Variable(tf.ones([3, 2]))]
    assert excluded(None, plain) == [True, False]
    assert excluded((), plain) == [False, False]


def test_keras_weights_are_matched_by_path_not_by_name():
    model = keras.Sequential(
        [
            keras.layers.Input([4]),
            keras.layers.Dense(3, name="head_supervised"),
            keras.layers.BatchNormalization(name="bn"),
            keras.layers.Dense(2, name="other"),
        ]
    )
    weights = model.trainable_variables
    names = [v.path for v in weights]
    assert [v.name for v in weights].count("kernel") == 2
    got = dict(zip(names, excluded(["head_supervised"], weights), strict=True))
    assert {n for n, out in got.items() if out} == {
        n for n in names if "head_supervised" in n
    }
    got = dict(zip(names, excluded(None, weights), strict=True))
    assert {n for n, out in got.items() if not out} == {
        n for n in names if n.endswith("kernel")
    }


def test_functions_decide_alone():
    weights = [Named("a/bias", (3,)), Named("b/kernel")]
    assert excluded(lambda path: path.startswith("b"), weights) == [False, True]


def test_patterns_are_checked():
    with pytest.raises(ValueError, match="regular expression"):
        checked(["("])
    assert checked("bias") == ("bias",)
