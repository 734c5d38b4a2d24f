"""Models that were made of GGUF files: in the user's cache folder, by content, within a bound.

A model is made beside its place and renamed when it is whole, so one that was interrupted leaves none. While a process
has it, it holds a lock and nobody removes it. No text of any user lies here.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepers.errors import BusyError, ModelError, UsageError
from edgepers.files import folder_bytes, replace_folder

__all__ = ["MOST_BYTES", "SOURCE_FILE", "Converted", "content_of", "converted_models", "hold_model", "remove_model"]

MOST_BYTES = 20_000_000_000  # of all of them; what was not used for longest goes first
SOURCE_FILE = "edgepers-source.json"  # in each: what it was made of
FORM = 1  # of what is written; another one is made again
_NAMED_PATHS = 8  # of one file's paths that are remembered with its digest
_FORMS = {4: "nf4", 16: "bf16"}


@dataclass(frozen=True, slots=True)
class Converted:
    """One model that was made of a GGUF file.

    Attributes:
        name: of its folder.
        folder: it lies in.
        source: path of the file that it was made of.
        digest: SHA-256 of that file.
        size: its bytes on the disk.
        used: seconds since 1970 when it was last loaded.
    """

    name: str
    folder: Path
    source: str
    digest: str
    size: int
    used: float

    def record(self) -> dict[str, Any]:
        """As `edgepers models --json` prints it."""
        return {
            "name": self.name,
            "source": self.source,
            "sha256": self.digest,
            "bytes": self.size,
            "used": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.used)),
        }


def cache_folder() -> Path:
    """Where they lie: `edgepers/models` in $XDG_CACHE_HOME, or in ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache") / "edgepers" / "models"


def converted_models() -> list[Converted]:
    """All of them, the last used first."""
    found = []
    for folder in cache_folder().glob("[!.]*"):
        if (given := _source(folder)) is not None:
            with contextlib.suppress(FileNotFoundError):  # another process may be removing it
                used = (folder / SOURCE_FILE).stat().st_mtime
                found.append(
                    Converted(folder.name, folder, given["source"], given["sha256"], folder_bytes(folder), used)
                )
    return sorted(found, key=lambda model: -model.used)


def content_of(folder: Path) -> str | None:
    """SHA-256 of the file that a folder's model was made of; None for another folder."""
    given = _source(folder)
    return None if given is None else str(given["sha256"])


def remove_model(name: str) -> Converted:
    """Remove one of them.

    Raises:
        UsageError: there is none of this name.
        BusyError: another process has it.
    """
    models = {model.name: model for model in converted_models()}
    if (model := models.get(name)) is None:
        there = ", ".join(models) or "none"
        raise UsageError(f"--remove {name}: no such model; there are {there}")
    if not _remove(model):
        raise BusyError(f"--remove {name}: a running program has it; end that first")
    return model


def hold_model(file: Path, bits: int, make: Callable[[Path], None]) -> "Held":
    """The folder of a file's model, made where there is none yet, and not removed until it is let go.

    Args:
        file: GGUF.
        bits: 4 or 16.
        make: writes the model into an empty folder.

    Raises:
        ModelError: the cache folder cannot be written to.
    """
    digest = _digest(file)
    key = f"{digest[:12]}-{_FORMS[bits]}"
    try:
        cache_folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = _open_lock(key)
    except OSError as error:
        raise ModelError(
            f"--model {file}: {cache_folder()} cannot be written to ({error.strerror}); set XDG_CACHE_HOME to a folder"
            " that can"
        ) from None
    try:
        while True:
            fcntl.flock(lock, fcntl.LOCK_SH)
            if (folder := _find(key)) is not None:
                _note_use(folder, file)
                return Held(folder, lock)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _find(key) is None:
                _make(file, digest, bits, key, make)
    except BaseException:
        os.close(lock)
        raise


