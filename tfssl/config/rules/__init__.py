"""Every rule that a `Config` must obey; all broken ones are reported at once.

Layer 0, no TensorFlow: a wrong flag answers before the slow import. One file per
subject; `FIELD_RULES` look at a flag by itself, `RULES` at the resolved whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from tfssl.config.config import Config, known_row, resolve
from tfssl.config.flag import NUMBER, PATH, TEXT, WHOLE, WHOLES, Spec
from tfssl.config.method_row import Rule
from tfssl.config.rules import (
    convert,
    data,
    dense,
    detect,
    distill,
    embeddings,
    export,
    foreign_encoder,
    job,
    machine,
    method,
    training,
    transfer,
)
from tfssl.errors import message, unknown

_SUBJECTS = (
    job, convert, data, method, foreign_encoder, training, machine, export, embeddings,
    distill, transfer, dense, detect,
)  # fmt: skip
LARGEST = 2**31 - 1
"""Of whole numbers without a bound of their own: more steps, images or neighbours are a
slip, and leave the 64 bits of what is counted from them."""

_FIELD_RULES: tuple[Rule, ...] = sum((s.FIELD_RULES for s in _SUBJECTS), ())
_RULES: tuple[Rule, ...] = sum((s.RULES for s in _SUBJECTS), ())


def validate(config: Config) -> list[str]:
    """Finds all problems of a configuration.

    Args:
      config: As given, or as `tfssl.config.resolve` left it; both get one answer.

    Returns:
      One finished "got …; expected …; try …" sentence per problem; empty if none.
    """
    problems = field_problems(config)
    config = resolve(config)
    row = known_row(config.method)
    for rule in (*_RULES, *(row.rules if row else ())):
        problems += rule(config)
    return problems


def field_problems(config: Config) -> list[str]:
    """Returns the problems of each flag by itself: type, bounds, choices, grammar."""
    problems: list[str] = []
    for name, spec in config.specs.items():
        value = getattr(config, name)
        if spec.left_open(value):
            continue
        if spec.choices and value not in spec.choices:
            problems.append(unknown(f"--{name}", value, spec.choices))
        elif spec.kind in (WHOLE, NUMBER):
            problems += _out_of_bounds(name, spec, value)
        elif spec.kind is WHOLES and max(value, default=0) > LARGEST:
            problems += _out_of_bounds(name, spec._replace(kind=WHOLE), max(value))
        elif spec.kind in (TEXT, PATH) and not str(value).isprintable():
            problems.append(
                message(
                    f"--{name}={value!r}",
                    "printable text",
                    f"--{name} on a line; of a path, a link with a plain name",
                )
            )
    for rule in _FIELD_RULES:
        problems += rule(config)
    return problems


def _out_of_bounds(name: str, spec: Spec, value: float) -> Iterator[str]:
    near = spec.default or 1
    if isinstance(near, tuple):
        near = near[0]
    bounds: list[tuple[bool, str, float]] = []
    if spec.low is not None:
        bounds.append((value >= spec.low, f">= {spec.low:.10g}", spec.low))
    if spec.above is not None:
        bounds.append((value > spec.above, f"> {spec.above:.10g}", near))
    high = spec.high
    if spec.kind is WHOLE and value > LARGEST:
        high = high or LARGEST
    if high is not None:
        bounds.append((value <= high, f"<= {high:.10g}", high))
    if spec.kind is NUMBER and not math.isfinite(value):
        bounds.append((False, "finite", near))
    broken = [instead for holds, _, instead in bounds if not holds]
    if broken:
        expected = "a number " + " and ".join(text for _, text, _ in bounds)
        yield message(f"--{name}={value}", expected, f"--{name}={broken[-1]:.10g}")
