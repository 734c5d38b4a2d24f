"""What the buffer holds: a kept set, and the progress that is committed with every decision."""

import json
import math
import struct
import zlib
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgepers.state.compress import VERSION, compress_embedding, compress_text, decompress_embedding, decompress_text
from edgepers.state.embedding import Int8
from edgepers.streams import Cursor

__all__ = ["SPOKEN", "CenterSum", "KeptSet", "Progress", "pack_record", "unpack_record"]

MOST_SPANS = 32
NAME_LENGTH = 60
# padded to a multiple, so that a number gaining a digit never moves a page; sealed, one fits a page of 512 bytes
_PROGRESS_BYTES = 416
_HEAD = struct.Struct("<BfffH")  # version of the dictionaries; entropy, domain score, loss; bytes of the embedding

SPOKEN = Cursor(-1, -1, 0)  # where a set lies that came from no stream: it was said in a chat


@dataclass(frozen=True, slots=True)
class KeptSet:
    """A dialogue set in the buffer. `reference` is None until the owner has answered; `asked` is the round that asked, 0 for never."""

    position: int
    id: str
    question: str
    response: str
    reference: str | None
    domain: str
    entropy: float
    domain_score: float
    embedding: Int8
    where: Cursor
    asked: int = 0
    verdict: str = ""  # "good", "corrected", or "" while there is none
    loss: float = math.nan  # of the response under the base model, nats a token; only where the policy asks for it
    stored_bytes: int = 0  # of its row in the buffer

    @property
    def annotated(self) -> bool:
        """Whether the owner has given a verdict."""
        return bool(self.verdict)

    @property
    def name(self) -> str:
        """What its owner may call it: its id in its stream, or its position where there is none that fits a line."""
        return self.id if 0 < len(self.id) <= NAME_LENGTH and self.id.isprintable() else str(self.position)

    @property
    def wanted(self) -> str:
        """The response to learn: the reference, or the response that was fine as it is."""
        return self.response if self.reference is None else self.reference


@dataclass(frozen=True, slots=True)
class CenterSum:
    """What the selector's center is made from: sets, rows, and the float32 sum of rows [d]."""

    sets: int
    rows: int
    total: npt.NDArray[np.float32]

    def pack(self) -> bytes:
        """As sealed."""
        return struct.pack("<qq", self.sets, self.rows) + self.total.tobytes()

    @classmethod
    def unpack(cls, data: bytes) -> "CenterSum":
        """From `pack`."""
        sets, rows = struct.unpack_from("<qq", data)
        return cls(sets, rows, np.frombuffer(data[16:], dtype=np.float32))


@dataclass(slots=True)
class Progress:
    """Everything that changes with a decision or a round, kept in one row."""

    position: int = 0  # valid sets decided
    batch_position: int = 0  # first set of the micro-batch that `position` is in
    batch_cursor: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    batch_skip: int = 0  # valid sets after that cursor which were decided before `batch_position`
    invalid: int = 0
    full: bool = False  # a newcomer was once refused for space
    admitted: int = 0
    evicted: int = 0
    forgotten: int = 0
    dropped: dict[str, int] = field(default_factory=dict)  # by reason
    admissions: list[int] = field(default_factory=list)  # by runs of `admissions_span` positions
    admissions_span: int = 16
    annotated: int = 0  # references revealed
    synthesized: int = 0
    refused: dict[str, int] = field(default_factory=dict)  # variations, by reason
    rounds: int = 0  # finished
    round_position: int = 0  # sets seen at the end of the last finished round
    published: str = ""  # adapter's name, "" for none
    earlier: list[str] = field(default_factory=list)  # published before it, newest last
    withdrawn: list[str] = field(default_factory=list)  # adapters that learned from a forgotten set; their folders go
    retired_key: int = 0  # keys up to this number go as soon as everything is sealed with a newer one
    quarantined: int = 0  # of the evicted: records that could not be read
    commits: int = 0
    fsyncs: int = 0  # by all commits
    written_bytes: int = 0  # to buffer.db and its journal, by all commits
    peak_bytes: int = 0
    rouge1_before: float | None = None
    stream: str = ""
    tested_on: str = ""  # digest of the test set behind rouge1_before
    center: CenterSum | None = None  # stored in a row of its own

    def copy(self) -> "Progress":
        """A copy to change; it becomes the buffer's progress when it is durable, or decided."""
        return replace(
            self,
            batch_cursor=list(self.batch_cursor),
            dropped=dict(self.dropped),
            admissions=list(self.admissions),
            refused=dict(self.refused),
            earlier=list(self.earlier),
            withdrawn=list(self.withdrawn),
        )

    def count_admission(self, position: int) -> None:
        """Note when a set was admitted, in at most 32 numbers however long the stream: full, neighbours are added up."""
        while position >= MOST_SPANS * self.admissions_span:
            pairs = [*self.admissions, *[0] * (len(self.admissions) % 2)]
            self.admissions = [a + b for a, b in zip(pairs[::2], pairs[1::2], strict=True)]
            self.admissions_span *= 2
        run = position // self.admissions_span
        self.admissions += [0] * (run + 1 - len(self.admissions))
        self.admissions[run] += 1

    def pack(self) -> bytes:
        """As sealed: JSON, deflated and padded."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "center"}
        packed = zlib.compress(json.dumps(values, separators=(",", ":")).encode(), 9)
        return packed.ljust(-(-len(packed) // _PROGRESS_BYTES) * _PROGRESS_BYTES, b"\0")

    @classmethod
    def unpack(cls, data: bytes) -> "Progress":
        """From `pack`."""
        values: dict[str, Any] = json.loads(zlib.decompressobj().decompress(data))
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})


def pack_record(kept: KeptSet) -> bytes:
    """A set as it is sealed: version, scores, compressed embedding and text. Its position is what it is bound to."""
    embedding = compress_embedding(kept.embedding.tobytes())
    where = kept.where
    words = (kept.id, kept.question, kept.response, kept.reference, kept.domain, kept.verdict)
    text = [*words, kept.asked, where.offset, where.line, where.turn]
    head = _HEAD.pack(VERSION, kept.entropy, kept.domain_score, kept.loss, len(embedding))
    return (
        head
        + embedding
        + compress_text(json.dumps(text, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))
    )


def unpack_record(data: bytes, position: int, stored_bytes: int) -> KeptSet:
    """From `pack_record`."""
    version, entropy, domain_score, loss, length = _HEAD.unpack_from(data)
    embedding = decompress_embedding(data[_HEAD.size : _HEAD.size + length], version)
    text = json.loads(decompress_text(data[_HEAD.size + length :], version).decode("utf-8", "surrogatepass"))
    identity, question, response, reference, domain, verdict, asked, offset, line, turn = text
    return KeptSet(
        position=position,
        id=identity,
        question=question,
        response=response,
        reference=reference,
        domain=domain,
        entropy=entropy,
        domain_score=domain_score,
        embedding=np.frombuffer(embedding, dtype=np.int8),
        where=Cursor(offset, line, turn=turn),
        asked=asked,
        verdict=verdict,
        loss=loss,
        stored_bytes=stored_bytes,
    )
