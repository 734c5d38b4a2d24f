"""Python and what edgepers stands on."""

import importlib.metadata
import platform
import shutil
import sys
from importlib.util import find_spec

from edgepers.doctor.finding import Finding, Subject, devices

__all__ = ["KERNELS_CURE", "check_ops", "check_packages", "check_python", "check_triton"]

PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "bitsandbytes",
    "accelerate",
    "safetensors",
    "gguf",
    "numpy",
    "cryptography",
    "zstandard",
)
KERNELS_CURE = "install a C++ compiler and reinstall edgepers from its source folder"


def check_python(_: Subject) -> Finding:
    """Check the version of Python and the architecture it was built for."""
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.maxsize < 2**32:
        return Finding("python", "fail", f"{found}, of 32 bits", "install a 64-bit system and Python; torch needs them")
    return Finding("python", "ok", found)


def check_packages(subject: Subject) -> Finding:
    """Versions of what edgepers stands on."""
    found, missing = {}, []
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("packages", "fail", f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    text = ", ".join(f"{name} {version}" for name, version in found.items())
    release = subject.board.l4t
    if release is not None and release[0] == 36 and not found["numpy"].startswith("1."):
        return Finding(
            "packages", "warn", f"{text}; JetPack 6's torch is built against numpy 1", "pip install 'numpy<2'"
        )
    return Finding("packages", "ok", text)


def check_ops(_: Subject) -> Finding:
    """Which implementation of every op runs: each was launched and compared with its reference."""
    from edgepers.ops import backends
    from edgepers.ops.native import has

    found = []
    for device in devices():
        of: dict[str, list[str]] = {}
        for op, backend in backends(device).items():
            of.setdefault(backend, []).append(op)
        found.append(f"on {device}: " + "; ".join(f"{backend}: {', '.join(ops)}" for backend, ops in of.items()))
    text = ". ".join(found)
    if not has("cpu"):
        return Finding("ops", "ok", f"{text}. The compiled kernels are not built", KERNELS_CURE)
    return Finding("ops", "ok", text)


def check_triton(_: Subject) -> Finding:
    """Triton matters only with a GPU, and compiles its launcher with a C compiler at run time."""
    gpu = "cuda" in devices()
    if find_spec("triton") is not None:
        found = f"triton {importlib.metadata.version('triton')}"
        if gpu and not any(map(shutil.which, ("gcc", "cc", "clang"))):
            return Finding(
                "triton", "warn", f"{found}, which cannot launch a kernel without a C compiler", "sudo apt install gcc"
            )
        return Finding("triton", "ok", found)
    if gpu:
        return Finding(
            "triton",
            "warn",
            "absent: GPU kernels run from csrc/ where built, else in plain torch",
            "pip install triton, and gcc",
        )
    return Finding("triton", "ok", "absent; it matters only with a GPU")
