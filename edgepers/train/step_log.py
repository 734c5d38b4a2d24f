"""A round's training step by step: a CSV file, and TensorBoard's events where that is installed."""

import csv
import importlib.util
from pathlib import Path
from typing import Any

from edgepers.train.trainer import TrainStep

__all__ = ["COLUMNS", "StepLog", "logged_losses"]

COLUMNS = ("step", "loss", "learning_rate", "tokens_per_second", "memory_bytes")


class StepLog:
    """Writes `folder/NAME.csv`, each line as its step ends.

    A round that starts again writes it anew; it holds numbers only, no text.

    TensorBoard's go to `folder/tensorboard/NAME`: `tensorboard --logdir my-state/rounds/tensorboard`.
    """

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / f"{name}.csv").open("w", encoding="utf-8", newline="", buffering=1)
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(COLUMNS)
        self._events: Any = None
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            events: Any = SummaryWriter
            self._events = events(str(folder / "tensorboard" / name))

    def write(self, step: TrainStep, memory_bytes: int) -> None:
        """Losses in nats a response token, real tokens a second since the start, memory above the interpreter's own."""
        values = (step.step, step.loss, step.learning_rate, round(step.tokens_per_second, 1), memory_bytes)
        self._rows.writerow(values)
        if self._events is not None:
            for name, value in zip(COLUMNS[1:], values[1:], strict=True):
                self._events.add_scalar(name, value, step.step)

    def __enter__(self) -> "StepLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._events is not None:
            self._events.close()


def logged_losses(folder: Path, name: str) -> list[tuple[int, float]]:
    """Step and loss, in nats a response token, of each step of `folder/NAME.csv`; none where there is no such file.

    The last line may be half written.
    """
    try:
        text = (folder / f"{name}.csv").read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    rows = csv.DictReader(text[: text.rfind("\n") + 1].splitlines())
    return [(int(row["step"]), float(row["loss"])) for row in rows]
