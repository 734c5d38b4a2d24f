"""What a program says of a call in its headers: which talk it belongs to, and whether it is its owner who speaks."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Hints", "hints_of"]

MOST_NAME = 128  # characters of a talk's name
_NO = ("no", "off", "false", "0", "never")
_YES = ("yes", "on", "true", "1")
_UNSET = ("", "none", "null", "undefined", "false")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hints:
    """What is known of a call beside its messages.

    Attributes:
        session: name of the talk, "" where nobody says.
        learn: False where it must not be learned from.
        main: it is the owner's own turn, as far as the program says.
        task: what the program wants for itself, such as "title_generation"; "" where it says that there is no task;
            None where it does not say.
        done: the talk is over after this.
    """

    session: str = ""
    learn: bool = True
    main: bool = True
    task: str | None = None
    done: bool = False


def hints_of(headers: Mapping[str, str]) -> Hints:
    """Read `X-Session-Id`, `X-Turn-Type`, `X-Session-Done`, `X-Edgepers-Learn` and `X-Edgepers-Task`.

    A template that nobody filled in, `{{TASK}}`, says nothing. Open WebUI's own header names the talk, too.

    Args:
        headers: names in lower case.
    """

    def of(name: str) -> str:
        value = headers.get(name, "").strip()
        return "" if value.startswith("{{") else value

    task = headers.get("x-edgepers-task")
    said = None if task is None or task.strip().startswith("{{") else of("x-edgepers-task").lower()
    turn = of("x-turn-type").lower()
    return Hints(
        session=(of("x-session-id") or of("x-openwebui-chat-id"))[:MOST_NAME],
        learn=of("x-edgepers-learn").lower() not in _NO,
        main=turn in ("", "main", "user"),
        task="" if said is not None and said in _UNSET else said,
        done=of("x-session-done").lower() in _YES,
    )
