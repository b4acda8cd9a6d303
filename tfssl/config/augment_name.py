"""The grammar of `--augment`: a recipe's name, or a cell of SimCLR's Figure 5.

Layer 0, no TensorFlow. `figure5:FIRST` is on the diagonal of that figure, and
`figure5:FIRST+SECOND` applies two operators, FIRST first.
"""

from __future__ import annotations

from tfssl.config import tables
from tfssl.errors import ConfigError, message, unknown

FIGURE5 = "figure5:"
FIGURE5_OPERATORS = ("crop", "cutout", "color", "sobel", "noise", "blur", "rotate")
"""The rows of the figure (arXiv 2002.05709), in its order."""


def figure5_operators(name: str) -> tuple[str, ...]:
    """The operators of `figure5:FIRST[+SECOND]`, in the order of application.

    Args:
      name: A value of `--augment`.

    Returns:
      One or two of `FIGURE5_OPERATORS`; `()` for any other value of `--augment`.

    Raises:
      ConfigError: An unknown operator, more than two, or the same twice.
    """
    if not name.startswith(FIGURE5):
        return ()
    operators = tuple(name.removeprefix(FIGURE5).split("+"))
    problems = [
        unknown(f"--augment={name}: operator", operator, FIGURE5_OPERATORS)
        for operator in dict.fromkeys(operators)
        if operator not in FIGURE5_OPERATORS
    ]
    if not problems and len(operators) > 2:
        problems.append(
            message(f"--augment={name}", "one operator or two", "figure5:color+crop")
        )
    if not problems and len(set(operators)) < len(operators):
        problems.append(
            message(
                f"--augment={name}",
                "two different operators; the figure's diagonal is one alone",
                f"--augment={FIGURE5}{operators[0]}",
            )
        )
    if problems:
        raise ConfigError(problems)
    return operators


def check_augment(name: str) -> None:
    """Refuses what is neither a recipe for two views nor a cell of Figure 5.

    Raises:
      ConfigError: See `figure5_operators`, or an unknown recipe.
    """
    if not figure5_operators(name) and name not in tables.TWO_VIEW_RECIPES:
        known = (*tables.TWO_VIEW_RECIPES, f"{FIGURE5}FIRST+SECOND")
        raise ConfigError(unknown("--augment", name, known))
