"""Finds the network that a file holds, and accounts for every tensor of the file."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, Mapping

from tfssl.config.encoder_name import BLOCKS, BOTTLENECK_FROM, EncoderSpec
from tfssl.errors import CheckpointError, message
from tfssl.weights.published import Matched, Tensor, Tensors, Wanted

_FLOATS = ("float16", "bfloat16", "float32")
_SHOWN = 12


def candidates(widths: Mapping[str, float]) -> Iterator[EncoderSpec]:
    """Yields every encoder that a file could hold.

    Args:
      widths: Width that the stem's channels mean, by form of the network: `"plain"`
        and `"sk"` (whose first stem convolution has half the channels); a form that
        the source does not have is absent.
    """
    for depth in BLOCKS:
        for form, width in widths.items():
            if form == "sk" and depth < BOTTLENECK_FROM:
                continue
            for cifar in (False, True):
                # The 32-pixel stem of a selective-kernel net is the plain one.
                value = widths["plain"] if cifar and "plain" in widths else width
                yield EncoderSpec(depth, value, form == "sk", cifar)


def nearest(
    found: Tensors,
    specs: Iterable[EncoderSpec],
    wanted: Callable[[EncoderSpec], list[Wanted]],
) -> EncoderSpec:
    """Returns the encoder whose tensors differ least from those of a file.

    A whole file fits one without any difference; of a damaged one the differences to
    the nearest are what helps.

    Args:
      found: The tensors of the encoder only.
      specs: What it could be.
      wanted: The tensors of each.

    Returns:
      One of `specs`.
    """

    def differences(spec: EncoderSpec) -> int:
        rows = {row.official: row.shape for row in wanted(spec)}
        names = set(rows) ^ set(found)
        return len(names) + sum(
            rows[name] != tensor.shape for name, tensor in found.items() if name in rows
        )

    return min(specs, key=differences)


def match(
    found: Tensors,
    wanted: list[Wanted],
    reason: Callable[[str], str | None],
    *,
    what: str,
) -> Matched:
    """Pairs the tensors of a file with ours; nothing may be left over.

    Args:
      found: All tensors of the file.
      wanted: Ours.
      reason: Why a tensor of this name is not needed; None if there is no reason.
      what: The file and the network that it was taken for, for the message.

    Returns:
      The pairs and what was ignored.

    Raises:
      CheckpointError: Tensors are missing, surplus, mis-shaped or no floats; all are
        listed.
    """
    problems = []
    pairs = []
    for row in wanted:
        tensor = found.get(row.official)
        if tensor is None:
            problems.append(f"missing {row.official} {list(row.shape)}")
        elif tensor.shape != row.shape:
            shapes = f"{list(tensor.shape)} instead of {list(row.shape)}"
            problems.append(f"{row.official} has shape {shapes}")
        elif not _fits(row, tensor):
            problems.append(f"{row.official} is {tensor.dtype}, not float32")
        else:
            pairs.append((row, tensor))
    officials = {row.official for row in wanted}
    used = {tensor.key for name, tensor in found.items() if name in officials}
    ignored: dict[str, list[str]] = collections.defaultdict(list)
    for name, tensor in found.items():
        if tensor.key in used:
            continue
        if why := reason(name):
            ignored[why].append(name)
        else:
            problems.append(f"surplus {name} {list(tensor.shape)}")
    if problems:
        raise CheckpointError(_refusal(problems, what))
    return Matched(pairs, dict(ignored))


def _fits(row: Wanted, tensor: Tensor) -> bool:
    # Counters and the head of the queue are the only whole numbers that we take.
    counts = row.name.endswith(("/counter", "queue/head"))
    return tensor.dtype.startswith("int") if counts else tensor.dtype in _FLOATS


def _refusal(problems: list[str], what: str) -> str:
    shown = "; ".join(problems[:_SHOWN])
    if len(problems) > _SHOWN:
        shown += f"; and {len(problems) - _SHOWN} more"
    return message(
        f"{len(problems)} differences between {what}: {shown}",
        "every tensor used, or known and not needed",
        "another kind in source=KIND:PATH, or another copy of the file",
    )
