"""What this machine has and can do: every check launches what it names, and says the cure for what it lacks. No network.

Each check imports what it needs itself: a torch that does not import is a finding, too.
"""

import contextlib
import importlib.metadata
import logging
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from edgepers.config import Settings, format_size
from edgepers.display import table, wrap

__all__ = ["CHECKS", "Finding", "examine", "findings_text", "report"]

PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "safetensors", "numpy", "cryptography", "zstandard")
NVIDIA = (Path("/etc/nv_tegra_release"), Path("/proc/driver/nvidia/version"), Path("/dev/nvidia0"))
JETSON = NVIDIA[0]
LITTLE_MEMORY, LITTLE_DISK = 1_000_000_000, 1_000_000_000  # below: a warning
NF4_ERROR = 0.15  # of a normal weight's root mean square; NF4 with double quantization has about 0.09
GRADIENT_ERROR = 1e-2
SIDE = 256  # of the one 4-bit layer that is launched: boards have rebooted from a first 4-bit launch of several shapes
FIRST_YEAR = 2024

_TORCH_CURE = "install a torch with CUDA for this machine: on a Jetson from NVIDIA's own index for its JetPack, else from pytorch.org"
_BNB_CURE = "reinstall bitsandbytes; on a Jetson Orin build it with -DCOMPUTE_CAPABILITY=87, since published Arm wheels lack its code"
_KERNELS_CURE = "install a C++ compiler and reinstall edgepers from its source folder"


class Finding(NamedTuple):
    """What one check found; `status` is "ok", "warn" or "fail", `cure` is empty where there is nothing to do."""

    name: str
    status: str
    found: str
    cure: str = ""


def _devices() -> list[str]:
    import torch

    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def check_python(_: Path | None) -> Finding:
    """Version and architecture."""
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.maxsize < 2**32:
        return Finding("python", "fail", f"{found}, of 32 bits", "install a 64-bit system and Python; torch needs them")
    return Finding("python", "ok", found)


def check_packages(_: Path | None) -> Finding:
    """Versions of what edgepers stands on."""
    found, missing = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Finding("packages", "fail", f"missing: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    return Finding("packages", "ok", ", ".join(found))


def check_torch(_: Path | None) -> Finding:
    """Whether torch can use the GPU that is there, shown by a kernel that ran."""
    import torch

    build = f"torch {torch.__version__}, CUDA {torch.version.cuda or 'none'}"
    seen = [str(path) for path in NVIDIA if path.exists()]
    if not torch.cuda.is_available():
        if seen:
            return Finding("torch", "fail", f"{build}: cannot use the NVIDIA GPU that {seen[0]} shows", _TORCH_CURE)
        return Finding("torch", "ok", f"{build}; no NVIDIA GPU here, the model runs on the CPU")
    name = torch.cuda.get_device_name(0)
    try:
        total = int(torch.arange(1000, device="cuda").square().sum())
    except RuntimeError as error:
        return Finding("torch", "fail", f"{build}: a kernel does not launch on {name} ({_line(error)})", _TORCH_CURE)
    if total != 332_833_500:
        return Finding("torch", "fail", f"{build}: a kernel on {name} summed to {total}, not 332833500", _TORCH_CURE)
    return Finding("torch", "ok", f"{build}; a kernel ran on {name}")


def check_ops(_: Path | None) -> Finding:
    """Which implementation of every op runs: each was launched and compared with its reference."""
    from edgepers.ops import backends
    from edgepers.ops.native import has

    found = []
    for device in _devices():
        of: dict[str, list[str]] = {}
        for op, backend in backends(device).items():
            of.setdefault(backend, []).append(op)
        found.append(f"on {device}: " + "; ".join(f"{backend}: {', '.join(ops)}" for backend, ops in of.items()))
    text = ". ".join(found)
    if not has("cpu"):
        return Finding("ops", "ok", f"{text}. The compiled kernels are not built", _KERNELS_CURE)
    return Finding("ops", "ok", text)


def check_nf4(_: Path | None) -> Finding:
    """NF4 with double quantization, there and back, on each device."""
    import torch
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    found = []
    for device in _devices():
        weight = torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(0)).to(device)
        packed, state = quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
        error = float((dequantize_4bit(packed, state) - weight).square().mean().sqrt())
        if not error <= NF4_ERROR:
            return Finding("nf4", "fail", f"on {device} weights come back with an error of {error:.3g}, over {NF4_ERROR}", _BNB_CURE)
        found.append(f"{device} {error:.3f}")
    return Finding("nf4", "ok", f"weights come back, root mean square error: {', '.join(found)}")


