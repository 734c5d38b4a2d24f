"""How far a state has come: the stream's cursor, counts, rounds and wear, committed together with every decision."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, fields, replace
from typing import Any

import numpy as np

from edgepers.state.records import CenterSum
from edgepers.streams import Cursor

__all__ = ["MOST_SPANS", "Progress"]

MOST_SPANS = 32
# padded to a multiple, so that a number gaining a digit never moves a page; sealed, one fits a page of 512 bytes
_PROGRESS_BYTES = 416


@dataclass(frozen=True, slots=True)
class Progress:
    """Everything that changes with a decision or a round, kept in one row; each verb returns the progress after it.

    A value never changes: `Buffer.advance`, `Buffer.save` and the buffer's transactions put a new one in its place.
    """

    # where the stream is read on
    position: int = 0  # valid sets decided
    batch_position: int = 0  # first set of the micro-batch that `position` is in
    batch_cursor: tuple[int, ...] = (0, 0, 0, 0)
    batch_skip: int = 0  # valid sets after that cursor which were decided before `batch_position`
    invalid: int = 0
    stream: str = ""  # its fingerprint
    # what became of the sets
    full: bool = False  # a newcomer was once refused for space
    admitted: int = 0
    evicted: int = 0
    forgotten: int = 0
    quarantined: int = 0  # of the evicted: records that could not be read
    dropped: Mapping[str, int] = field(default_factory=dict)  # by reason
    admissions: tuple[int, ...] = ()  # by runs of `admissions_span` positions
    admissions_span: int = 16
    annotated: int = 0  # references revealed
    center: CenterSum | None = None  # stored in a row of its own
    # rounds, and what they published
    rounds: int = 0  # finished
    round_position: int = 0  # sets seen at the end of the last finished round
    synthesized: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)  # variations, by reason
    published: str = ""  # adapter's name, "" for none
    earlier: tuple[str, ...] = ()  # published before it, newest last
    withdrawn: tuple[str, ...] = ()  # adapters that learned from a forgotten set; their folders go
    rouge1_before: float | None = None
    tested_on: str = ""  # digest of the test set behind rouge1_before
    # keys and wear
    retired_key: int = 0  # keys up to this number go as soon as everything is sealed with a newer one
    commits: int = 0
    fsyncs: int = 0  # by all commits
    written_bytes: int = 0  # to buffer.db and its journal, by all commits
    peak_bytes: int = 0

    # -- the stream

    def batch_begun(self, first: int, here: Cursor, fingerprint: str = "") -> "Progress":
        """A micro-batch whose first set has position `first` and lies at `here` is about to be decided."""
        stream = self.stream or fingerprint
        return replace(self, batch_position=first, batch_skip=0, batch_cursor=astuple(here), stream=stream)

    def batch_done(self, end: int, after: Cursor) -> "Progress":
        """All of a micro-batch is decided: the next one begins with position `end`, at `after`."""
        return replace(self, batch_position=end, batch_skip=0, batch_cursor=astuple(after))

    def spoken(self) -> "Progress":
        """A set from a chat comes next: what the stream has decided past its cursor is skipped when it goes on."""
        skip = self.batch_skip + self.position - self.batch_position
        return replace(self, batch_skip=skip, batch_position=self.position + 1)

    def stream_read(self, invalid: int) -> "Progress":
        """A stream was read to its end, or its limit, with so many malformed lines."""
        return replace(self, invalid=invalid)

    # -- decisions

    def decided(self, position: int, invalid: int, center: CenterSum | None, *, full: bool) -> "Progress":
        """The set at a position was decided on; `full` says that it found no room as things were."""
        return replace(self, position=position + 1, invalid=invalid, center=center, full=self.full or full)

    def set_dropped(self, reason: str, count: int = 1) -> "Progress":
        """A set was dropped; with a count of -1, one that had been is kept after all."""
        return replace(self, dropped={**self.dropped, reason: self.dropped.get(reason, 0) + count})

    def set_admitted(self, position: int) -> "Progress":
        """Note that a set was kept.

        When that was is held in at most 32 numbers however long the stream: full, neighbours are added up.
        """
        spans, span = list(self.admissions), self.admissions_span
        while position >= MOST_SPANS * span:
            spans += [0] * (len(spans) % 2)
            spans = [a + b for a, b in zip(spans[::2], spans[1::2], strict=True)]
            span *= 2
        spans += [0] * (position // span + 1 - len(spans))
        spans[position // span] += 1
        return replace(self, admitted=self.admitted + 1, admissions=tuple(spans), admissions_span=span)

    def sets_evicted(self, count: int) -> "Progress":
        """Sets left to make room."""
        return replace(self, evicted=self.evicted + count) if count else self

    def sets_forgotten(self, count: int) -> "Progress":
        """Sets were deleted on their owner's wish."""
        return replace(self, forgotten=self.forgotten + count)

    def set_quarantined(self) -> "Progress":
        """A record that cannot be read was set aside; it counts as evicted."""
        return replace(self, quarantined=self.quarantined + 1, evicted=self.evicted + 1)

    def verdict_given(self) -> "Progress":
        """The owner has judged a set, whether or not the verdict could be kept."""
        return replace(self, annotated=self.annotated + 1)

    def center_reserved(self, width: int) -> "Progress":
        """The center's sum, of so many features, begins at zero."""
        return replace(self, center=CenterSum(0, 0, np.zeros(width, dtype=np.float32)))

    # -- rounds

    def next_round(self, every: int) -> int:
        """Sets seen when the next round is due, with a round after `every` sets."""
        return (self.round_position // every + 1) * every

    def base_measured(self, rouge1: float, tested_on: str) -> "Progress":
        """The base model was measured on a test set of this digest."""
        return replace(self, rouge1_before=rouge1, tested_on=tested_on)

    def round_done(
        self, number: int, *, synthesized: int, refused: Mapping[str, int], published: str | None, keep: int
    ) -> "Progress":
        """Note that a round is finished.

        Args:
            number: of the round.
            synthesized: variations that it kept.
            refused: all variations refused so far, by reason.
            published: the adapter that it publishes; None leaves what is published.
            keep: how many names of adapters published before are remembered.
        """
        done = replace(
            self,
            rounds=number,
            round_position=self.position,
            synthesized=self.synthesized + synthesized,
            refused=dict(refused),
        )
        if published is None:
            return done
        return replace(done, earlier=(*self.earlier, self.published)[-keep:], published=published)

    def rolled_back(self) -> "Progress":
        """What was published before is published again, the base model at last."""
        earlier = self.earlier
        return replace(self, published=earlier[-1] if earlier else "", earlier=earlier[:-1])

    def adapters_withdrawn(self, names: tuple[str, ...]) -> "Progress":
        """Adapters are taken back: the newest earlier one that is not among them is published, or the base model."""
        left = replace(self, withdrawn=names, earlier=tuple(name for name in self.earlier if name not in names))
        return left.rolled_back() if self.published in names else left

    def withdrawal_done(self) -> "Progress":
        """The folders of withdrawn adapters are gone."""
        return replace(self, withdrawn=())

    # -- keys and wear

    def key_retired(self, number: int) -> "Progress":
        """Keys up to a number are to go; 0: they are gone."""
        return replace(self, retired_key=number)

    def committed(self, fsyncs: int, written_bytes: int, bytes_on_disk: int) -> "Progress":
        """A commit was made, with what it took."""
        return replace(
            self,
            commits=self.commits + 1,
            fsyncs=self.fsyncs + fsyncs,
            written_bytes=self.written_bytes + written_bytes,
            peak_bytes=max(self.peak_bytes, bytes_on_disk),
        )

    # -- as bytes

    def pack(self) -> bytes:
        """The bytes to be sealed: JSON, deflated and padded; all but the center."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "center"}
        packed = zlib.compress(json.dumps(values, separators=(",", ":")).encode(), 9)
        return packed.ljust(-(-len(packed) // _PROGRESS_BYTES) * _PROGRESS_BYTES, b"\0")

    @classmethod
    def unpack(cls, data: bytes, center: CenterSum | None) -> "Progress":
        """The progress that `pack` made these bytes of, with its center."""
        values: dict[str, Any] = json.loads(zlib.decompressobj().decompress(data))
        values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
        return cls(**values, center=center)
