"""The INA3221 power monitors of a Jetson: watts = volts x amperes of each labelled rail.

Linux shows a chip's channel n as in<n>_label, in<n>_input (mV) and curr<n>_input (mA) in its hwmon folder (kernel:
hwmon/ina3221).
"""

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from edgepers.meter.source import Found

__all__ = ["Ina3221", "find"]

# An Orin Nano and an Orin NX have a rail of everything. An AGX Orin has none, and it is open whether VIN_SYS_5V0 holds
# the memory's rail: both sums are told, and the smaller one stands for the whole.
WHOLE = "VDD_IN"
AGX = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")
AGX_MEMORY = "VDDQ_VDD2_1V8AO"
_NO_RAILS = ("sum of shunt voltages", "NC", "")  # in any case


class Ina3221:
    """The rails of a board, by label; files stay open, so that a sample costs one system call a value."""

    name = "ina3221"
    counts = False

    def __init__(self, rails: dict[str, tuple[int, int]]) -> None:
        self._rails = rails  # descriptors of (mV, mA)
        self.totals = totals_of(rails)

    def read(self) -> dict[str, float]:
        """Read watts by rail."""
        return {rail: _number(volts) * _number(amperes) * 1e-6 for rail, (volts, amperes) in self._rails.items()}

    def close(self) -> None:
        """Close the files of the rails."""
        for pair in self._rails.values():
            for descriptor in pair:
                os.close(descriptor)
        self._rails = {}


def totals_of(rails: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The sums of rails that stand for the board; none where a rail is missing that would have to be in them."""
    here = set(rails)
    if WHOLE in here:
        return {WHOLE: (WHOLE,)}
    sums = [AGX, (*AGX, AGX_MEMORY)] if here.issuperset(AGX) else []
    return {" + ".join(names): names for names in sums if here.issuperset(names)}


def find(sys: Path) -> Found:
    """The rails below `sys`; one that cannot be read is told."""
    rails: dict[str, tuple[int, int]] = {}
    lacking, cures = [], []
    for label_file in sorted((sys / "bus" / "i2c" / "drivers" / "ina3221").glob("*/hwmon/hwmon*/in*_label")):
        channel = re.fullmatch(r"in(\d+)_label", label_file.name)
        try:
            label = label_file.read_text().strip()
            if channel is None or label.lower() in {name.lower() for name in _NO_RAILS}:
                continue
            values = label_file.with_name(f"in{channel[1]}_input"), label_file.with_name(f"curr{channel[1]}_input")
            rails[label] = _opened(*values)
        except OSError as error:
            lacking.append(f"ina3221: {error.filename or label_file}: {error.strerror}")
            if isinstance(error, PermissionError):
                cures.append(f"sudo chmod a+r {label_file.parent}/*_label {label_file.parent}/*_input")
    return Found([Ina3221(rails)] if rails else [], lacking, list(dict.fromkeys(cures)))


def _opened(*paths: Path) -> tuple[int, int]:
    """Descriptors of two files that hold a number each."""
    with contextlib.ExitStack() as stack:
        descriptors = []
        for path in paths:
            descriptors.append(os.open(path, os.O_RDONLY))
            stack.callback(os.close, descriptors[-1])
            try:
                _number(descriptors[-1])
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(path)) from None
        stack.pop_all()
        return descriptors[0], descriptors[1]


def _number(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0)
    try:
        return int(text)
    except ValueError:
        raise OSError(5, f"{text!r} is not a number") from None
