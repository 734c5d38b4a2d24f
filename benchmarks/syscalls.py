"""How often a process waits for the disk, and how many bytes it hands to write calls.

fsync and fdatasync are counted by a few lines of C++ in front of libc (LD_PRELOAD), compiled where a g++ is; bytes are
`wchar` of /proc/self/io. Neither needs a right that an ordinary user lacks.
"""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Count", "count", "run_counted"]

_SOURCE = """
#include <dlfcn.h>
#include <atomic>
static std::atomic<long> calls{0};
extern "C" long counted_syncs() { return calls.load(); }
extern "C" int fsync(int fd) { calls++; static auto real = (int (*)(int))dlsym(RTLD_NEXT, "fsync"); return real(fd); }
extern "C" int fdatasync(int fd) {
    calls++;
    static auto real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return real(fd);
}
"""


@dataclass(frozen=True, slots=True)
class Count:
    """Since the process began."""

    written_bytes: int | None  # None: no /proc
    syncs: int | None  # None: not counted


def count() -> Count:
    """What this process has done so far."""
    try:
        fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines())
    except OSError:
        return Count(None, None)
    counter = getattr(ctypes.CDLL(None), "counted_syncs", None)
    if counter is not None:
        counter.restype = ctypes.c_long
    return Count(int(fields["wchar"]), None if counter is None else int(counter()))


def run_counted(arguments: Sequence[str], folder: Path) -> str:
    """Run `python -m ...` with syncs counted where a compiler is, and return what it prints."""
    environment = dict(os.environ)
    compiler = shutil.which("g++")
    if compiler is None:
        print("no g++: fsyncs are not counted", file=sys.stderr)
    else:
        source, library = folder / "syncs.cc", folder / "syncs.so"
        source.write_text(_SOURCE, encoding="ascii")
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
        environment["LD_PRELOAD"] = str(library)
    done = subprocess.run(
        [sys.executable, "-m", *arguments], env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout
