"""The program: `python -m tfssl.main` and the console script `tfssl`."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from tfssl import tasks
from tfssl.config import command_line as cli
from tfssl.config import launch, startup
from tfssl.config.help_text import HELP_FLAGS, help_text
from tfssl.config.wording import with_dashes
from tfssl.errors import ConfigError, Stopped, TfsslError

STOPPED = 42
"""Exit code of a run that a signal ended after a checkpoint; start it again."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the modes that a command line asks for, in order.

    Args:
      argv: Program name, then arguments; `sys.argv` if None.

    Returns:
      The exit code: 0 done, 1 it failed, 2 the flags are wrong, 42 a signal ended a
      training after a checkpoint, and the same command goes on.
    """
    argv = list(sys.argv if argv is None else argv)
    if HELP_FLAGS.intersection(argv[1:]):
        with contextlib.suppress(BrokenPipeError):
            print(help_text(argv), flush=True)
            return 0
        # `tfssl --help | head`: Python flushes once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    parsed = cli.parse(argv)
    try:
        tasks.run(parsed, with_dashes)
    except Stopped as stopped:
        if launch.is_chief(parsed.config, os.environ):
            from tfssl.show import console  # no terminal's encoding ends it

            console.say(str(stopped))
        return STOPPED
    except ConfigError as error:
        for problem in error.problems:
            print(f"tfssl: {with_dashes(problem)}", file=sys.stderr)
        return 2
    except TfsslError as error:
        print(f"tfssl: {with_dashes(str(error))}", file=sys.stderr)
        return 1
    return 0


def program() -> NoReturn:
    """Runs `main` and ends the process, also while threads of TensorFlow still read.

    A thread of tf.data that wants to call Python while the interpreter takes itself
    down waits for ever.
    """
    startup.drop_false_alarms()
    try:
        code = main()
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    logging.shutdown()
    os._exit(code)


if __name__ == "__main__":
    program()
