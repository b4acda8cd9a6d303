"""The program: `python -m tfssl.main` and the console script `tfssl`."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence

from tfssl import cli, launch, startup
from tfssl.config import modes
from tfssl.errors import ConfigError, TfsslError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the modes that a command line asks for, in order.

    Args:
      argv: Program name, then arguments; `sys.argv` if None.

    Returns:
      The exit code: 0 done, 1 it failed, 2 the flags are wrong.
    """
    argv = list(sys.argv if argv is None else argv)
    if cli.HELP_FLAGS.intersection(argv[1:]):
        print(cli.help_text())
        return 0
    try:
        config, _ = cli.read(argv)
        startup.prepare_environment()
        launch.prepare(config, os.environ)
        with startup.without_chatter(hold=config.strategy != "tpu"):
            from tfssl.core import runtime
            from tfssl.modes import MODES

            runtime.find_devices()
        for mode in modes(config):
            share = launch.share(config, mode, os.environ)
            with runtime.lost_workers_named(config.run_dir):
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


if __name__ == "__main__":
    sys.exit(main())
