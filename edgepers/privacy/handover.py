"""The key that wraps a ring, from a program to the one that takes its place in the same process: a passphrase is typed once.

It lies in anonymous memory, which has no name and no disk, and which other programs that are started do not get.
"""

import os

__all__ = ["hand_over", "handed_over"]

_HANDED = "EDGEPERS_HANDED_KEY"  # process, file descriptor, state


def hand_over(state: str, key: bytes) -> None:
    """Leave the wrapping key of a state for what `os.execv` starts next; without anonymous memory (not Linux), it is asked for again."""
    if not hasattr(os, "memfd_create"):
        return
    file = os.memfd_create("edgepers")
    os.write(file, key)
    os.set_inheritable(file, True)
    os.environ[_HANDED] = f"{os.getpid()}:{file}:{state}"


def handed_over(state: str) -> bytes | None:
    """The wrapping key of this state, where this process left it before."""
    process, _, rest = os.environ.get(_HANDED, "").partition(":")
    file, _, of = rest.partition(":")
    if process != str(os.getpid()) or of != state:
        return None
    os.set_inheritable(int(file), False)
    return os.pread(int(file), 32, 0)
