"""One training of many in a command: a run directory of its own, done once."""

from __future__ import annotations

from collections.abc import Callable

from tfssl.config import Config
from tfssl.config.flagfile import to_flagfile
from tfssl.runs import RunDirectory
from tfssl.show import console
from tfssl.tasks import Outcome


def run_once(
    one: Config,
    mode: str,
    task: Callable[[Config], Outcome],
    title: str,
    after: Callable[[RunDirectory], None] = lambda _: None,
) -> RunDirectory:
    """Runs a mode in `one.run_dir`, unless it is done there with the same flags.

    So a command that is killed goes on where it was.

    Args:
      one: Flags of this point.
      mode: Its only mode.
      task: The mode's function.
      title: What the console calls it.
      after: Leaves something in the directory before the point counts as done.

    Returns:
      The directory.
    """
    point = RunDirectory(one.run_dir)
    done, text = point.path / f"{mode}.done.cfg", to_flagfile(one)
    if done.is_file() and done.read_text("utf-8") == text:
        console.say(f"{title}: is there")
        return point
    console.say(title)
    task(one)
    after(point)
    point.write_atomic(done, text)
    return point
