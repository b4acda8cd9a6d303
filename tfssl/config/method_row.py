"""The description of a method that needs no TensorFlow: one row of a table.

Layer 0. Choices, defaults, help, checks, rounding and builder derive from the row, for
the methods of `tfssl.config.methods` and for `--method=MODULE:NAME` alike.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tfssl.config.flag import Flags, Spec, specs_of
from tfssl.config.groups import GROUPS
from tfssl.errors import ConfigError, message

if TYPE_CHECKING:
    from tfssl.config.config import Config

SMALL_IMAGE = 32
"""Images up to this side take a row's defaults for small ones (SimCLR's limit)."""

WARMUP_SHARE = 0.25
"""The default warm-up is at most this share of the run (BYOL's 10 of 40 epochs)."""

NEEDED = (
    "encoder_family",
    "augment",
    "optimizer",
    "learning_rate",
    "weight_decay",
    "warmup_epochs",
)
"""Shared flags for which every method has a default of its own."""

OTHER_OPTIMIZER_DEFAULTS: Mapping[str, Mapping[str, object]] = {
    "lars": {"learning_rate": 0.3, "weight_decay": 1e-6},
    "sgd": {"learning_rate": 0.03, "weight_decay": 1e-4},
    "adamw": {"learning_rate": 5e-4, "weight_decay": 1e-4},
    "lamb": {"learning_rate": 1e-3, "weight_decay": 1e-4},
}
"""Rates for an optimiser that is not the method's own (LARS' .3 would blow up AdamW).
Ours, not published."""

Rule = Callable[["Config"], Iterator[str]]
"""Yields the problems of a resolved `Config`, each a finished sentence."""


def _nothing(config: Config, small: bool) -> Mapping[str, object]:
    del config, small
    return {}


def _never(config: Config) -> bool:
    del config
    return False


@dataclasses.dataclass(frozen=True)
class MethodRow:
    """One method.

    Attributes:
      build: Of the method's own flags and a `tfssl.methods.Setup` to a
        `tfssl.methods.Method`; the function, or `"module:function"`.
      flags: The flags that the method reads and no mode does. A field's default is
        what was published on ImageNet, its `small` what was for images up to 32
        pixels.
      defaults: The published values of shared flags; all of `NEEDED`.
      small: What replaces `defaults` for images up to 32 pixels.
      adapt: Of the configuration as given, and whether its images are small, to what
        replaces any of these defaults; None: there is no such thing.
      rules: What must hold between flags, beside each one's bounds.
      rounding: Of epochs to updates, see `tfssl.optim.total_steps`: `floor`,
        `floor_plus_one` or `drop_last`.
      cosine_by_epoch: Without a warm-up, a cosine moves once an epoch.
      lr_in_velocity: See `tfssl.optim.build_optimizer`.
      decays_probe: False: the optimiser neither decays nor adapts the online probe
        (SimCLR's decay of it is in the loss).
      couples_rows: True where the loss of a row depends on the batch's other rows.
      keeps_projector: Fine-tuning may keep layers of the projector.
    """

    build: str | Callable[..., Any]
    flags: type[Flags]
    defaults: Mapping[str, object]
    small: Mapping[str, object] = dataclasses.field(default_factory=dict)
    adapt: Callable[[Config, bool], Mapping[str, object]] = _nothing
    rules: tuple[Rule, ...] = ()
    rounding: str = "drop_last"
    cosine_by_epoch: bool = False
    lr_in_velocity: bool | None = None
    decays_probe: bool = True
    couples_rows: Callable[[Config], bool] = _never
    keeps_projector: bool = False

    def __post_init__(self) -> None:
        """Refuses a row that is not whole.

        Raises:
          ConfigError: A default is missing, or is of no flag.
        """
        shared = {name for group in GROUPS for name in specs_of(group)}
        own = set(specs_of(self.flags))
        absent = sorted(set(NEEDED) - set(self.defaults))
        strange = sorted((set(self.defaults) | set(self.small)) - shared)
        problems = []
        if absent:
            problems.append(
                message(
                    f"a method row without {', '.join(absent)}",
                    "defaults for " + ", ".join(NEEDED),
                    f"defaults={{{absent[0]!r}: ...}}",
                )
            )
        if strange:
            problems.append(
                message(
                    f"a method row with defaults for {', '.join(strange)}",
                    "shared flags; an own flag's default stands with its field",
                    f"a field in {self.flags.__name__}",
                )
            )
        if taken := sorted(own & shared):
            problems.append(
                message(
                    f"{self.flags.__name__} with the field {taken[0]}",
                    "names that no shared flag has",
                    f"defaults={{{taken[0]!r}: ...}}, or another name",
                )
            )
        if problems:
            raise ConfigError(problems)

    def specs(self) -> dict[str, Spec]:
        """Returns the own flags as the command line sees them.

        Left open, they take the published value; so each has the default None, and a
        switch False.
        """
        found = {}
        for name, spec in specs_of(self.flags).items():
            open_ = spec.default if spec.boolean else None
            found[name] = spec._replace(
                default=open_, published=spec.default, group="method"
            )
        return found

    def published(self, config: Config) -> dict[str, object]:
        """Returns the value of every flag that the method decides.

        Args:
          config: As given; its image size, epochs and optimiser choose among what was
            published.

        Returns:
          Flag to value; None where this variant of the method has no such thing.
        """
        small = config.image_size is not None and config.image_size <= SMALL_IMAGE
        table: dict[str, object] = dict(self.defaults)
        for name, spec in self.specs().items():
            table[name] = spec.published
            if small and spec.small is not None:
                table[name] = spec.small
        if small:
            table |= self.small
        table |= self.adapt(config, small)
        if config.optimizer and config.optimizer != table["optimizer"]:
            table |= OTHER_OPTIMIZER_DEFAULTS.get(config.optimizer, {})
            table["optimizer"] = config.optimizer
        warmup = float(self.defaults["warmup_epochs"])  # type: ignore[arg-type]
        table["warmup_epochs"] = min(warmup, WARMUP_SHARE * config.epochs)
        return table
