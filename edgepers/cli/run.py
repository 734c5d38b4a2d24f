"""Run one command: print what it found, or the one line that says why not, and return its exit code."""

import argparse
import errno
import json
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from edgepers.cli import commands
from edgepers.cli.parser import build_parser
from edgepers.errors import EdgepersError, UsageError
from edgepers.model.heap import tune_malloc

__all__ = ["main"]

_STOPPED = "stopped; everything decided so far is kept, and the same command goes on from there"


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command: 0 done, 1 a known failure in one line, 2 wrong usage."""
    args = build_parser().parse_args(argv)
    tune_malloc()  # before torch makes a tensor
    signal.signal(signal.SIGTERM, _interrupt)
    resource.setrlimit(
        resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1])
    )  # a core file would hold what was decrypted
    try:
        outcome: commands.Outcome = args.run(args)
        if args.json:
            print(json.dumps(outcome.record, ensure_ascii=False, allow_nan=False))
        elif outcome.text:
            print(outcome.text)
        sys.stdout.flush()
        if not outcome.failure:
            return 0
        failure, code = outcome.failure, 1
    except UsageError as error:
        failure, code = str(error), 2
    except EdgepersError as error:
        failure, code = str(error), 1
    except KeyboardInterrupt:
        failure, code = _STOPPED, 1
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone; there is nobody to tell
        return 1
    except OSError as error:
        if (known := _os_failure(error, args)) is None:
            raise
        failure, code = known, 1
    print(f"edgepers: {failure}", file=sys.stderr)
    return code


def _os_failure(error: OSError, args: argparse.Namespace) -> str | None:
    """One line about a full disk, or about a path that was given; None for what a traceback should explain."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error.filename or 'disk'}: {error.strerror}; free some space, and the same command goes on from there"
    if error.filename is None:
        return None
    file = Path(os.fsdecode(error.filename)).absolute()
    given = [Path(value).absolute() for value in vars(args).values() if isinstance(value, str | Path)]
    if not any(file == path or path in file.parents or file in path.parents for path in given):
        return None
    return f"{error.filename}: {error.strerror}; check that path and its permissions"
