"""Talks that their owner has switched off: nothing is learned of them, after a restart neither."""

import hashlib
import json
from pathlib import Path

from edgepers.errors import StateError
from edgepers.files import replace_file

__all__ = ["QuietTalks"]

MOST = 10_000


class QuietTalks:
    """Names of talks, as digests, in a file; the oldest are forgotten past `MOST`.

    Args:
        file: made with the first name.

    Raises:
        StateError: the file cannot be read.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        try:
            self._digests: list[str] = list(json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            self._digests = []
        except (OSError, ValueError, TypeError) as error:
            raise StateError(f"{file}: {error}; mend it, or delete it and switch those talks off again") from None

    def __contains__(self, session: str) -> bool:
        return bool(session) and _digest(session) in self._digests

    def switch(self, session: str, *, learn: bool) -> None:
        """Learn from a talk, or from now on not; durable when this returns."""
        digest = _digest(session)
        others = [one for one in self._digests if one != digest]
        digests = others if learn else [*others, digest][-MOST:]
        if digests != self._digests:
            replace_file(self._file, json.dumps(digests))
            self._digests = digests


def _digest(session: str) -> str:
    return hashlib.blake2b(session.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
