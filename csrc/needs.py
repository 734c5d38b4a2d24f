"""What compiled libraries need of a system, as the platform in a wheel's name."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

MACHINES = {"AArch64": "aarch64", "Advanced Micro Devices X86-64": "x86_64"}
OLDEST = 17  # of glibc 2: what names of wheels begin with on Arm

# Parts of glibc, and the one other library that every system with glibc has.
GIVEN = re.compile(r"lib(c|m|dl|rt|pthread|gcc_s)\.so\.\d|ld-linux-.*")


def wheel_platform(libraries: Iterable[Path]) -> str | None:
    """The platform of a wheel that holds these libraries.

    The machine that they were compiled for, not the one that compiles.

    Returns:
        `manylinux_2_34_aarch64` with the newest glibc that one of them asks for: the wheel runs with that glibc or a
        newer one (PEP 600). `linux_aarch64` where one asks for more than glibc; None where readelf is missing, or names
        no one known machine.
    """
    environment = {**os.environ, "LC_ALL": "C"}
    texts = []
    for library in libraries:
        command = ["readelf", "--file-header", "--dynamic", "--version-info", "--wide", str(library)]
        try:
            texts.append(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)
        except (OSError, subprocess.CalledProcessError):
            return None
    whole = "\n".join(texts)
    machines = set(re.findall(r"Machine: +(.+?) *\n", whole))
    machine = MACHINES.get(machines.pop()) if len(machines) == 1 else None
    if machine is None:
        return None
    versions = re.findall(r"Name: (\S+)", whole)
    needed = re.findall(r"\(NEEDED\).*\[(.+)\]", whole)
    if not all(map(GIVEN.fullmatch, needed)) or not all(re.match(r"GLIBC_2\.|GCC_[34]\.", name) for name in versions):
        return f"linux_{machine}"
    newest = max([OLDEST, *(int(name.split(".")[1]) for name in versions if name.startswith("GLIBC_"))])
    return f"manylinux_2_{newest}_{machine}"
