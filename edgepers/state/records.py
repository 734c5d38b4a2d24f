"""What the buffer holds: a kept set, and the sum that the center is made of, each with its bytes."""

import json
import math
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgepers.state.compress import VERSION, compress_embedding, compress_text, decompress_embedding, decompress_text
from edgepers.state.embedding import Int8
from edgepers.state.marks import Mark
from edgepers.streams import Cursor

__all__ = ["MOST_REPEATS", "SPOKEN", "CenterSum", "KeptSet", "pack_record", "remarked", "unpack_record"]

NAME_LENGTH = 60
MOST_REPEATS = 255
# version of the dictionaries; entropy, domain score, loss; repeats, doubted; bytes of the embedding
_HEAD = struct.Struct("<BfffB?H")
_REPEATS = struct.calcsize("<Bfff")  # where they lie, and the doubt after them

SPOKEN = Cursor(-1, -1, 0)  # where a set lies that came from no stream: it was said in a chat


@dataclass(frozen=True, slots=True)
class KeptSet:
    """A dialogue set in the buffer.

    `reference` is None until the owner has answered; `asked` is the round that asked, 0 for never.
    """

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
    verdict: str = ""  # "good", "corrected", "bad" (wrong, and nobody has said what is right), or "": there is none
    loss: float = math.nan  # of the response under the base model, nats a token; only where policy or asking wants it
    repeats: int = 0  # times that its question was asked again in the same words, `MOST_REPEATS` at most
    doubted: bool = False  # what its owner said next takes the response back
    stored_bytes: int = 0  # of its row in the buffer

    @property
    def annotated(self) -> bool:
        """Whether the owner has given a verdict."""
        return bool(self.verdict)

    @property
    def rejected(self) -> bool:
        """Whether the response is wrong and nothing is known to say instead: there is nothing to learn by heart."""
        return self.verdict == "bad"

    @property
    def name(self) -> str:
        """What its owner may call it: its id in its stream, or its position where there is none that fits a line."""
        return self.id if 0 < len(self.id) <= NAME_LENGTH and self.id.isprintable() else str(self.position)

    @property
    def wanted(self) -> str:
        """The response to learn: the reference, or the one that was fine as it is; of a rejected set the wrong one."""
        return self.response if self.reference is None else self.reference


@dataclass(frozen=True, slots=True)
class CenterSum:
    """What the selector's center is made from: sets, rows, and the float32 sum of rows [d]."""

    sets: int
    rows: int
    total: npt.NDArray[np.float32]

    def pack(self) -> bytes:
        """Pack the mark as it is sealed."""
        return struct.pack("<qq", self.sets, self.rows) + self.total.tobytes()

    @classmethod
    def unpack(cls, data: bytes) -> "CenterSum":
        """Restore what `pack` made."""
        sets, rows = struct.unpack_from("<qq", data)
        return cls(sets, rows, np.frombuffer(data[16:], dtype=np.float32))


def pack_record(kept: KeptSet) -> bytes:
    """Pack a set as it is sealed: version, scores, compressed embedding and text.

    What it is bound to is its position and its mark.
    """
    embedding = compress_embedding(kept.embedding.tobytes())
    where = kept.where
    words = (kept.id, kept.question, kept.response, kept.reference, kept.domain, kept.verdict)
    text = [*words, where.offset, where.line, where.turn]
    head = _HEAD.pack(VERSION, kept.entropy, kept.domain_score, kept.loss, kept.repeats, kept.doubted, len(embedding))
    return (
        head
        + embedding
        + compress_text(json.dumps(text, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))
    )


def remarked(data: bytes, *, again: bool, doubted: bool) -> bytes:
    """A packed set that was asked `again`, or whose response is `doubted` from now on; as long as it was."""
    repeats, before = data[_REPEATS], data[_REPEATS + 1]
    new = bytes([min(repeats + again, MOST_REPEATS), before | doubted])
    return data[:_REPEATS] + new + data[_REPEATS + 2 :]


def unpack_record(data: bytes, position: int, mark: Mark) -> KeptSet:
    """The set that `pack_record` made these bytes of."""
    version, entropy, domain_score, loss, repeats, doubted, length = _HEAD.unpack_from(data)
    embedding = decompress_embedding(data[_HEAD.size : _HEAD.size + length], version)
    text = json.loads(decompress_text(data[_HEAD.size + length :], version).decode("utf-8", "surrogatepass"))
    identity, question, response, reference, domain, verdict, offset, line, turn = text
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
        asked=mark.asked,
        verdict=verdict,
        loss=loss,
        repeats=repeats,
        doubted=doubted,
        stored_bytes=mark.stored_bytes,
    )