def check_gradient(_: Path | None) -> Finding:
    """The gradient that a 4-bit layer passes on: training without it would silently learn nothing."""
    import torch
    from bitsandbytes.functional import dequantize_4bit
    from bitsandbytes.nn.modules import Linear4bit

    from edgepers.loading import quiet

    for device in _devices():
        layer: Any = Linear4bit(SIDE, SIDE, bias=False, compute_dtype=torch.float32, quant_type="nf4", compress_statistics=True)
        layer.support_avx512bf16_for_cpu = False  # as the product has it: weights repacked for AVX-512 have no gradient
        layer = layer.to(device)
        rows = torch.ones(2, SIDE, device=device, requires_grad=True)
        with quiet():
            layer(rows).sum().backward()
        if rows.grad is None:
            return Finding("4-bit gradient", "fail", f"on {device} there is none", _BNB_CURE)
        truth = dequantize_4bit(layer.weight.data, layer.weight.quant_state).view(SIDE, SIDE).sum(0)
        error = float((rows.grad - truth).abs().max() / truth.abs().max())
        if not error <= GRADIENT_ERROR:
            return Finding("4-bit gradient", "fail", f"on {device} it is off by {error:.3g} of its largest", _BNB_CURE)
    return Finding("4-bit gradient", "ok", f"right on {' and '.join(_devices())}")


def check_triton(_: Path | None) -> Finding:
    """Triton matters only with a GPU."""
    if find_spec("triton") is not None:
        return Finding("triton", "ok", f"triton {importlib.metadata.version('triton')}")
    if "cuda" in _devices():
        return Finding(
            "triton", "warn", "absent: GPU kernels run from csrc/ where built, else in plain torch", "pip install triton, and gcc"
        )
    return Finding("triton", "ok", "absent; it matters only with a GPU")


def check_memory(_: Path | None) -> Finding:
    """Memory that is free now, and swap."""
    import psutil

    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    found = f"{format_size(memory.available)} of {format_size(memory.total)} available; swap {format_size(swap.total)}"
    if memory.available < LITTLE_MEMORY:
        return Finding("memory", "warn", found, "stop other programs, such as the desktop; 'edgepers plan' says what a model takes")
    return Finding("memory", "ok", found)


def check_disk(state: Path | None) -> Finding:
    """Where the state lies, or is to lie: free space, and a file written, made durable and deleted."""
    folder = (state or Path()).expanduser().absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".edgepers-doctor-") as file:
            file.write(bytes(4096))
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            took_ms = 1000 * (time.perf_counter() - began)
    except OSError as error:
        return Finding(
            "disk", "fail", f"{folder}: {error.strerror or error}", "give --state a folder that you may write to, on a disk with room"
        )
    found = f"{folder}: {format_size(free)} free; one fsync took {took_ms:.1f} ms"
    if free < LITTLE_DISK:
        return Finding("disk", "warn", found, "free some space: models and adapters take gigabytes")
    return Finding("disk", "ok", found)


def check_buffer(state: Path | None) -> Finding:
    """The integrity of what is kept."""
    if state is None:
        return Finding("buffer", "ok", "not looked at; give --state DIR")
    if not (state.expanduser() / "buffer.db").exists():
        return Finding("buffer", "ok", f"nothing kept in {state} yet")
    from edgepers.errors import StateError
    from edgepers.privacy.keyring import key_source
    from edgepers.select.buffer import Buffer
    from edgepers.state import State

    try:
        settings = Settings.make({}, State(state).saved_settings())
        with Buffer(state.expanduser(), keys=key_source(settings)) as buffer:
            buffer.check()
            return Finding("buffer", "ok", f"whole, with {len(buffer)} sets")
    except StateError as error:
        found, _, cure = str(error).rpartition("; ")
        return Finding("buffer", "fail", found, cure)


