"""The models that are served, by name: the personal one, the base, and the personal one as it was earlier."""

from dataclasses import dataclass
from typing import Any

from edgepers.personalize import Personalizer
from edgepers.serve.failures import ApiError

__all__ = ["BASE", "PERSONAL", "Choice", "choose", "listed"]

PERSONAL, BASE = "personal", "base"
_PINNED = "personal@"


@dataclass(frozen=True, slots=True)
class Choice:
    """Which model answers.

    Attributes:
        name: as clients call it.
        adapter: over the base model; None: what is published; "": none.
    """

    name: str
    adapter: str | None

    @property
    def learns(self) -> bool:
        """Whether what it answers is learned from: of the others only to compare is asked."""
        return self.name == PERSONAL


def choose(owner: Personalizer, name: str) -> Choice:
    """The model of a name.

    Raises:
        ApiError: there is none; 404.
    """
    if name == PERSONAL:
        return Choice(name, None)
    if name == BASE:
        return Choice(name, "")
    adapter = name.removeprefix(_PINNED)
    if adapter != name and adapter in _adapters(owner):
        return Choice(name, adapter)
    known = ", ".join([PERSONAL, BASE, *(_PINNED + one for one in _adapters(owner))])
    raise ApiError(404, f"no model {name[:60]!r}; there are {known}", code="model_not_found", param="model")


def listed(owner: Personalizer, began: int) -> list[dict[str, Any]]:
    """All models, as OpenAI's clients read them.

    Args:
        owner: open.
        began: seconds since 1970 of those that are always there.
    """
    found = [record_of(owner, Choice(PERSONAL, None), began), record_of(owner, Choice(BASE, ""), began)]
    return found + [record_of(owner, Choice(_PINNED + name, name), began) for name in _adapters(owner)]


def record_of(owner: Personalizer, choice: Choice, began: int) -> dict[str, Any]:
    """One model."""
    adapter = owner.buffer.progress.published if choice.adapter is None else choice.adapter
    folder = owner.state.adapter_folder(adapter)
    made = int(folder.stat().st_mtime) if folder is not None and folder.is_dir() else began
    return {"id": choice.name, "object": "model", "created": made, "owned_by": "edgepers", "adapter": adapter or None}


def _adapters(owner: Personalizer) -> list[str]:
    """Adapters that were published and are still there, oldest first."""
    progress = owner.buffer.progress
    names = sorted({*progress.earlier, progress.published} - {""})
    return [name for name in names if (owner.state.adapters / name).is_dir()]
