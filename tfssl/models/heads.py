"""Heads behind the encoder: projectors, predictors and linear classifiers.

Each is a functional `keras.Model` with layers named `NAME_layer{0..}_dense`, `_bn` and
`_relu`: paths of variables stay apart where one optimiser trains several models.
Initial weights are a pure function of (seed, the model's name, the layer's name).
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfssl.core.seeds import init_seed
from tfssl.errors import ConfigError, message
from tfssl.models.families import get_family
from tfssl.models.normalization import get_normalization


@keras.saving.register_keras_serializable(package="tfssl")
class Projector(keras.Model):
    """A functional model that returns a list of outputs, be it of one."""

    def call(
        self, inputs: Any, training: bool | None = None, mask: Any = None
    ) -> list[Any]:
        """Returns the outputs as a list."""
        outputs = super().call(inputs, training=training, mask=mask)
        # Keras unwraps a list of one, and `[-1]` would then take the last row.
        return outputs if isinstance(outputs, list) else [outputs]


def simclr_head(
    in_dim: int,
    *,
    hidden: int | None = None,
    out: int = 128,
    layers: int = 3,
    seed: int,
    name: str = "projector",
    normalization: str = "batch",
    batch_norm_groups: int = 0,
    dtype: str | None = None,
) -> Projector:
    """Builds SimCLR's projector: `layers` linear layers, batch norm after each.

    The linear layers have no bias, and a ReLU stands between them. The last batch norm
    has a gamma and no beta, and no ReLU follows. Kernels start at N(0, 0.01**2).
    (google-research/simclr `tf2/model.py:ProjectionHead`: its `use_bias` sets the batch
    norm's beta and never a bias of the linear layer.)

    Args:
      in_dim: Length of the features.
      hidden: Width between the layers; None for `in_dim`, as published.
      out: Length of the projection.
      layers: 2 in SimCLR v1, 3 in v2; at least 1.
      seed: The run's seed.
      name: Of the model; part of what selects the draws.
      normalization: What stands in batch norm's place, see `NORMALIZATIONS`.
      batch_norm_groups: As of `BatchNorm`.
      dtype: Dtype or policy; None for Keras's global policy.

    Returns:
      `[b, in_dim]` to a list of every layer's output, after the ReLU where there is
      one: `[b, hidden]` ..., and last the projection `[b, out]`. v2 fine-tunes from
      the first of them.

    Raises:
      ConfigError: `layers < 1`, or an unknown normalisation.
    """
    if layers < 1:
        raise ConfigError(message(f"{layers} projector layers", "at least 1", "2 or 3"))
    inputs = _features(in_dim, dtype)
    rules = {**get_family("simclr").batch_norm(), "groups": batch_norm_groups}
    kind = get_normalization(normalization)
    x, outputs = inputs, []
    for index in range(layers):
        last = index == layers - 1
        weight = f"{name}_layer{index}_dense/kernel"
        kernel = keras.initializers.RandomNormal(0.0, 0.01, init_seed(seed, weight))
        width = out if last else (hidden or in_dim)
        layer = f"{name}_layer{index}"
        x = _dense(width, layer, kernel, bias=None, dtype=dtype, make=kind.dense)(x)
        x = kind.norm(rules, center=not last, name=f"{layer}_bn", dtype=dtype)(x)
        if not last:
            x = keras.layers.ReLU(name=f"{layer}_relu", dtype=dtype)(x)
        outputs.append(x)
    return Projector(inputs, outputs, name=name)


def byol_mlp(
    in_dim: int,
    *,
    hidden: int = 4096,
    out: int = 256,
    seed: int,
    name: str,
    normalization: str = "batch",
    batch_norm_groups: int = 0,
    dtype: str | None = None,
) -> keras.Model:
    """Builds BYOL's projector or predictor: linear, batch norm, ReLU, linear.

    The first linear layer has a bias, although a batch norm follows, the second one has
    none; kernels start at
    haiku's cut normal of deviation 1 / sqrt(fan_in). (deepmind-research
    `byol/utils/networks.py:MLP`; the paper's pseudo-code has a bias at the end too.)

    Args:
      in_dim: Length of the input.
      hidden: Width between the two layers.
      out: Length of the output.
      seed: The run's seed.
      name: Of the model, for example `"predictor"`; part of what selects the draws.
      normalization: What stands in batch norm's place, see `NORMALIZATIONS`.
      batch_norm_groups: As of `BatchNorm`.
      dtype: Dtype or policy; None for Keras's global policy.

    Returns:
      `[b, in_dim]` to `[b, out]`.

    Raises:
      ConfigError: An unknown normalisation.
    """
    inputs = _features(in_dim, dtype)
    rules = {**get_family("byol").batch_norm(), "groups": batch_norm_groups}
    kind = get_normalization(normalization)
    kernel = _haiku(in_dim, seed, f"{name}_layer0_dense/kernel")
    layer = f"{name}_layer0"
    x = _dense(hidden, layer, kernel, bias="zeros", dtype=dtype, make=kind.dense)(
        inputs
    )
    x = kind.norm(rules, name=f"{layer}_bn", dtype=dtype)(x)
    x = keras.layers.ReLU(name=f"{layer}_relu", dtype=dtype)(x)
    kernel = _haiku(hidden, seed, f"{name}_layer1_dense/kernel")
    x = _dense(out, f"{name}_layer1", kernel, bias=None, dtype=dtype)(x)
    return keras.Model(inputs, x, name=name)


def moco_head(
    in_dim: int,
    *,
    out: int = 128,
    mlp: bool,
    seed: int,
    name: str = "projector",
    dtype: str | None = None,
) -> keras.Model:
    """Builds MoCo's head: linear (v1), or linear, ReLU, linear (v2), with biases.

    Kernels and biases start uniform in +-1 / sqrt(fan_in), `torch.nn.Linear`'s
    default. (facebookresearch/moco `moco/builder.py`.)

    Args:
      in_dim: Length of the features, and of the hidden layer.
      out: Length of the output, before normalisation.
      mlp: Whether it is the v2 head.
      seed: The run's seed.
      name: Of the model; part of what selects the draws.
      dtype: Dtype or policy; None for Keras's global policy.

    Returns:
      `[b, in_dim]` to `[b, out]`.
    """
    inputs = _features(in_dim, dtype)
    x = inputs
    widths = [in_dim, out] if mlp else [out]
    for index, width in enumerate(widths):
        scope = f"{name}_layer{index}_dense"
        limit = in_dim**-0.5
        kernel, bias = (
            keras.initializers.RandomUniform(
                -limit, limit, init_seed(seed, f"{scope}/{leaf}")
            )
            for leaf in ("kernel", "bias")
        )
        x = _dense(width, f"{name}_layer{index}", kernel, bias=bias, dtype=dtype)(x)
        if index < len(widths) - 1:
            x = keras.layers.ReLU(name=f"{name}_layer{index}_relu", dtype=dtype)(x)
    return keras.Model(inputs, x, name=name)


def linear_head(
    in_dim: int,
    classes: int,
    *,
    seed: int,
    name: str = "classifier",
    family: str = "simclr",
    dtype: str | None = None,
) -> keras.Model:
    """Builds a linear classifier with bias, for probes and fine-tuning.

    The kernel starts at N(0, 0.01**2) in SimCLR and MoCo (`main_lincls.py`), at
    haiku's cut normal in BYOL; the bias at zero.

    Args:
      in_dim: Length of the features.
      classes: Number of classes.
      seed: The run's seed.
      name: Of the model; part of what selects the draw.
      family: `"simclr"`, `"byol"` or `"moco"`.
      dtype: Dtype or policy; None for Keras's global policy.

    Returns:
      `[b, in_dim]` to logits `[b, classes]`.
    """
    weight = f"{name}_layer0_dense/kernel"
    kernel: keras.initializers.Initializer
    if get_family(family).name == "byol":
        kernel = _haiku(in_dim, seed, weight)
    else:
        kernel = keras.initializers.RandomNormal(0.0, 0.01, init_seed(seed, weight))
    inputs = _features(in_dim, dtype)
    logits = _dense(classes, f"{name}_layer0", kernel, bias="zeros", dtype=dtype)(
        inputs
    )
    return keras.Model(inputs, logits, name=name)


def probabilities(logits: tf.Tensor, several_labels: bool = False) -> tf.Tensor:
    """Returns what logits `[b, C]` mean, float32.

    Args:
      logits: Of a classifier.
      several_labels: Whether an image may have several of the classes: then each has a
        sigmoid of its own, else all share a softmax.
    """
    link = tf.sigmoid if several_labels else tf.nn.softmax
    return link(tf.cast(logits, tf.float32))


def _features(in_dim: int, dtype: str | None):
    if dtype is None and keras.config.dtype_policy().name == "float64":
        dtype = "float64"  # an input is float32 else, and rounds what it is given
    return keras.Input((in_dim,), name="features", dtype=dtype and _plain(dtype))


def _plain(dtype: str) -> str:
    """Returns the dtype behind a name or a policy such as `mixed_bfloat16`."""
    return dtype.removeprefix("mixed_")


def _haiku(fan_in: int, seed: int, weight: str) -> keras.initializers.Initializer:
    stddev = fan_in**-0.5
    return keras.initializers.TruncatedNormal(0.0, stddev, init_seed(seed, weight))


def _dense(
    units: int, layer: str, kernel, *, bias, dtype, make=keras.layers.Dense
) -> keras.layers.Layer:
    return make(
        units,
        use_bias=bias is not None,
        kernel_initializer=kernel,
        bias_initializer="zeros" if bias is None else bias,
        name=f"{layer}_dense",
        dtype=dtype,
    )
