"""Training makes room for what else the device does.

It waits while other programs work, the battery is low, or the device is hot.
"""

import time
from collections.abc import Callable, Mapping

from edgepers.board.sensors import Sensors, busy

__all__ = ["CALM_LOOKS", "LOOK_SECONDS", "Pause"]

LOOK_SECONDS = 2.0  # between two looks, and what a load is averaged over, at least
CALM_LOOKS = 3  # in a row without a reason, before training goes on: no stop and go around a bound


class Pause:
    """Waits while the device is busy; called between micro-batches.

    Args:
        bounds: by sensor: "load" (share of all cores that other processes may take), "battery" (least percent when not
            plugged
            in), "temperature" (most degrees Celsius).
        log: gets one line about what cannot be measured, when training pauses and why, and when it goes on.
        sensors: in place of the device's own.
    """

    def __init__(self, bounds: Mapping[str, float], log: Callable[[str], None], sensors: Sensors | None = None) -> None:
        self._bounds = dict(bounds)
        self._log = log
        self._sensors = sensors or Sensors()
        self._looked = time.monotonic()
        silent = [name for name in self._bounds if getattr(self._sensors, name)() is None]
        if silent:
            log(f"--pause-when-busy: this device does not tell its {' or '.join(silent)}; training does not heed it")

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
        self._log(f"training pauses: {reason}")
        calm = 0
        while calm < CALM_LOOKS:
            time.sleep(LOOK_SECONDS)
            calm = 0 if self._reason() else calm + 1
        waited = time.monotonic() - began
        self._log(f"training goes on after {waited:.0f} s")
        return waited

    def _reason(self) -> str:
        self._looked = time.monotonic()
        return busy(self._sensors, self._bounds)
