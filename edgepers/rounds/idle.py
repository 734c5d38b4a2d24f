"""Tell whether now is the time for a round that nobody waits for.

That is when something is new, and the device has nothing else to do.
"""

import time
from collections.abc import Mapping

from edgepers.board.sensors import Sensors, busy
from edgepers.config import Settings
from edgepers.rounds.verdicts import nothing_to_train_on, part
from edgepers.state.buffer import Buffer
from edgepers.state.folder import CHECKPOINT, State
from edgepers.train.pause import CALM_LOOKS, LOOK_SECONDS

__all__ = ["nothing_new", "wait_until_idle"]


def nothing_new(state: State, buffer: Buffer, settings: Settings) -> str:
    """Why a round would only repeat the last one; "" where it would not.

    What nobody is there to be asked about is nothing new: with `--annotations ask` only sets that were annotated since,
    in chat for example, count.
    """
    if (state.adapters / CHECKPOINT).exists():
        return ""  # a training that was cut off
    if settings.annotations != "ask" and buffer.progress.position > buffer.progress.round_position:
        return ""
    parted = part(buffer.annotated())
    training = parted.training
    if not training:
        return nothing_to_train_on(len(parted.rejected))
    reports = state.round_reports(buffer.progress.rounds)
    if (
        reports
        and set(reports[-1]["trained_on"]) == {kept.position for kept in training}
        and all(kept.asked <= reports[-1]["round"] for kept in training)
    ):
        return f"nothing was annotated since round {reports[-1]['round']}"
    return ""


def wait_until_idle(bounds: Mapping[str, float], minutes: float, sensors: Sensors | None = None) -> str:
    """Wait until the device has been calm for a while, and return ""; else what it was busy with.

    Args:
        bounds: as for `Pause`.
        minutes: to wait at most.
        sensors: in place of the device's own.
    """
    sensors = sensors or Sensors()
    end = time.monotonic() + 60 * minutes
    calm, reason = 0, ""
    while calm < CALM_LOOKS:
        if calm == 0 and reason and time.monotonic() >= end:
            return reason
        time.sleep(LOOK_SECONDS)
        reason = busy(sensors, bounds)
        calm = 0 if reason else calm + 1
    return ""
