"""What a training run does, and what it is by a model's size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgepers.config import Settings
from edgepers.train.batching import batches, batches_of_tokens

__all__ = ["Recipe", "default_learning_rate", "max_tokens_of", "passes_of"]

PASSES = 10
LEAST_STEPS = 60  # of a fresh adapter; with half as many it knew a third of the facts (benchmarks/LOG.md)
MOST_PASSES = 30  # of a few sets


def default_learning_rate(parameters: int) -> float:
    """Peak learning rate by the model's size; by evidence on SmolLM2-135M and the packaged model, customary above."""
    for below, rate in ((500_000_000, 2e-3), (2_000_000_000, 3e-4)):
        if parameters < below:
            return rate
    return 2e-4


def max_tokens_of(parameters: int) -> int:
    """Tokens of one training set, at most: the packaged model was pre-trained on 256."""
    return 256 if parameters < 50_000_000 else 512


def passes_of(steps_a_pass: int, *, fresh: bool = True) -> int:
    """Passes of a run for which none are set: `PASSES`, and more of few sets, up to `LEAST_STEPS` optimizer steps.

    An adapter that goes on from another one (not `fresh`) has learned already how its owner is to be answered.
    """
    return PASSES if not fresh else max(PASSES, min(MOST_PASSES, math.ceil(LEAST_STEPS / steps_a_pass)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a training run does; the same recipe, sets and model give the same adapter.

    Attributes:
        epochs: passes over the sets; None: `passes_of`.
        steps: optimizer steps instead of so many passes; None: passes.
        batch: sets of one optimizer step, at most.
        step_tokens: of one optimizer step's sets, about, whatever their number; None: `batch` sets.
        learning_rate: at its peak; None: by the model's size.
        rank: of LoRA; alpha is twice the rank.
        targets: "attention" or "all-linear".
        top: the adapter is on so many uppermost blocks, and those below run once for each set; None: on all.
        rehearsal: general sets beside those of each step.
        word_dropout: share of a question's words that is left out, others in each pass.
        asides: share of questions that have a sentence about something else beside them, others in each pass.
        review: sets that the adapter it goes on from has learned, beside those of each step.
        untold: questions of what the owner has not told, beside those of each step.
        contrast: answers that were called wrong, made less likely beside those of each step.
        optimizer_bits: of AdamW's moments, 32 or 8.
        liger: norms and gated products by Liger-Kernel.
        fused: products of 4-bit weights by a kernel that dequantizes them on the way, where it is faster.
        seed: of weights, order and dropout.
    """

    epochs: int | None = None
    steps: int | None = None
    batch: int = 16
    step_tokens: int | None = None
    learning_rate: float | None = None
    rank: int = 8
    targets: str = "attention"
    top: int | None = None
    rehearsal: int = 0
    word_dropout: float = 0.0
    asides: float = 0.0
    review: int = 0
    untold: int = 0
    contrast: int = 0
    optimizer_bits: int = 32
    liger: bool = False
    fused: bool = False
    seed: int = 0

    @classmethod
    def of(cls, settings: Settings, *, on_cpu: bool) -> "Recipe":
        """Make the recipe of a round; AdamW's moments are in 8 bits on a GPU unless another optimizer is set."""
        eight = settings.optimizer == "adamw8bit" or (settings.optimizer == "auto" and not on_cpu)
        return cls(
            steps=settings.steps,
            epochs=settings.epochs,
            batch=settings.batch,
            step_tokens=settings.step_tokens,
            learning_rate=settings.learning_rate,
            rank=settings.lora_rank,
            targets=settings.lora_targets,
            top=settings.lora_layers,
            rehearsal=settings.rehearsal,
            word_dropout=settings.word_dropout,
            asides=settings.asides,
            review=settings.review,
            untold=settings.untold,
            contrast=settings.contrast,
            optimizer_bits=8 if eight else 32,
            liger=settings.liger,
            fused=settings.fused,
            seed=settings.seed,
        )

    def steps_for(self, lengths: Sequence[int], *, fresh: bool = True) -> int:
        """Optimizer steps for sets of so many tokens each, of a fresh adapter or one that goes on from another."""
        if self.steps is not None:
            return self.steps
        if self.step_tokens is not None:
            epochs = self.epochs or passes_of(math.ceil(sum(lengths) / self.step_tokens), fresh=fresh)
            return math.ceil(epochs * sum(lengths) / self.step_tokens)
        a_pass = math.ceil(len(lengths) / min(self.batch, len(lengths)))
        return (self.epochs or passes_of(a_pass, fresh=fresh)) * a_pass

    def plan(self, lengths: Sequence[int], steps: int, reviewed: int = 0, untold: int = 0) -> list[list[int]]:
        """Which sets each step takes: of these, then of so many reviewed and untold ones, who are counted on."""
        if self.step_tokens is not None:
            own = list(batches_of_tokens(lengths, self.step_tokens, steps, self.seed))
        else:
            own = list(batches(len(lengths), self.batch, steps, self.seed))
        first = len(lengths)
        for there, a_step in ((reviewed, self.review), (untold, self.untold)):
            if there and a_step:
                beside = batches(there, a_step, steps, self.seed)
                own = [[*chosen, *(first + i for i in more)] for chosen, more in zip(own, beside, strict=True)]
            first += there
        return own

    def most_sets(self, lengths: Sequence[int]) -> int:
        """Return the most sets of one step: own ones of these lengths, and all that stand beside them."""
        own = self.batch if self.step_tokens is None else math.ceil(self.step_tokens / min(lengths))
        return own + self.review + self.untold + self.rehearsal + self.contrast
