"""The energy counters of an x86 processor (RAPL): microjoules by package and memory, which wrap.

Linux shows them below /sys/class/powercap as intel-rapl:<package> and intel-rapl:<package>:<part>, on AMD processors,
too (kernel: power/powercap).
"""

import re
from pathlib import Path

from edgepers.meter.source import Found

__all__ = ["Rapl", "find"]


class Rapl:
    """Joules by package, and by memory where it is metered apart. Cores lie inside their package, and are not told."""

    name = "rapl"
    counts = True

    def __init__(self, zones: dict[str, Path]) -> None:
        self._zones = zones
        self._range_uj = {rail: _number(zone / "max_energy_range_uj") for rail, zone in zones.items()}
        self._last_uj = {rail: _number(zone / "energy_uj") for rail, zone in zones.items()}
        self._joules = dict.fromkeys(zones, 0.0)
        self.totals: dict[str, tuple[str, ...]] = {" + ".join(zones): tuple(zones)}

    def read(self) -> dict[str, float]:
        """Joules since this object was made, provided that it is read at least once a turn of the counter (minutes)."""
        for rail, zone in self._zones.items():
            now = _number(zone / "energy_uj")
            passed = now - self._last_uj[rail]
            self._joules[rail] += (passed if passed >= 0 else passed + self._range_uj[rail]) * 1e-6
            self._last_uj[rail] = now
        return dict(self._joules)

    def close(self) -> None:
        """Hold nothing, so close nothing."""


def find(sys: Path) -> Found:
    """The counters below `sys`. Since 2020 kernels let root alone read them (CVE-2020-8694)."""
    powercap = sys / "class" / "powercap"
    zones, denied = {}, False
    for zone in sorted(powercap.glob("intel-rapl:*")):  # not intel-rapl-mmio, which counts the packages once more
        match = re.fullmatch(r"intel-rapl:(\d+)(:\d+)?", zone.name)
        try:
            rail = (zone / "name").read_text().strip()
            if match is None or not (rail == "dram" if match[2] else rail.startswith("package")):
                continue  # psys holds the packages, core and uncore are held by them
            _number(zone / "energy_uj")
            zones[f"{rail}-{match[1]}" if match[2] else rail] = zone
        except PermissionError:
            denied = True
        except OSError:
            continue  # a zone that is switched off
    if denied:  # a part of the packages would pass for the whole
        cure = f"sudo chmod a+r {powercap}/intel-rapl:*/energy_uj (until the next start), or run as root"
        return Found([], [f"rapl: {powercap}/intel-rapl:*/energy_uj may be read by root alone"], [cure])
    return Found([Rapl(zones)] if zones else [], [], [])


def _number(path: Path) -> int:
    text = path.read_text()
    try:
        return int(text)
    except ValueError:
        raise OSError(5, f"{text!r} is not a number", str(path)) from None
