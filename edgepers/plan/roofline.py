"""How long a round takes on a board, and how much energy: estimates from its clocks, before anybody has one.

A roofline: products at a share of the most that the GPU computes, bytes at a share of the most that the memory moves,
one after the other. Both shares are assumptions. Nothing of it has been measured on a board.
"""

import math
from dataclasses import dataclass

from edgepers.board.presets import PowerMode, Preset
from edgepers.config import Settings
from edgepers.evaluate.reserve import MOST_RESERVE
from edgepers.train.layout import MemoryLayout
from edgepers.train.recipe import Recipe

__all__ = ["FORMULA", "RoundEstimate", "estimate_round"]

COMPUTED_SHARE = 0.5  # of the peak; matrices of training sizes on other GPUs of this architecture reach 0.4 to 0.7
MOVED_SHARE = 0.8  # of the memory's peak
SET_TOKENS = 128  # of a set, prompt and response
ANSWER_TOKENS = 64  # of a variation
GENERAL_SETS = 64  # that the guard looks at
ANSWERS_AT_ONCE = 32
_DEQUANTIZED = (
    0.5 + 2 + 2
)  # bytes moved of each weight when a layer is used: read in 4 bits, written in 16, read by the product
FORMULA = (
    "a first round, which starts afresh; train: steps (unset: passes over annotations x (1 + generations) sets, by"
    " batches) x"
    f" (batch + untold + rehearsal) x {SET_TOKENS} tokens x 2 P x (2 + recomputed share) operations at"
    f" {COMPUTED_SHARE:g} of the peak,"
    f" and {_DEQUANTIZED:g} bytes of each weight that is not kept dequantized, for each pass of each micro-batch, at"
    f" {MOVED_SHARE:g} of the"
    f" bandwidth; synthesize: {ANSWER_TOKENS} such passes for every {ANSWERS_AT_ONCE} of annotations x generations;"
    " guard: three forward"
    f" passes over {MOST_RESERVE} + {GENERAL_SETS} sets; joules: seconds x the power mode's watts, an upper bound"
)


@dataclass(frozen=True, slots=True)
class RoundEstimate:
    """Seconds of one round by stage, and at most so many joules."""

    train: float
    synthesize: float
    guard: float
    joules: float

    @property
    def seconds(self) -> float:
        """Seconds of all stages."""
        return self.train + self.synthesize + self.guard


def estimate_round(
    preset: Preset,
    mode: PowerMode,
    settings: Settings,
    *,
    parameters: int,
    quantized: int,
    blocks: int,
    configuration: MemoryLayout,
) -> RoundEstimate:
    """Estimate seconds and joules of a first round by the board's clocks and bandwidth.

    Args:
        preset: the board.
        mode: that it is in.
        settings: epochs, batch, untold, rehearsal, annotations and generations of a round.
        parameters: of the model, a tied head once.
        quantized: of them, in 4 bits.
        blocks: of the model.
        configuration: in which training fits.
    """
    compute, move = COMPUTED_SHARE * mode.flops, MOVED_SHARE * preset.bandwidth(mode)
    rest = 2 * (parameters - quantized)  # bytes of what is in 16 bits and read for each pass: the head, above all
    moved = _DEQUANTIZED * max(quantized - configuration.resident_bytes / 2, 0) + rest
    passes = 2 + configuration.recomputed_blocks / blocks
    sets = settings.batch + settings.untold + settings.rehearsal
    micro_batches = math.ceil(sets * SET_TOKENS / configuration.micro_batch_tokens)
    learned = settings.annotations_per_round * (1 + settings.generations)
    steps = Recipe.of(settings, on_cpu=False).steps_for([SET_TOKENS] * learned)
    train = steps * passes * (sets * SET_TOKENS * 2 * parameters / compute + micro_batches * moved / move)
    answers = settings.annotations_per_round * settings.generations
    synthesize = ANSWER_TOKENS * math.ceil(answers / ANSWERS_AT_ONCE) * (_DEQUANTIZED * quantized + rest) / move
    guard = 3 * (MOST_RESERVE + GENERAL_SETS) * SET_TOKENS * 2 * parameters / compute
    return RoundEstimate(train, synthesize, guard, (train + synthesize + guard) * mode.watts)
