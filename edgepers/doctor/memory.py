"""Memory: how much is free, in pieces how large, and what this board's kernel does with it."""

import re

from edgepers.config import format_size
from edgepers.doctor.finding import Finding, Subject

__all__ = ["check_memory", "check_nvmap", "check_pieces", "check_swap"]

LITTLE_MEMORY = 1_000_000_000  # below: a warning
LITTLE_SWAP = 4_000_000_000  # of a Jetson with 8 GB; an assumption: what loading takes beyond training
SMALL_BOARD = 10_000_000_000
BROKEN_FROM, BROKEN_BEFORE = (36, 4, 7), (37, 0, 0)
PIECE_BYTES, PIECES_SHARE = 4 << 20, 0.25  # of free memory, in pieces of at least 4 MiB, below: a warning


def check_memory(_: Subject) -> Finding:
    """Memory that is free now."""
    import psutil

    memory = psutil.virtual_memory()
    found = f"{format_size(memory.available)} of {format_size(memory.total)} available"
    if memory.available < LITTLE_MEMORY:
        cure = (
            "stop other programs, such as the desktop (sudo systemctl isolate multi-user); 'edgepers plan' says what a"
            " model takes"
        )
        return Finding("memory", "warn", found, cure)
    return Finding("memory", "ok", found)


def check_swap(subject: Subject) -> Finding:
    """Room for what a small board cannot hold while a model is loaded."""
    import psutil

    swap = int(psutil.swap_memory().total)
    small = subject.board.jetson and (subject.board.memory_bytes or SMALL_BOARD) < SMALL_BOARD
    if small and swap < LITTLE_SWAP:
        cure = (
            "sudo fallocate -l 8G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile && sudo swapon"
            " /swapfile, on NVMe"
        )
        return Finding("swap", "warn", f"{format_size(swap)}: little for a board of 8 GB", cure)
    return Finding("swap", "ok", format_size(swap))


def _free_by_order(text: str) -> list[int]:
    """Free pieces of 2^n pages each, over all zones of /proc/buddyinfo."""
    zones = [[int(n) for n in match.split()] for match in re.findall(r"zone\s+\w+((?:\s+\d+)+)", text)]
    return [sum(column) for column in zip(*zones, strict=False)]


def check_pieces(subject: Subject) -> Finding:
    """Whether free memory comes in pieces that a GPU's driver can use: it asks for large ones."""
    try:
        orders = _free_by_order((subject.root / "proc/buddyinfo").read_text())
    except OSError:
        orders = []
    free = [(4096 << order) * count for order, count in enumerate(orders)]
    if not sum(free):
        return Finding("free pieces", "ok", "this machine does not tell how large they are")
    large = sum(size for order, size in enumerate(free) if 4096 << order >= PIECE_BYTES)
    found = f"{format_size(large)} of {format_size(sum(free))} that is quite free, in pieces of 4 MiB and more"
    if subject.board.jetson and large < PIECES_SHARE * sum(free):
        cure = "echo 1 | sudo tee /proc/sys/vm/compact_memory, or restart the board"
        return Finding("free pieces", "warn", f"{found}: the driver may find no memory although there is some", cure)
    return Finding("free pieces", "ok", found)


def check_nvmap(subject: Subject) -> Finding:
    """Warn of releases of Jetson Linux whose driver refuses memory that is there.

    That is NvMap error 12, since the driver's fix of CVE-2025-33177.
    """
    release = subject.board.l4t
    if release is None:
        return Finding("nvmap", "ok", "no Jetson Linux here")
    if BROKEN_FROM <= release < BROKEN_BEFORE:
        cure = (
            "export PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True, or restart the board: what others report to help"
        )
        return Finding(
            "nvmap",
            "warn",
            f"{subject.board.release}: cudaMalloc may fail with NvMap error 12 although memory is free",
            cure,
        )
    return Finding("nvmap", "ok", subject.board.release)
