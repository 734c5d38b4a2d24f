"""Read what a board says of itself in the device tree and sysfs.

Everything may be missing: any machine is a board that says less.

Paths are those of JetPack 6 (kernel 5.15) and 7; a second one of a list is an older kernel's. Read under a `root`, so
that copies and synthetic trees do, too. Not run on a board yet.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edgepers.board.presets import PRESETS

__all__ = ["ROOT", "Board", "read_board", "storage_of"]

ROOT = Path("/")
_GPU = (
    "sys/devices/platform/17000000.gpu/devfreq_dev",
    "sys/class/devfreq/17000000.gpu",
    "sys/class/devfreq/17000000.ga10b",
    "sys/devices/17000000.ga10b/devfreq/17000000.ga10b",
)
_MEMORY_CLOCK = ("sys/kernel/nvpmodel_clk_cap/emc", "sys/kernel/nvpmodel_emc_cap/emc_iso_cap")
_SHARE = 0.75  # of a module's memory that Linux must see, at least: the smaller module of each family has half as much


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One machine; None, or nothing, for what it does not say.

    Attributes:
        model: of the device tree.
        preset: the name in `PRESETS`.
        memory_bytes: that Linux has.
        l4t: release of Jetson Linux, such as (36, 4, 3).
        power_mode: nvpmodel's name of the mode that it is in.
        power_modes: number of each mode that it is configured for, by name.
        cpu_hz: most that any core's clock may be now.
        gpu_hz: the same of the GPU.
        memory_hz: the same of the memory.
        temperatures: degrees Celsius by zone.
    """

    model: str | None
    preset: str | None
    memory_bytes: int | None
    l4t: tuple[int, int, int] | None
    power_mode: str | None
    power_modes: dict[str, int]
    cpu_hz: float | None
    gpu_hz: float | None
    memory_hz: float | None
    temperatures: dict[str, float]

    @property
    def jetson(self) -> bool:
        """Whether it is one of NVIDIA's."""
        return self.l4t is not None or "jetson" in (self.model or "").lower()

    @property
    def release(self) -> str:
        """The release of Jetson Linux, as people write it."""
        return "" if self.l4t is None else f"R{self.l4t[0]}.{self.l4t[1]}.{self.l4t[2]}"


def _text(file: Path) -> str | None:
    """A small file's text without blanks around it; None where it cannot be read, as a clock that sleeps."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip("\x00 \t\n")
    except OSError:
        return None


def _number(file: Path) -> float | None:
    try:
        return float(_text(file) or "")
    except ValueError:
        return None


def read_board(root: Path = ROOT) -> Board:
    """Read everything once; quick, and without rights."""
    model = _text(root / "proc/device-tree/model") or _text(root / "sys/firmware/devicetree/base/model")
    memory = _memory(root)
    mode, modes = _power_modes(root)
    clocks = [_number(file) for file in root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_max_freq")]
    cpu_khz = max((clock for clock in clocks if clock is not None), default=None)
    return Board(
        model=model,
        preset=_preset(model, memory),
        memory_bytes=memory,
        l4t=_l4t(root),
        power_mode=mode,
        power_modes=modes,
        cpu_hz=None if cpu_khz is None else 1000 * cpu_khz,
        gpu_hz=_first(root / place / "max_freq" for place in _GPU),
        memory_hz=_first(root / place for place in _MEMORY_CLOCK),
        temperatures=_temperatures(root),
    )


def _first(files: Iterator[Path]) -> float | None:
    return next((value for value in map(_number, files) if value), None)


def _memory(root: Path) -> int | None:
    match = re.search(r"^MemTotal:\s+(\d+) kB", _text(root / "proc/meminfo") or "", re.MULTILINE)
    return 1024 * int(match[1]) if match else None


def _preset(model: str | None, memory: int | None) -> str | None:
    for name, preset in PRESETS.items():
        if (
            model
            and memory
            and preset.family in model
            and _SHARE * preset.memory_bytes < memory < 1.1 * preset.memory_bytes
        ):
            return name
    return None


def _l4t(root: Path) -> tuple[int, int, int] | None:
    """Parse a line such as `# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic`."""
    match = re.search(r"R(\d+) \(release\), REVISION: (\d+)(?:\.(\d+))?", _text(root / "etc/nv_tegra_release") or "")
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def _power_modes(root: Path) -> tuple[str | None, dict[str, int]]:
    """The mode that nvpmodel has written down, and those that its configuration defines."""
    found = re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+?)\s*>", _text(root / "etc/nvpmodel.conf") or "")
    numbers = {name: int(number) for number, name in found}
    match = re.search(r"pmode:(\d+)", _text(root / "var/lib/nvpmodel/status") or "")
    now = int(match[1]) if match else None
    return next((name for name, number in numbers.items() if number == now), None), numbers


def _temperatures(root: Path) -> dict[str, float]:
    found = {}
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        value = _number(zone / "temp")
        if value is not None and value > -100_000:  # a zone of a part that sleeps reads -256 °C
            found[_text(zone / "type") or zone.name] = value / 1000
    return found


def storage_of(folder: Path, root: Path = ROOT, device: int | None = None) -> str | None:
    """Find what a folder's file system lies on: "nvme", "sd", "emmc", "usb" or "disk".

    None where that cannot be told, as in a container.

    Args:
        folder: that exists.
        root: of sysfs.
        device: number of the file system's device, in place of the folder's own.
    """
    number = os.stat(folder).st_dev if device is None else device
    block = root / f"sys/dev/block/{os.major(number)}:{os.minor(number)}"
    with contextlib.suppress(OSError):
        place = block.resolve(strict=True)
        names = "/".join(place.parts)
        if "/nvme" in names:
            return "nvme"
        if "/mmcblk" in names:
            disk = next(part for part in (place, *place.parents) if re.fullmatch(r"mmcblk\d+", part.name))
            kind = _text(disk / "device/type")
            return {"SD": "sd", "MMC": "emmc"}.get(kind or "")
        if "/virtual/" in names:
            return None
        return "usb" if "/usb" in names else "disk"
    return None
