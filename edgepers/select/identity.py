"""What a buffer was made with: a model, a seed, lexicons and a kind of embedding, which are never mixed."""

from collections.abc import Mapping, Sequence

from edgepers.errors import StateError
from edgepers.select.lexicon import Lexicons
from edgepers.state.buffer import Buffer

__all__ = ["check_identity"]


def check_identity(buffer: Buffer, identity: Mapping[str, str], lexicons: Lexicons) -> None:
    """Make sure that a buffer was made with these: model, seed and lexicons' fingerprint, as far as they are given.

    Raises:
        StateError: it was made with another one, or other lexicons.
    """
    made_with = buffer.identity()
    where = buffer.path.parent
    for key, value in identity.items():
        if made_with[key] != value and key == "lexicons":  # a hash tells nobody anything
            raise StateError(
                f"state {where}: made with other lexicons than these ({_few(lexicons.names)}); "
                "give --lexicons with the folder as it was then, or a new --state"
            )
        if made_with[key] != value:
            raise StateError(
                f"state {where}: made with another {key} ({made_with[key]}, now {value}); give the same, or a new"
                " --state"
            )


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{names[0]}, {names[1]}, ... {names[-1]}"
