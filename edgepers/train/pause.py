"""Training makes room for what else the device does: it waits while other programs work, the battery is low, or it is hot."""

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

__all__ = ["CALM_LOOKS", "LOOK_SECONDS", "Pause", "Sensors", "busy"]

LOOK_SECONDS = 2.0  # between two looks, and what a load is averaged over, at least
CALM_LOOKS = 3  # in a row without a reason, before training goes on: no stop and go around a bound
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
        """Of all cores since boot: passed, worked, and worked by this process."""
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
        """Of the hottest zone that can be read, in degrees Celsius; on a Jetson zones of parts that sleep cannot."""
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


class Pause:
    """Waits while the device is busy; called between micro-batches.

    Args:
        bounds: by sensor: "load" (share of all cores that other processes may take), "battery" (least percent when not
            plugged
            in), "temperature" (most degrees Celsius).
        note: told in one line of what cannot be measured, when training pauses and why, and when it goes on.
        sensors: in place of the device's own.
    """

    def __init__(
        self, bounds: Mapping[str, float], note: Callable[[str], None], sensors: Sensors | None = None
    ) -> None:
        self._bounds = dict(bounds)
        self._note = note
        self._sensors = sensors or Sensors()
        self._looked = time.monotonic()
        silent = [name for name in self._bounds if getattr(self._sensors, name)() is None]
        if silent:
            note(f"--pause-when-busy: this device does not tell its {' or '.join(silent)}; training does not heed it")

    def __call__(self, before: Callable[[], None]) -> float:
        """Wait until the device has been calm for a while.

        Args:
            before: called once before waiting, so that nothing is lost if power fails meanwhile.

        Returns:
            Seconds waited; 0.0 where it was calm, or looked at a moment ago.
        """
        began = time.monotonic()
        if began - self._looked < LOOK_SECONDS:
            return 0.0
        reason = self._reason()
        if not reason:
            return 0.0
        before()
        self._note(f"training pauses: {reason}")
        calm = 0
        while calm < CALM_LOOKS:
            time.sleep(LOOK_SECONDS)
            calm = 0 if self._reason() else calm + 1
        waited = time.monotonic() - began
        self._note(f"training goes on after {waited:.0f} s")
        return waited

    def _reason(self) -> str:
        self._looked = time.monotonic()
        return busy(self._sensors, self._bounds)