def check_energy(_: Path | None) -> Finding:
    """Which meters there are, each read once, and what is there but cannot be read."""
    from edgepers.device import power_mode
    from edgepers.meter.source import find_sources

    sources, lacking, cures = find_sources()
    found = []
    for source in sources:
        with contextlib.closing(source):
            values = source.read()
            parts = ", ".join(f"{rail} {value:.1f} {'J so far' if source.counts else 'W'}" for rail, value in values.items())
            found.append(
                f"{source.name}: {parts}" + ("" if source.totals else " (no sum of them is known to be the whole: joules are null)")
            )
    if sources and (mode := power_mode()):
        found.append(f"power mode {mode}")
    told = "; ".join([*found, *lacking])
    return Finding("energy", "warn" if lacking else "ok", told or "no meter here: joules are null in reports", "; ".join(cures))


def check_clock(_: Path | None) -> Finding:
    """A board without a battery wakes in the past."""
    now = time.gmtime()
    if now.tm_year < FIRST_YEAR:
        return Finding(
            "clock", "fail", f"the clock says {time.strftime('%Y-%m-%d', now)}", "set it: sudo timedatectl set-ntp true, or date -s"
        )
    return Finding("clock", "ok", time.strftime("%Y-%m-%d %H:%M UTC", now))


Check = Callable[[Path | None], Finding]
CHECKS: dict[str, tuple[Check, str]] = {  # by name, with the cure where a check itself breaks down
    "python": (check_python, "reinstall Python"),
    "packages": (check_packages, "reinstall edgepers in a new environment"),
    "torch": (check_torch, _TORCH_CURE),
    "ops": (check_ops, _KERNELS_CURE),
    "nf4": (check_nf4, _BNB_CURE),
    "4-bit gradient": (check_gradient, _BNB_CURE),
    "triton": (check_triton, "pip install --force-reinstall triton"),
    "memory": (check_memory, "pip install --force-reinstall psutil"),
    "disk": (check_disk, "give --state a folder on a disk that can be read"),
    "buffer": (check_buffer, "restore the state folder from a copy, or move it away"),
    "energy": (check_energy, "try again: the bus of a meter may be busy for a moment"),
    "clock": (check_clock, "set the clock"),
}


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def examine(state: Path | None = None) -> list[Finding]:
    """Run every check; one that breaks down is a failure of that check, whatever it raised."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it tells of kernels it would like to download
    findings = []
    for name, (check, cure) in CHECKS.items():
        try:
            findings.append(check(state))
        except Exception as error:  # what is broken may break in any way, and the other checks must still be told
            findings.append(Finding(name, "fail", f"{type(error).__name__}: {_line(error)}", cure))
    return findings


def report(findings: Sequence[Finding]) -> dict[str, Any]:
    """What `edgepers doctor --json` prints."""
    return {
        "ok": all(finding.status != "fail" for finding in findings),
        "failed": [finding.name for finding in findings if finding.status == "fail"],
        "jetson": JETSON.exists(),
        "checks": [finding._asdict() for finding in findings],
    }


def findings_text(findings: Sequence[Finding], columns: int | None = None) -> str:
    """The findings as a table, wrapped to the terminal, each cure below what it cures."""
    columns = columns or shutil.get_terminal_size((100, 24)).columns
    names = max(len(finding.name) for finding in findings)
    room = max(columns - max(names, len("check")) - 10, 30)
    rows = []
    for finding in findings:
        lines = wrap(finding.found, room) + (wrap(f"cure: {finding.cure}", room) if finding.cure else [])
        rows += [(finding.name, finding.status, lines[0]), *(("", "", line) for line in lines[1:])]
    return table(rows, ("check", "status", "found"))
