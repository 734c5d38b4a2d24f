"""How busy a device is: its load, its battery, its heat."""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

__all__ = ["Sensors", "busy"]

THERMAL = Path("/sys/class/thermal")


class Sensors:
    """What the device says of itself; None for what it does not say.

    Args:
        thermal: the folder of its thermal zones.
    """

    def __init__(self, thermal: Path = THERMAL) -> None:
        self._thermal = thermal
        self._process = psutil.Process()
        self._before = self._seconds()

    def load(self) -> float | None:
        """Share of all cores that other processes took since the last call, 0 to 1."""
        now = self._seconds()
        all_, busy, own = (b - a for a, b in zip(self._before, now, strict=True))
        self._before = now
        return min(max((busy - own) / all_, 0.0), 1.0) if all_ > 0 else 0.0

    def _seconds(self) -> tuple[float, float, float]:
        """Read seconds of all cores since boot: passed, worked, and worked by this process."""
        times = psutil.cpu_times()._asdict()
        counted = {
            name: seconds for name, seconds in times.items() if not name.startswith("guest")
        }  # in `user` already
        idle = counted.get("idle", 0.0) + counted.get("iowait", 0.0)
        own = self._process.cpu_times()
        return sum(counted.values()), sum(counted.values()) - idle, own.user + own.system

    def battery(self) -> float | None:
        """Percent left, 100 while it is plugged in."""
        read = getattr(psutil, "sensors_battery", lambda: None)  # absent on some systems
        found = read()
        if found is None:
            return None
        return 100.0 if found.power_plugged else float(found.percent)

    def temperature(self) -> float | None:
        """Read the hottest zone that can be read, in degrees Celsius; on a Jetson zones of parts that sleep cannot."""
        found = []
        for file in self._thermal.glob("thermal_zone*/temp"):
            with contextlib.suppress(OSError, ValueError):
                found.append(int(file.read_text()) / 1000)
        return max(found, default=None)


_SAYS: dict[str, Callable[[float, float], str]] = {
    "load": lambda value, bound: f"other programs take {100 * value:.0f} % of the cores (at most {100 * bound:.0f} %)",
    "battery": lambda value, bound: f"the battery has {value:.0f} % (at least {bound:.0f} %)",
    "temperature": lambda value, bound: f"it is {value:.0f} °C hot (at most {bound:.0f} °C)",
}


def busy(sensors: Sensors, bounds: Mapping[str, float]) -> str:
    """Why the device is busy now, in words; "" where it is not."""
    for name, bound in bounds.items():
        value = getattr(sensors, name)()
        if value is not None and (value < bound if name == "battery" else value > bound):
            return _SAYS[name](value, bound)
    return ""
