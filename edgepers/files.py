"""Files are replaced, never edited: write beside, flush to disk, rename, flush the folder."""

import contextlib
import os
import shutil
from pathlib import Path

__all__ = ["folder_bytes", "replace_file", "replace_folder", "sync_folder"]


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_file(path: Path, data: str | bytes, mode: int = 0o666) -> None:
    """Put new content at `path`: a crash leaves the old or the new, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_folder(path.parent)


def replace_folder(made: Path, path: Path) -> None:
    """Make a finished folder visible under its name by one rename; what had the name goes."""
    for file in made.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
    sync_folder(made)
    shutil.rmtree(path, ignore_errors=True)
    made.rename(path)
    sync_folder(path.parent)


def folder_bytes(folder: Path) -> int:
    """Sum of the sizes of all files below a folder."""
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # another process may be replacing files
            total += file.stat().st_size if file.is_file() else 0
    return total
