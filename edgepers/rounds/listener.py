"""What a run says while it works."""

from edgepers.select.decision import Decision
from edgepers.train.trainer import TrainStep

__all__ = ["Listener"]


class Listener:
    """What a run says while it works; override what you want to hear."""

    explains = False  # whether decisions are to say why

    def log(self, text: str) -> None:
        """One line about something that is not an error."""

    def decided(self, decision: Decision) -> None:
        """A set was kept or dropped."""

    def stage(self, name: str, round_number: int) -> None:
        """A stage of a round begins."""

    def trained(self, step: TrainStep) -> None:
        """An optimizer step was done."""
