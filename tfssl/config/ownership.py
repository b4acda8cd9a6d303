"""Flags that nothing asked for reads: refused, with who does.

A flag counts where it stands on the command line itself (or is a keyword in Python)
with another value than its default and than the stored run's. In a flagfile it may
wait: a recipe holds the flags of every mode that will follow.
"""

from __future__ import annotations

from tfssl.config.config import Config, known_row, modes, owners, specs
from tfssl.config.flag import specs_of
from tfssl.config.inherit import Parsed
from tfssl.config.tasks import TASKS
from tfssl.errors import message


def readers(name: str) -> list[str]:
    """Returns the modes that read a flag, in the order of `TASKS`.

    A mode that reads it beside another flag only comes as `"pretrain with --other"`.
    """
    of_a_method = bool(owners(name))
    found = []
    for mode, task in TASKS.items():
        beside = [
            f" with --{other}"
            for other, groups in task.only_with.items()
            if name != other and any(name in specs_of(group) for group in groups)
        ]
        if name in task.beside:
            other, values = task.beside[name]
            beside.append(f" with --{other}" + "=" * bool(values) + " or ".join(values))
        if name in task.flags() or (of_a_method and task.method):
            found.append(mode + "".join(beside))
    return found


def read_by(config: Config) -> set[str]:
    """Returns the flags that the modes asked for, and the method, read.

    Flags of other methods count as read: whether they fit the method is another rule.
    """
    of_methods = {name for name in specs(config.method) if owners(name)}
    if row := known_row(config.method):
        of_methods |= row.specs().keys()
    found: set[str] = set()
    for mode in modes(config):
        if task := TASKS.get(mode):
            found |= task.flags() - task.unread(config.values())
            found |= of_methods if task.method else set()
    return found


def unread_flags(parsed: Parsed, stored: Config | None = None) -> list[str]:
    """Returns a sentence for each flag typed that no mode asked for reads.

    Args:
      parsed: The command line.
      stored: The run that it evaluates: to repeat its flags says nothing new.
    """
    config = parsed.config
    if not set(modes(config)) & TASKS.keys():
        return []  # already reported
    typed = parsed.given if parsed.typed is None else parsed.typed & parsed.given
    wanted = read_by(config)
    problems = []
    for name, spec in config.specs.items():
        value = getattr(config, name)
        known = (spec.default, getattr(stored, name, spec.default))
        if name not in typed or name in wanted or value in known:
            continue
        who = readers(name) or ["pretrain"]
        problems.append(
            message(
                f"--{name}={config.text(name)} with --mode={config.mode}",
                f"--mode={' or '.join(who)}, which alone reads it",
                f"leaving --{name} away",
            )
        )
    return problems
