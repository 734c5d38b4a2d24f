"""Open whatever a person gives as a stream, or a test set."""

from collections.abc import Callable, Iterable
from pathlib import Path

from edgepers.errors import StreamError
from edgepers.streams.file import FileStream
from edgepers.streams.hub import HubStream, is_hub_name
from edgepers.streams.iterable import IterableStream
from edgepers.streams.reading import no_log
from edgepers.streams.types import Cursor, DialogueSet, Stream

__all__ = ["open_stream", "read_dialogue_sets"]


def open_stream(
    source: str | Path | Stream | Iterable[DialogueSet],
    form: str | None = None,
    log: Callable[[str], None] = no_log,
    *,
    encoding: str | None = None,
    me: str | None = None,
) -> Stream:
    """A stream from a path, `-`, a Hugging Face data set's name, dialogue sets, or a stream.

    Args:
        source: what to read.
        form: the form of its records by name; None detects it.
        log: gets a line about each form that was detected, and about each kind of what was left out.
        encoding: of a file's text by name; None: UTF-8, or what its first bytes tell.
        me: the owner's name in chats between people.
    """
    if isinstance(source, (str, Path)):
        if is_hub_name(str(source)):
            return HubStream(str(source), form, log)
        return FileStream(source, form, log, encoding=encoding, me=me)
    return source if isinstance(source, Stream) else IterableStream(source)


def read_dialogue_sets(path: str | Path, *, need_reference: bool = False) -> list[DialogueSet]:
    """All sets of a small file, such as a test set; a malformed line is an error here.

    Raises:
        StreamError: names file and line.
    """

    def on_warning(message: str) -> None:
        raise StreamError(f"{message}; every line of a test set must be valid")

    sets = [arrival.dialogue for arrival in FileStream(path).read(Cursor(), on_warning)]
    if not sets:
        raise StreamError(f"{path}: no dialogue set in it; give JSON Lines with 'question' and 'reference'")
    for number, dialogue in enumerate(sets, 1):
        if need_reference and dialogue.reference is None:
            raise StreamError(f"{path}: set {number} has no 'reference' to compare an answer with")
    return sets
