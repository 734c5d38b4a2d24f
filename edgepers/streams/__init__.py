"""Streams of dialogue sets: read lazily, resumable at a cursor, never stopped by one bad record."""

from edgepers.streams.file import FileStream
from edgepers.streams.forms import parse_dialogue_set
from edgepers.streams.iterable import IterableStream
from edgepers.streams.json_values import MAX_LINE_BYTES
from edgepers.streams.notes import Complaints
from edgepers.streams.opening import open_stream, read_dialogue_sets
from edgepers.streams.types import Arrival, Cursor, DialogueSet, Stream

__all__ = [
    "MAX_LINE_BYTES",
    "Arrival",
    "Complaints",
    "Cursor",
    "DialogueSet",
    "FileStream",
    "IterableStream",
    "Stream",
    "open_stream",
    "parse_dialogue_set",
    "read_dialogue_sets",
]