class Held:
    """A model's folder that nobody removes until `release`, or until what it was `kept_by` is gone.

    Attributes:
        folder: where it lies.
    """

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        self._release = weakref.finalize(self, os.close, lock)
        self._lock = lock

    def kept_by(self, owner: object) -> None:
        """Hold it as long as an object lives."""
        if self._release.detach() is not None:
            weakref.finalize(owner, os.close, self._lock)

    def release(self) -> None:
        """Let it go; nothing happens where it is kept by something else."""
        self._release()


def _source(folder: Path) -> dict[str, Any] | None:
    """What a model was made of; None where this is none of today's form."""
    try:
        given = json.loads((folder / SOURCE_FILE).read_text(encoding="utf-8"))
        return dict(given) if given["form"] == FORM else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _find(key: str) -> Path | None:
    return next((folder for folder in cache_folder().glob(f"[!.]*-{key}") if _source(folder) is not None), None)


def _make(file: Path, digest: str, bits: int, key: str, make: Callable[[Path], None]) -> None:
    """Make a model beside its place, and room for it; the lock of its key is held."""
    root = cache_folder()
    stem = re.sub(r"[^\w.]+", "-", file.stem if file.suffix.lower() == ".gguf" else "model").strip("-.")[:60]
    place = root / f"{stem or 'model'}-{key}"
    made = root / f".{key}.new"
    for stale in (made, *root.glob(f"[!.]*-{key}")):
        shutil.rmtree(stale, ignore_errors=True)
    made.mkdir()
    try:
        make(made)
        _write_source(made, {"form": FORM, "source": str(file), "sha256": digest, "bits": bits, "paths": [_mark(file)]})
        _make_room(folder_bytes(made))
        replace_folder(made, place)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _make_room(size: int) -> None:
    """Remove what was not used for longest, until so many bytes fit under the bound, and what was never finished."""
    for gone in cache_folder().glob(".*.gone"):
        shutil.rmtree(gone, ignore_errors=True)
    for stale in cache_folder().glob(".*.new"):
        with _alone(stale.name[1:].removesuffix(".new")) as alone:
            if alone:
                shutil.rmtree(stale, ignore_errors=True)
    models = converted_models()
    total = size + sum(model.size for model in models)
    for model in reversed(models):
        if total > MOST_BYTES and _remove(model):
            total -= model.size


def _remove(model: Converted) -> bool:
    """Remove a model that nobody has; whether it is gone."""
    with _alone("-".join(model.name.rsplit("-", 2)[1:])) as alone:
        if alone and model.folder.exists():
            gone = model.folder.with_name(f".{model.name}.gone")
            shutil.rmtree(gone, ignore_errors=True)  # of one that was killed here
            model.folder.rename(gone)  # at once: half a model is never seen
            shutil.rmtree(gone, ignore_errors=True)
        return alone


@contextlib.contextmanager
def _alone(key: str) -> Iterator[bool]:
    """Whether nobody has a model; nobody gets it meanwhile."""
    lock = _open_lock(key)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(lock)


def _open_lock(key: str) -> int:
    """The lock of a model: an empty file, which stays."""
    return os.open(cache_folder() / f".{key}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _mark(file: Path) -> list[Any]:
    """By which a file is known again without reading it."""
    found = file.stat()
    return [str(file), found.st_size, found.st_mtime_ns]


def _digest(file: Path) -> str:
    """SHA-256 of a file; read once, and known again by its path, size and time."""
    mark = _mark(file)
    for folder in cache_folder().glob("[!.]*"):
        given = _source(folder)
        if given is not None and mark in given["paths"]:
            return str(given["sha256"])
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _note_use(folder: Path, file: Path) -> None:
    """Note that a model is used now, and under which path; where it cannot be noted, nothing is."""
    given, mark = _source(folder), _mark(file)
    with contextlib.suppress(OSError):
        if given is not None and mark not in given["paths"]:
            _write_source(folder, given | {"paths": [*given["paths"], mark][-_NAMED_PATHS:]})
        os.utime(folder / SOURCE_FILE)


def _write_source(folder: Path, given: dict[str, Any]) -> None:
    beside = folder / f".{SOURCE_FILE}.{os.getpid()}"
    beside.write_text(json.dumps(given, indent=1) + "\n", encoding="utf-8")
    beside.replace(folder / SOURCE_FILE)
