"""Personalize a language model on the device, from its owner's own conversation.

The public names are loaded on first use: importing the package costs no torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["Buffer", "DialogueSet", "EdgepersError", "Personalizer", "Selector", "ops"]

_HOMES = {
    "Buffer": "edgepers.state.buffer",
    "DialogueSet": "edgepers.streams",
    "EdgepersError": "edgepers.errors",
    "Personalizer": "edgepers.personalize",
    "Selector": "edgepers.select.selector",
}


def __getattr__(name: str) -> Any:
    if name == "ops":
        return import_module("edgepers.ops")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'edgepers' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
