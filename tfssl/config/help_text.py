"""`--help`: our own flags by group, each with default, choices and bounds."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from tfssl.config.command_line import parse
from tfssl.config.config import Config, known_row, modes, owners, specs
from tfssl.config.flag import AUTO_SWITCH, Spec
from tfssl.config.method_row import SMALL_IMAGE, MethodRow
from tfssl.config.methods import METHODS
from tfssl.config.ownership import read_by
from tfssl.config.tasks import TASKS

HELP_FLAGS = frozenset({"--help", "-help", "-h", "--helpfull", "--helpshort"})

_USAGE = """\
tfssl: self-supervised image representations (BYOL, SimCLR, MoCo).

  python -m tfssl.main --flagfile=flags/quickstart.cfg [--flag=value ...]

Later flags override earlier ones; --flagfile reads flags from a file, one a line.
A default in brackets depends on --method, and for images up to 32 pixels it is the
one published for CIFAR-10; run_dir/flags.cfg holds what was chosen.
--mode=MODE --help and --method=METHOD --help list what that one reads.
"""


def help_text(argv: Sequence[str] = ("tfssl",)) -> str:
    """Returns the help that a command line with `--help` asks for.

    Args:
      argv: Program name, then arguments. With `--mode` or `--method` among them, only
        what those read is listed.
    """
    parsed = parse([argv[0], *(a for a in argv[1:] if a not in HELP_FLAGS)])
    config, given = parsed.config, parsed.given
    row = known_row(config.method)
    shown: Mapping[str, Spec] = specs(config.method)
    names = {"modes": TASKS, "methods": METHODS}
    intro = [_USAGE, *(_listing(what, table) for what, table in names.items())]
    if row and "method" in given:
        own = row.specs()
        if "mode" in given:
            shown = {n: s for n, s in shown.items() if n in own or not owners(n)}
        else:
            decided = row.defaults.keys() | own.keys()
            shown = {n: s for n, s in shown.items() if n in decided}
        shown = {name: own.get(name, spec) for name, spec in shown.items()}
        intro = [f"Flags that --method={config.method} has or decides:"]
    if "mode" in given:
        asked = [TASKS[mode] for mode in modes(config) if mode in TASKS]
        wanted = read_by(config).union(*(task.beside for task in asked))
        shown = {name: spec for name, spec in shown.items() if name in wanted}
        intro = [f"Flags that --mode={config.mode} reads:"]
    rows = {config.method: row} if row and "method" in given else METHODS
    lines = [*intro]
    group = ""
    for name, spec in shown.items():
        if spec.group != group:
            group = spec.group
            lines.append(f"\n{group}:")
        lines.append(f"  --{name}={default_text(name, spec, rows)}")
        lines += textwrap.wrap(
            spec.help + limits_text(spec), 84, initial_indent="      ",
            subsequent_indent="      ",
        )  # fmt: skip
    return "\n".join(lines)


def _listing(what: str, names: Iterable[str]) -> str:
    text = f"{what}: {', '.join(names)}"
    return textwrap.fill(text, 84, subsequent_indent=" " * (len(what) + 2))


def default_text(name: str, spec: Spec, rows: Mapping[str, MethodRow] = METHODS) -> str:
    """A flag's default, or what it is by method where the method decides."""
    if spec.kind is AUTO_SWITCH or spec.default not in (None, "", ()):
        return spec.kind.text(spec.default)
    said = {}
    for method, row in rows.items():
        table = row.published(Config(method=method, image_size=SMALL_IMAGE + 1))
        if name in table and table[name] is not None:
            said[method] = spec.kind.text(table[name])
    return f"({', '.join(f'{m}: {text}' for m, text in said.items())})" if said else ""


def limits_text(spec: Spec) -> str:
    """A flag's choices and bounds, in brackets; empty where it has none."""
    parts = [" | ".join(spec.choices)] if spec.choices else []
    parts += [f">= {spec.low:.10g}"] if spec.low is not None else []
    parts += [f"> {spec.above:.10g}"] if spec.above is not None else []
    parts += [f"<= {spec.high:.10g}"] if spec.high is not None else []
    return f" ({', '.join(parts)})" if parts else ""
