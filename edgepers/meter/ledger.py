"""What each stage of a state took since its last round, over processes: seconds, and joules where there is a meter."""

import contextlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgepers.errors import StateError
from edgepers.files import replace_file
from edgepers.meter.energy import EnergyMeter, Spent, Window

__all__ = ["Ledger", "energy_record", "read_pending", "total_energy"]

KEEP_SECONDS = 30.0


class Ledger:
    """Sums up windows of energy by stage.

    A process that is killed takes along what it spent since it last wrote that down (`save`, `keep`).

    Args:
        file: keeps what was spent since the last round.
        meter: it is closed with the ledger.
        round_number: of the round that is under way, or next.
    """

    def __init__(self, file: Path, meter: EnergyMeter, round_number: int) -> None:
        self.meter = meter
        self._file = file
        self._round = round_number
        self._spent = read_pending(file, round_number)[1]
        self._saved = dict(self._spent)
        self._saved_at = time.monotonic()
        self._open: tuple[str, Window] | None = None

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Meter what is done inside as part of a stage."""
        with self.meter.window() as window:
            self._open = name, window
            try:
                yield
            finally:
                self._open = None
                _add(self._spent, {name: window.so_far()})
        self.keep()

    def keep(self) -> None:
        """Save in the midst of a stage, where that was not done for `KEEP_SECONDS`."""
        if time.monotonic() - self._saved_at >= KEEP_SECONDS:
            self.save()

    def record(self) -> dict[str, Any]:
        """Return the energy of the round so far, as its report has it."""
        return energy_record(self.meter.describe(), self._spent)

    def save(self) -> None:
        """Write down what was spent since the last round."""
        now = dict(self._spent)
        if self._open is not None:
            _add(now, {self._open[0]: self._open[1].so_far()})
        self._saved_at = time.monotonic()
        if now != self._saved:
            stages = {name: asdict(spent) for name, spent in now.items()}
            replace_file(
                self._file,
                json.dumps({"round": self._round, "meter": self.meter.describe(), "stages": stages}, indent=1) + "\n",
            )
            self._saved = now

    def begin_round(self, number: int) -> None:
        """The last round's report holds what was spent; from here on it is the next one's."""
        self._round, self._spent, self._saved = number, {}, {}
        self._file.unlink(missing_ok=True)

    def close(self) -> None:
        """Save, and let the meter go."""
        try:
            self.save()
        finally:
            self.meter.close()


def read_pending(file: Path, round_number: int) -> tuple[dict[str, Any] | None, dict[str, Spent]]:
    """The meter, and what was spent by stage since the last round; nothing where the file is of an earlier round.

    Raises:
        StateError: the file cannot be read.
    """
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, {}
    except (OSError, json.JSONDecodeError) as error:
        raise StateError(f"{file}: {error}; delete it: only what was spent since the last round is lost") from None
    return (kept["meter"], _stages(kept)) if kept["round"] == round_number else (None, {})


def _stages(energy: Mapping[str, Any]) -> dict[str, Spent]:
    return {name: Spent(**values) for name, values in energy["stages"].items()}


def energy_record(meter: Mapping[str, Any] | None, stages: Mapping[str, Spent]) -> dict[str, Any]:
    """Return `energy_joules` and its parts, as a round and a run report them.

    It is null where not all was metered, or no counter has moved.
    """
    total = sum(stages.values(), Spent()).record()
    return {
        "energy_joules": total["joules"] or None,
        "energy": {"meter": meter, **total, "stages": {name: spent.record() for name, spent in stages.items()}},
    }


def total_energy(
    rounds: Iterable[Mapping[str, Any]], pending: tuple[Mapping[str, Any] | None, Mapping[str, Spent]]
) -> dict[str, Any]:
    """Sum up a state's energy: its rounds, and what came after them, with the meter that was read last."""
    meter: Mapping[str, Any] | None = None
    stages: dict[str, Spent] = {}
    for done in rounds:
        energy = done.get("energy")  # absent from reports that are older than meters
        meter = energy["meter"] if energy else meter
        _add(stages, _stages(energy) if energy else {"train": Spent(done["train_seconds"])})
    _add(stages, pending[1])
    return energy_record(pending[0] or meter, stages)


def _add(stages: dict[str, Spent], more: Mapping[str, Spent]) -> None:
    for name, spent in more.items():
        stages[name] = stages.get(name, Spent()) + spent
