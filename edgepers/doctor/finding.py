"""What a check is given, and what it says."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from edgepers.board.reading import ROOT, Board, read_board

__all__ = ["Check", "Finding", "Subject", "devices", "nvidia_seen"]

_NVIDIA = ("etc/nv_tegra_release", "proc/driver/nvidia/version", "dev/nvidia0")


class Finding(NamedTuple):
    """What one check found; `status` is "ok", "warn" or "fail", `cure` is empty where there is nothing to do."""

    name: str
    status: str
    found: str
    cure: str = ""


class Subject:
    """What is examined: this machine, and perhaps a state.

    Args:
        state: its folder.
        root: of the machine's files, for synthetic trees.
    """

    def __init__(self, state: Path | None = None, root: Path = ROOT) -> None:
        self.state = state
        self.root = root

    @cached_property
    def board(self) -> Board:
        """The board, read once."""
        return read_board(self.root)

    @property
    def folder(self) -> Path:
        """Where the state lies, or is to lie: the first folder above it that is there."""
        folder = (self.state or Path()).expanduser().absolute()
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return folder


Check = Callable[[Subject], Finding]


def devices() -> list[str]:
    """The devices that torch computes on here."""
    import torch

    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def nvidia_seen(root: Path) -> str:
    """The first sign that this machine has an NVIDIA GPU; "" for none."""
    return next((f"/{name}" for name in _NVIDIA if (root / name).exists()), "")
