"""One error text for two doors: arguments in Python, flags on the command line.

The library names arguments (`got batch_size=3; expected ...`). The command line adds
the dashes, and a call from Python takes off those of the flags' own rules.
"""

from __future__ import annotations

import functools
import re

from tfssl.config import SPECS


def with_dashes(text: str) -> str:
    """Writes the arguments that a text names as flags.

    `name=` is one wherever it stands, a bare name where it has an underscore: "seed"
    and "encoder" are also words.
    """

    def flag(match: re.Match[str]) -> str:
        name, value = match["name"], match["value"]
        if value in ("=True", "=False") and SPECS[name].boolean:
            return f"--{'' if value == '=True' else 'no'}{name}"
        return f"--{name}{value}" if value or "_" in name else match[0]

    return _arguments().sub(flag, text)


def without_dashes(text: str) -> str:
    """Writes the flags that a text names as arguments."""

    def argument(match: re.Match[str]) -> str:
        name, value = match["name"], match["value"]
        if not SPECS[name].boolean:
            return f"{name}{value}"
        return f"{name}={value != '=false' and not match['no']}"

    return _flags().sub(argument, text)


@functools.cache
def _arguments() -> re.Pattern[str]:
    names = "|".join(sorted(SPECS, key=len, reverse=True))
    # No part of a path, of a longer name, of an attribute or of a call.
    return re.compile(
        rf"(?<![\w./:@-])(?P<name>{names})(?P<value>=True\b|=False\b|=|(?![\w/(-]|\.\w))"
    )


@functools.cache
def _flags() -> re.Pattern[str]:
    names = "|".join(sorted(SPECS, key=len, reverse=True))
    return re.compile(
        rf"(?<![\w-])--(?P<no>no)?(?P<name>{names})(?![\w])(?P<value>=true\b|=false\b|=?)"
    )
