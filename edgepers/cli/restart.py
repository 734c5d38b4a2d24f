"""Begin the same command anew in the same process: a heap that has been full stays in pieces, and a new program has a new one."""

import argparse
import os
import stat
import sys
from typing import NoReturn

from edgepers.errors import MicroBatchHalvedError

__all__ = ["can_restart", "restart"]

_RESTARTED = "EDGEPERS_RESTARTED"  # process, round and micro-batch of the last restart
_INPUTS = ("stream", "eval", "annotations")


def can_restart(error: MicroBatchHalvedError, args: argparse.Namespace) -> bool:
    """Whether the command, given again, goes on where this error left it: what it reads is still there, and it comes further each time."""
    if not sys.executable or os.environ.get(_RESTARTED) == _mark(error):
        return False
    return all(_is_still_there(getattr(args, name, None)) for name in _INPUTS)


def _mark(error: MicroBatchHalvedError) -> str:
    return f"{os.getpid()}:{error.round}:{error.micro_batch_tokens}"


def _is_still_there(source: object) -> bool:
    """A file or folder, or what is no path at all; what has been read of a pipe is gone."""
    if source is None:
        return True
    try:
        mode = os.stat(str(source)).st_mode
    except OSError:
        return source != "-"
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def restart(error: MicroBatchHalvedError) -> NoReturn:
    """Replace this program by the one that began it, with the same arguments, process number and terminal.

    Locks and open files go with the old program: whatever is to last must be closed before.
    """
    tokens = error.micro_batch_tokens
    print(
        f"edgepers: {error.what}; going on by itself from there, with micro-batches of {tokens} tokens", file=sys.stderr
    )
    os.environ[_RESTARTED] = _mark(error)
    error.hand_over()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
