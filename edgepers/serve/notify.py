"""Tells systemd how the server is, where systemd has started it: sd_notify's protocol, a datagram to a socket."""

import contextlib
import os
import socket

__all__ = ["notify", "watchdog_seconds"]


def notify(state: str) -> None:
    """Tell systemd a state, such as "READY=1"; without systemd, or where it does not listen, nothing is done."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # of the abstract namespace
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.sendto(state.encode("ascii"), address)


def watchdog_seconds() -> float | None:
    """Seconds after which systemd ends a process that has not said "WATCHDOG=1"; None where this one is not watched."""
    microseconds, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or int(microseconds) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(microseconds) / 1e6
