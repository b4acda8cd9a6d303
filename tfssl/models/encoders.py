"""Encoders by name: the table, and one function per depth for use as a library."""

from __future__ import annotations

from collections.abc import Callable

from tfssl.config.encoder_name import EncoderSpec
from tfssl.models.resnet import Encoder


def build_encoder(
    name: str,
    *,
    family: str,
    image_size: int | tuple[int, int] | None,
    seed: int,
    normalization: str = "batch",
    batch_norm_groups: int = 0,
    batch_norm_interleaved: bool = False,
    zero_init_last_gamma: bool | None = None,
    dtype: str | None = None,
) -> Encoder:
    """Builds an encoder, images `[b, S, S, 3]` to features `[b, F]`.

    Args:
      name: `resnetDEPTH[xWIDTH][_sk][_cifar]`, see `tfssl.encoder_name`.
      family: `"simclr"`, `"byol"` or `"moco"`.
      image_size: Side, (height, width), or None for any size at each call.
      seed: Initial weights are a pure function of (seed, layer name).
      normalization: `"batch"`, `"group_ws"` or `"none"`, see `NORMALIZATIONS`.
      batch_norm_groups: 0 for the global batch, else the number of groups.
      batch_norm_interleaved: Whether these groups are interleaved.
      zero_init_last_gamma: None does as the family does.
      dtype: Dtype or policy of all layers; None for Keras's global policy.

    Returns:
      A functional `keras.Model` with `tfssl_spec` and `pyramid_outputs`.

    Raises:
      ConfigError: Unknown name, family or normalisation, or images too small for
        the network.
    """
    return Encoder(
        name,
        family=family,
        image_size=image_size,
        seed=seed,
        normalization=normalization,
        batch_norm_groups=batch_norm_groups,
        batch_norm_interleaved=batch_norm_interleaved,
        zero_init_last_gamma=zero_init_last_gamma,
        dtype=dtype,
    )


def _of_depth(depth: int) -> Callable[..., Encoder]:
    def build(
        *,
        width: float = 1,
        sk: bool = False,
        cifar: bool = False,
        family: str = "simclr",
        image_size: int | tuple[int, int] | None = 224,
        seed: int = 0,
        **options,
    ) -> Encoder:
        spec = EncoderSpec(depth, width, sk, cifar)
        return build_encoder(
            spec.name, family=family, image_size=image_size, seed=seed, **options
        )

    build.__name__ = build.__qualname__ = f"resnet{depth}"
    build.__doc__ = (
        f"ResNet-{depth}, images to features; arguments as of `EncoderSpec` and"
        " `build_encoder`."
    )
    return build


resnet18 = _of_depth(18)
resnet34 = _of_depth(34)
resnet50 = _of_depth(50)
resnet101 = _of_depth(101)
resnet152 = _of_depth(152)
resnet200 = _of_depth(200)

ENCODERS: dict[str, Callable[..., Encoder]] = {
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "resnet101": resnet101,
    "resnet152": resnet152,
    "resnet200": resnet200,
}
