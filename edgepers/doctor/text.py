"""The findings as people read them: at the terminal, and in a report that may be given away."""

import getpass
import os
import re
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from edgepers import __version__
from edgepers.doctor.finding import Finding
from edgepers.text import table, wrap

__all__ = ["findings_text", "report_text"]

_ANYBODY = {"", "root", "nvidia", "ubuntu", "jetson", "localhost"}
_PATH = re.compile(r"(?<![\w:/.])/(?!dev/|etc/nv|proc/|sys/)[\w.+@~-]+(?:/[\w.+@~-]*)+")


def findings_text(findings: Sequence[Finding], columns: int | None = None) -> str:
    """The findings as a table, wrapped to the terminal, each cure below what it cures."""
    columns = columns or shutil.get_terminal_size((100, 24)).columns
    names = max(len(finding.name) for finding in findings)
    room = max(columns - max(names, len("check")) - 10, 30)
    rows = []
    for finding in findings:
        lines = wrap(finding.found, room) + (wrap(f"cure: {finding.cure}", room) if finding.cure else [])
        rows += [(finding.name, finding.status, lines[0]), *(("", "", line) for line in lines[1:])]
    return table(rows, ("check", "status", "found"))


def _names() -> list[str]:
    """What this machine and its user are called."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in containers
        user = ""
    names = {user, socket.gethostname(), os.environ.get("SUDO_USER", "")} - _ANYBODY
    return sorted((name for name in names if len(name) > 1), key=len, reverse=True)


def report_text(findings: Sequence[Finding], state: Path | None = None) -> str:
    """Lay findings out as a page for an issue.

    Paths and the names of machine and user are left out; cures are, too, since they are known.
    """
    hidden = [str(path) for given in ([state] if state else []) for path in (given.expanduser().absolute(), given)] + [
        str(Path.home())
    ]
    lines = [f"edgepers {__version__}"]
    for finding in findings:
        text = finding.found
        for private in hidden:
            text = text.replace(private, "<path>") if len(private) > 1 else text
        text = _PATH.sub("<path>", text)
        for name in _names():
            text = re.sub(rf"\b{re.escape(name)}\b", "<name>", text)
        lines.append(f"{finding.name}: {finding.status}: {text}")
    return "\n".join(lines) + "\n"
