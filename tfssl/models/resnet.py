"""ResNet encoders: functional `keras.Model`s from images to features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from tfssl.config.encoder_name import EncoderSpec, check_image_size, parse_encoder
from tfssl.models import blocks
from tfssl.models.convolution import GlobalMean
from tfssl.models.families import get_family
from tfssl.models.images import Normalize, Rgb
from tfssl.models.normalization import get_normalization


@keras.saving.register_keras_serializable(package="tfssl")
class Encoder(keras.Model):
    """ResNet of depth 10 to 200 as SimCLR, BYOL or MoCo define it.

    Images `[b, H, W, 3]`, RGB in [0, 1], to features `[b, F]`, the mean over positions
    of the last stage's output (after its ReLU).

    Layers are named `normalize` (where there is a mean), `stem_conv`, `stem_bn`;
    `stage{1..4}_block{0..}_` followed by `conv{1..3}`, `bn{1..3}`, `shortcut_conv`,
    `shortcut_bn`, with selective kernels `sk_reduce`, `sk_bn`, `sk_expand`; `features`.
    A variable's path is its layer's
    name and `kernel`, `gamma`, `beta`, `moving_mean`, `moving_variance` or `counter`.
    These names are the checkpoint format.

    Args:
      encoder: A name, see `tfssl.config.encoder_name`.
      family: `"simclr"`, `"byol"` or `"moco"`: paddings, projection shortcuts, batch
        norm rules and initial weights, see `FAMILIES`.
      image_size: Side, (height, width), or None for any size at each call.
      seed: Initial weights are a pure function of (seed, layer name).
      normalization: `"batch"`, `"group_ws"` or `"none"`, see `NORMALIZATIONS`.
      batch_norm_groups: 0 normalises the global batch, G >= 1 G groups of it, see
        `BatchNorm`.
      batch_norm_interleaved: Whether these groups are interleaved.
      zero_init_last_gamma: Whether residual branches start at zero; None does as the
        family does.
      mean: RGB mean that images are normalised by, as the method's recipe says; None
        takes images that are normalised already, or need not be (SimCLR).
      std: RGB deviation, or None.
      dtype: Dtype or policy of all layers; None for Keras's global policy.
      name: Of the Keras model.

    Attributes:
      tfssl_spec: The `EncoderSpec` behind the name.

    Raises:
      ConfigError: Unknown name, family or normalisation, or images too small for
        the network.
    """

    def __init__(
        self,
        encoder: str,
        *,
        family: str = "simclr",
        image_size: int | tuple[int, int] | None = 224,
        seed: int = 0,
        normalization: str = "batch",
        batch_norm_groups: int = 0,
        batch_norm_interleaved: bool = False,
        zero_init_last_gamma: bool | None = None,
        mean: Rgb = None,
        std: Rgb = None,
        dtype: str | None = None,
        name: str = "encoder",
    ):
        spec = parse_encoder(encoder)
        size = _two_sizes(image_size)
        for side in size:
            if side is not None:
                check_image_size(spec, side)
        facts = get_family(family)
        if zero_init_last_gamma is None:
            zero_init_last_gamma = facts.starts_at_zero(spec.bottleneck)
        parts = blocks.Parts(
            family=facts,
            seed=seed,
            zero_last_gamma=zero_init_last_gamma,
            normalization=get_normalization(normalization),
            norm_options={
                "groups": batch_norm_groups,
                "interleaved": batch_norm_interleaved,
            },
            dtype=dtype,
        )
        images = keras.Input((*size, 3), name="images", dtype=_input_dtype(dtype))
        x = images if mean is std is None else Normalize(mean, std)(images)
        features = _resnet(parts, x, spec)
        super().__init__(inputs=images, outputs=features, name=name)
        self.tfssl_spec = spec
        self._arguments = {
            "encoder": encoder,
            "family": family,
            "image_size": image_size,
            "seed": seed,
            "normalization": normalization,
            "batch_norm_groups": batch_norm_groups,
            "batch_norm_interleaved": batch_norm_interleaved,
            "zero_init_last_gamma": zero_init_last_gamma,
            "mean": mean,
            "std": std,
            "dtype": dtype,
        }

    @property
    def pyramid_level_inputs(self) -> dict[str, str]:
        """Returns the names of the layers that put out P2 to P5, as KerasCV takes them.

        Pk has 1 / 2**k of the image's side (twice and a half that with the CIFAR
        stem: P2 then has all of it).
        """
        return {
            f"P{stage + 1}": f"stage{stage}_block{count - 1}_out"
            for stage, count in enumerate(self.tfssl_spec.blocks, 1)
        }

    @property
    def pyramid_outputs(self) -> dict:
        """Returns P2 to P5 as symbolic tensors `[b, h, w, C]`, for KerasHub."""
        names = self.pyramid_level_inputs
        return {level: self.get_layer(name).output for level, name in names.items()}

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**self._arguments, "name": self.name}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Encoder:
        """Rebuilds the network from `get_config`."""
        size = config["image_size"]
        if isinstance(size, list):  # JSON has no tuples
            config = {**config, "image_size": tuple(size)}
        return cls(**config)


def _two_sizes(image_size) -> tuple[int | None, int | None]:
    if image_size is None or isinstance(image_size, int):
        return image_size, image_size
    height, width = image_size
    return height, width


def _input_dtype(dtype: str | None) -> str | None:
    """Images stay float32 up to the first layer, which casts them."""
    policy = dtype or keras.config.dtype_policy().name
    return "float64" if policy == "float64" else "float32"


def _resnet(parts: blocks.Parts, images, spec: EncoderSpec):
    deep = spec.sk and not spec.cifar
    x = blocks.stem(parts, images, spec.channels(64), cifar=spec.cifar, deep=deep)
    for stage, count in enumerate(spec.blocks, 1):
        filters = spec.channels(64 * 2 ** (stage - 1))
        for block in range(count):
            stride = 2 if stage > 1 and block == 0 else 1
            x = _block(parts, x, f"stage{stage}_block{block}", spec, filters, stride)
    return GlobalMean(name="features", dtype=parts.dtype)(x)


def _block(parts, x, prefix: str, spec: EncoderSpec, filters: int, stride: int):
    out = filters * spec.expansion
    skip = x
    first = prefix.endswith("_block0")
    if first and (parts.family.project_first or stride > 1 or x.shape[-1] != out):
        skip = blocks.shortcut(parts, x, prefix, out, stride, pool=spec.sk)
    if spec.bottleneck:
        x = blocks.bottleneck(parts, x, prefix, filters, stride, sk=spec.sk)
    else:
        x = blocks.basic(parts, x, prefix, filters, stride)
    return parts.residual(x, skip, prefix)


def _of_depth(depth: int) -> Callable[..., Encoder]:
    def build(
        *, width: float = 1, sk: bool = False, cifar: bool = False, **options
    ) -> Encoder:
        return Encoder(EncoderSpec(depth, width, sk, cifar).name, **options)

    build.__name__ = build.__qualname__ = f"resnet{depth}"
    build.__doc__ = (
        f"Builds a ResNet-{depth}; arguments of `EncoderSpec` and `Encoder`."
    )
    return build


resnet10 = _of_depth(10)
resnet18 = _of_depth(18)
resnet34 = _of_depth(34)
resnet50 = _of_depth(50)
resnet101 = _of_depth(101)
resnet152 = _of_depth(152)
resnet200 = _of_depth(200)
