"""When a training run has gone wrong: what is kept of it, and which sets did it."""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["DIVERGED_STEPS", "Ended", "LastGood", "culprits", "far_above", "limit_of"]

DIVERGED_STEPS = 5  # in a row, each far above the start
_GUESSING = 0.98  # of ln(vocabulary): around that itself, rounding decides
NAMED = 3  # sets in one line, at most


def limit_of(first_loss: float, vocabulary: int) -> float:
    """Return nats a response token above which a step's loss is far above the start.

    That is 1.5 times the first step's or nearly ln(vocabulary), the larger.

    ln(vocabulary) is what guessing every token alike costs, as a model does whose states have grown without bounds: one
    that says no better has lost what it knew. An
    ordinary run never comes near it, however noisy its steps; one step is no divergence, `DIVERGED_STEPS` in a row are.
    """
    return max(1.5 * first_loss, _GUESSING * math.log(vocabulary))


def far_above(loss: float, first_loss: float, vocabulary: int) -> bool:
    """Whether a step's loss is above `limit_of`."""
    return loss > limit_of(first_loss, vocabulary)


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that ended before its last step.

    Attributes:
        step: at which it ended, from 1; its optimizer step was not taken.
        steps: that were planned.
        good: optimizer steps behind the adapter that is left; 0: there is none.
        why: what was wrong.
        names: of the step's sets, those that did it; none where it was a general one beside them.
    """

    step: int
    steps: int
    good: int
    why: str
    names: tuple[str, ...]

    @property
    def sets(self) -> str:
        """The names as one types them after `edgepers forget`."""
        if not self.names:
            return "a general set of --rehearsal"
        names = list(dict.fromkeys(shlex.quote(name) for name in self.names))
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return f"{'set' if len(names) == 1 else 'sets'} {', '.join(names[:NAMED])}{more}"

    def __str__(self) -> str:
        """One line for the round's report and for the owner."""
        return (
            f"training ended at step {self.step} of {self.steps}: {self.why} ({self.sets}); the adapter of step"
            f" {self.good} is kept"
        )


class LastGood:
    """The adapter's weights as they were when a step's loss was last good: float32, as large as the adapter.

    Args:
        weights: the adapter's, by name.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights
        self.kept = {name: weight.detach().clone() for name, weight in weights.items()}

    @torch.no_grad()
    def keep(self) -> None:
        """The present weights are good."""
        for name, weight in self._weights.items():
            self.kept[name].copy_(weight)

    @torch.no_grad()
    def swap(self) -> None:
        """Put the good weights into the adapter, and what was there in their place; a second time undoes it."""
        for name, weight in self._weights.items():
            present = weight.detach().clone()
            weight.copy_(self.kept[name])
            self.kept[name].copy_(present)

    @property
    def finite(self) -> bool:
        """Whether every present weight is a finite number."""
        return all(bool(weight.isfinite().all()) for weight in self._weights.values())


def culprits(losses: Sequence[float], own: int) -> list[int]:
    """Name the sets of a step that made it diverge.

    Those are the ones without a finite loss, else the `NAMED` with the largest among its first `own`, the owner's.
    """
    broken = [i for i, loss in enumerate(losses) if not math.isfinite(loss)]
    return broken or sorted(range(own), key=lambda i: -losses[i])[:NAMED]
