"""Where the state lies: room, speed, kind, and whether what is kept is whole."""

import os
import shutil
import tempfile
import time

from edgepers.board.reading import storage_of
from edgepers.config import Settings, format_size
from edgepers.doctor.finding import Finding, Subject

__all__ = ["check_buffer", "check_disk", "check_storage"]

LITTLE_DISK, LITTLE_SHARE = 1_000_000_000, 0.05  # below: a warning


def check_disk(subject: Subject) -> Finding:
    """Free space, and a file written, made durable and deleted."""
    folder = subject.folder
    usage = shutil.disk_usage(folder)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".edgepers-doctor-") as file:
            file.write(bytes(4096))
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            took_ms = 1000 * (time.perf_counter() - began)
    except OSError as error:
        return Finding(
            "disk",
            "fail",
            f"{folder}: {error.strerror or error}",
            "give --state a folder that you may write to, on a disk with room",
        )
    found = f"{folder}: {format_size(usage.free)} free of {format_size(usage.total)}; one fsync took {took_ms:.1f} ms"
    if usage.free < max(LITTLE_DISK, LITTLE_SHARE * min(usage.total, 100 * LITTLE_DISK)):
        return Finding("disk", "warn", f"{found}: nearly full", "free some space: models and adapters take gigabytes")
    return Finding("disk", "ok", found)


def check_storage(subject: Subject) -> Finding:
    """SD cards are slow, wear out, and lose what they have acknowledged more often than other flash."""
    kind = storage_of(subject.folder, subject.root)
    if kind == "sd":
        return Finding(
            "storage", "warn", f"{subject.folder} lies on an SD card", "give --state a folder on an NVMe disk"
        )
    names = {"nvme": "NVMe", "emmc": "eMMC", "usb": "USB", "disk": "a disk", None: "this machine does not tell"}
    return Finding("storage", "ok", names[kind])


def check_buffer(subject: Subject) -> Finding:
    """The integrity of what is kept."""
    state = subject.state
    if state is None:
        return Finding("buffer", "ok", "not looked at; give --state DIR")
    if not (state.expanduser() / "buffer.db").exists():
        return Finding("buffer", "ok", f"nothing kept in {state} yet")
    from edgepers.errors import StateError
    from edgepers.privacy.keyring import key_source
    from edgepers.state.buffer import Buffer
    from edgepers.state.folder import State

    try:
        settings = Settings.make({}, State(state).saved_settings())
        with Buffer(state.expanduser(), keys=key_source(settings)) as buffer:
            buffer.check()
            return Finding("buffer", "ok", f"whole, with {len(buffer)} sets")
    except StateError as error:
        found, _, cure = str(error).rpartition("; ")
        return Finding("buffer", "fail", found, cure)
