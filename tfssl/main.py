"""The program: `python -m tfssl.main` and the console script `tfssl`."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from tfssl.config import Config, launch, modes, startup
from tfssl.config import command_line as cli
from tfssl.config.complete import settle
from tfssl.config.help_text import HELP_FLAGS, help_text
from tfssl.config.inherit import Parsed
from tfssl.config.remote import is_remote
from tfssl.config.rules import field_problems
from tfssl.errors import ConfigError, TfsslError, message


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the modes that a command line asks for, in order.

    Args:
      argv: Program name, then arguments; `sys.argv` if None.

    Returns:
      The exit code: 0 done, 1 it failed, 2 the flags are wrong.
    """
    argv = list(sys.argv if argv is None else argv)
    if HELP_FLAGS.intersection(argv[1:]):
        with contextlib.suppress(BrokenPipeError):
            print(help_text(argv), flush=True)
            return 0
        # `tfssl --help | head`: Python flushes once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    try:
        config = _configuration(cli.parse(argv))
        startup.prepare_environment()
        launch.prepare(config, os.environ)
        with startup.without_chatter(hold=config.strategy != "tpu"):
            from tfssl.core import runtime
            from tfssl.core.python_calls import python_errors_raised
            from tfssl.tasks import MODES

            runtime.find_devices()
        for mode in modes(config):
            share = launch.share(config, mode, os.environ)
            several = config.strategy == launch.MULTIWORKER
            with (
                runtime.lost_workers_named(config.run_dir, several=several),
                python_errors_raised(),
            ):
                code = MODES[mode](share) if share else 0
            if mode == "convert":
                # What the file holds stands in the run directory now.
                config, _ = cli.read(argv)
            # From here on the run directory holds the encoder, not what it came from.
            if mode == "pretrain":
                config = dataclasses.replace(config, init_from="")
            if code:
                return code
    except ConfigError as error:
        for problem in error.problems:
            print(f"tfssl: {problem}", file=sys.stderr)
        return 2
    except TfsslError as error:
        print(f"tfssl: {error}", file=sys.stderr)
        return 1
    return 0


def _configuration(parsed: Parsed) -> Config:
    """The configuration to run, by what a remote run directory holds too.

    TensorFlow reads that, so it loads before the rest of the flags is known; what it
    needs to know for that must be on the command line.

    Raises:
      ConfigError: Anything is wrong.
      RemoteError: A remote directory cannot be read.
    """
    asked = parsed.config
    if not (is_remote(asked.run_dir) or is_remote(asked.init_from)):
        return settle(parsed)
    wrong = [*parsed.problems, *field_problems(asked)]
    if wrong := wrong or launch.problems(asked, os.environ):
        raise ConfigError(wrong)
    startup.prepare_environment()
    launch.prepare(asked, os.environ)
    with startup.without_chatter(hold=asked.strategy != "tpu"):
        import tfssl.core.paths  # noqa: F401  (TensorFlow, for `settle`)
    config = settle(parsed)
    if config.strategy == "tpu" != asked.strategy:
        raise ConfigError(
            message(
                f"--strategy=tpu in the stored flags of {asked.run_dir} alone",
                "it on the command line, as it must be known before those are read",
                "adding --strategy=tpu, or another --strategy",
            )
        )
    return config


def program() -> NoReturn:
    """Runs `main` and ends the process, also while threads of TensorFlow still read.

    A thread of tf.data that wants to call Python while the interpreter takes itself
    down waits for ever.
    """
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
