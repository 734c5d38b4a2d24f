"""A stream cut into micro-batches that are aligned to its positions, so that an interruption changes nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from edgepers.errors import StreamError
from edgepers.state.progress import Progress
from edgepers.streams import Arrival, Cursor, Stream

__all__ = ["MICRO_BATCH", "MicroBatch", "MicroBatches"]

MICRO_BATCH = 32  # sets answered and scored together; 16 took 1.7 times as long a set (benchmarks/LOG.md)
_SHOWN = 10  # malformed lines told one by one


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Consecutive valid sets of a stream that are scored together; empty at the stream's end."""

    first: int  # position of the first of them
    arrivals: Sequence[Arrival]
    stream: str = ""  # the stream's fingerprint, where it has one

    def __len__(self) -> int:
        return len(self.arrivals)

    @property
    def end(self) -> int:
        """The position after its last set."""
        return self.first + len(self.arrivals)


class MicroBatches:
    """Reads on from the micro-batch that a buffer's progress is in.

    Args:
        stream: what to read.
        progress: of the buffer.
        strict: a malformed line is an error.
        log: told of malformed lines, the first ten.

    Attributes:
        position: of the next set.
        invalid: malformed lines so far.
    """

    def __init__(self, stream: Stream, progress: Progress, *, strict: bool, log: Callable[[str], None]) -> None:
        start = Cursor(*progress.batch_cursor)
        self.position = progress.batch_position
        self._most = 1 if stream.live else MICRO_BATCH  # whoever speaks into a pipe is not kept waiting for others
        self.invalid = start.invalid
        self._name, self._fingerprint = stream.name, stream.fingerprint or ""
        self._strict = strict
        self._log = log
        self._complaints: list[str] = []
        # what was decided before it, when something else (a chat) came between, is read again and passed over
        self._arrivals = islice(stream.read(start, self._complain), progress.batch_skip, None)

    def _complain(self, message: str) -> None:
        if self._strict:
            raise StreamError(f"{message} (--strict)")
        self.invalid += 1
        if len(self._complaints) < _SHOWN:
            self._complaints.append(message)
            more = " (further ones are counted, not shown)" if len(self._complaints) == _SHOWN else ""
            self._log(f"skipped: {message}{more}")

    def next(self, *ends: int) -> MicroBatch:
        """Return the sets up to the next multiple of 32, or to the nearest of `ends`; none at the stream's end.

        Of a live stream it is one set.
        """
        first = self.position
        end = min(first - first % self._most + self._most, *ends, first + self._most)
        arrivals = list(islice(self._arrivals, max(end - first, 0)))
        self.position += len(arrivals)
        return MicroBatch(first, arrivals, self._fingerprint)

    def require_some(self) -> None:
        """Raises StreamError where the whole stream has given no valid set."""
        if self.position == 0:
            what = (
                f"{self.invalid} malformed lines and no valid one; first: {self._complaints[0]}"
                if self._complaints
                else "empty"
            )
            raise StreamError(
                f"stream {self._name}: {what}; give JSON Lines with 'question' (--format names other forms)"
            )
