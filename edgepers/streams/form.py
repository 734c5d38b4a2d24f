"""What a form of records is: how it is told apart, and what a record of it holds."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edgepers.streams.notes import Notes
from edgepers.streams.types import DialogueSet

__all__ = ["Form", "JsonObject", "Way", "has", "has_any", "identity_of"]

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Way:
    """What a reader is told beside the record: `me`, the owner's name in chats between people, and where to note."""

    me: str | None = None
    notes: Notes = field(default_factory=Notes)


@dataclass(frozen=True, slots=True)
class Form:
    """One form of records, with what it is known by and how it is read.

    Attributes:
        says: the fields it is known by and what they become, for people.
        matches: whether a record has its fields, whatever they hold.
        sets: a record's dialogue sets; raises ValueError naming the field. Where `key` is given, of the rows of one
            conversation, as `{"rows": [...]}`.
        key: where a record is one message: what consecutive records of one conversation have in common; raises
            ValueError where the record is malformed, which costs that record alone.
        begins: where `key` is given: whether a long conversation may be cut before this record.
    """

    name: str
    says: str
    matches: Callable[[JsonObject], bool]
    sets: Callable[[JsonObject, Way], list[DialogueSet]]
    key: Callable[[JsonObject], object] | None = None
    begins: Callable[[JsonObject], bool] = lambda _: True


def has(*fields: str) -> Callable[[JsonObject], bool]:
    """Whether a record has all of some fields."""
    return lambda record: all(name in record for name in fields)


def has_any(*fields: str) -> Callable[[JsonObject], bool]:
    """Whether a record has one of some fields."""
    return lambda record: any(name in record for name in fields)


def identity_of(record: JsonObject, *fields: str) -> str | None:
    """The record's name: the first of these fields that has a value, or of the usual ones."""
    for name in (*fields, "id", "uuid", "conversation_id", "conversationId", "_id"):
        value = record.get(name)
        if value not in (None, "") and not isinstance(value, (dict, list, bool)):
            return str(value)
    return None
