"""The fastest way to lay a training run out in a given memory."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from edgepers.config import Settings, format_size
from edgepers.errors import BudgetError
from edgepers.plan.memory import AdapterBytes, StepBytes, step_bytes, training_parts
from edgepers.plan.shapes import ModelShapes
from edgepers.train.checkpointed_blocks import blocks_of
from edgepers.train.frozen_linear import ByteAllowance
from edgepers.train.layout import LEAST_TOKENS, MICRO_BATCH_TOKENS, MemoryLayout
from edgepers.train.packing import bins
from edgepers.train.recipe import Recipe

__all__ = ["Fit", "fit", "heaviest", "over_budget"]

MARGIN = 1.06  # of what is counted, left for what is not: enough in all 15 measured configurations (at least .95)
_LEAN = {
    2: 1.8,
    4: 1.2,
}  # times as long a training takes with a lean heap, by bytes of a number: measured with 185 M and 8 M parameters
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of blocks that are recomputed


@dataclass(frozen=True, slots=True)
class _Costs:
    """Time of what a configuration adds, in forward passes of tokens.

    Attributes:
        again: a block computed again, for each token.
        dequantized: weights dequantized, for each pass of a micro-batch.
        begun: the rest of what a pass of a micro-batch takes, however few its tokens.
    """

    again: float
    dequantized: float
    begun: float


# Of whole training runs with 185 M parameters on a CPU with AVX-512 (benchmarks/LOG.md, 2026-11-22): within 11 % for
# nine configurations, within 4 % for five. By itself a layer is dequantized while 160 to 260 tokens pass through it,
# but tokens pass through more than that.
_ON_CPU = _Costs(0.6, 50, 20)
_ON_GPU = _Costs(1.0, 180, 20)  # not measured: an Orin's bandwidth and its rate of products give 245 for `dequantized`


@dataclass(frozen=True, slots=True)
class Fit:
    """A configuration, and what it takes.

    Attributes:
        configuration: that was chosen.
        parts: bytes by part, the base model's among them.
        fits: they are no more than there is.
    """

    configuration: MemoryLayout
    parts: dict[str, int]
    fits: bool

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(self.parts.values())


def heaviest(lengths: Sequence[tuple[int, int]], micro_batch_tokens: int, batch: int) -> list[tuple[int, int]]:
    """Of all micro-batches that a run may meet, about the heaviest: its longest sets, at most `batch` of them.

    Args:
        lengths: (prompt tokens, response tokens) of each set.
        micro_batch_tokens: see `MemoryLayout`.
        batch: sets of one optimizer step.
    """
    longest = sorted(lengths, key=sum, reverse=True)[:batch]
    group = bins([sum(length) - 1 for length in longest], micro_batch_tokens)[0]
    return [longest[i] for i in group]


def _typical_tokens(lengths: Sequence[tuple[int, int]], micro_batch_tokens: int) -> float:
    """Of a micro-batch, in the mean over these sets, or some of them where they are many."""
    tokens = [max(sum(length) - 1, 1) for length in lengths[:: max(len(lengths) // 256, 1)]]
    return sum(tokens) / len(bins(tokens, micro_batch_tokens))


def _cost(costs: _Costs, tokens: float, recomputed: float, resident: float) -> float:
    """Time a token, in forward passes: forward, its gradient, what is recomputed, and its share of what each micro-batch takes.

    Args:
        costs: of the device.
        tokens: of a micro-batch.
        recomputed: share of the blocks.
        resident: share of the 4-bit weights that are kept dequantized.
    """
    a_pass = costs.begun + (1 - resident) * costs.dequantized
    return 2 + costs.again * recomputed + (2 + recomputed) * a_pass / tokens


def fit(llm: ModelShapes, lengths: Sequence[tuple[int, int]], recipe: Recipe, memory: int) -> Fit:
    """Choose the configuration; the smallest there is where none fits.

    What frozen lower layers say is kept in 8 bits only where 16 do not fit.

    Activations between no and all blocks recomputed are taken to be proportional; what is chosen is counted once more.

    Args:
        llm: the model's shapes.
        lengths: (prompt tokens, response tokens) of the sets.
        recipe: what is done with them.
        memory: bytes for model and training; `MARGIN` of what is counted must fit.

    Raises:
        UncountableError: see `step_bytes`.
    """
    memory = int(memory / MARGIN)
    most_sets = recipe.most_sets(list(map(sum, lengths)))
    sizes: dict[int, list[tuple[int, int]]] = {}
    tokens = MICRO_BATCH_TOKENS
    while tokens >= LEAST_TOKENS:
        micro_batch = heaviest(lengths, tokens, most_sets)
        if micro_batch not in sizes.values():
            sizes[tokens] = micro_batch
        tokens //= 2
    typical = {tokens: _typical_tokens(lengths, tokens) for tokens in sizes}

    @functools.cache
    def step_of(tokens: int, recomputed: int) -> tuple[StepBytes, AdapterBytes]:
        return step_bytes(llm, sizes[tokens], recipe, MemoryLayout(recomputed_blocks=recomputed))

    states = sum(map(sum, lengths)) * llm.hidden_size if recipe.top else 0
    for bits in (16, 8) if recipe.top else (16,):
        found = [
            _fit(
                llm,
                typical,
                step_of,
                memory=memory,
                kept_states=states * bits // 8,
                start=MemoryLayout(state_bits=bits, lean_heap=lean),
            )
            for lean in (False, True)
        ]
        best, _ = min(found, key=lambda one: one[1])
        if best.fits:
            return best
    return found[-1][0]


def _fit(
    llm: ModelShapes,
    typical: Mapping[int, float],
    step_of: Callable[[int, int], tuple[StepBytes, AdapterBytes]],
    *,
    memory: int,
    kept_states: int,
    start: MemoryLayout,
) -> tuple[Fit, float]:
    """The best configuration that differs from `start` in micro-batch, recomputed blocks and resident weights; its cost, inf: none fits."""
    slower = _LEAN[llm.dtype.itemsize] if start.lean_heap else 1.0
    cost_of = functools.partial(_cost, _ON_CPU if llm.on_cpu else _ON_GPU)
    weights = llm.weight_bytes()
    blocks = len(blocks_of(llm.decoder))
    plain = sum(layer.weight.numel() * llm.dtype.itemsize for layer in llm.quantized_layers)
    parts_of = functools.partial(
        training_parts, itemsize=llm.dtype.itemsize, lean_heap=start.lean_heap, kept_states=kept_states
    )

    def counted(tokens: int, share: float, room: int | None = None) -> Fit:
        shape = replace(start, micro_batch_tokens=tokens, recomputed_blocks=round(share * blocks))
        step, adapter = step_of(tokens, shape.recomputed_blocks)
        parts = {**weights, **parts_of(step, adapter)}
        left = memory - sum(parts.values())
        resident = _resident(llm, left if room is None else min(left, room))
        if resident:
            shape = replace(shape, resident_bytes=resident)
            parts = {**weights, **parts_of(step, adapter, resident_bytes=resident)}
        return Fit(shape, parts, left >= 0)

    best = counted(MICRO_BATCH_TOKENS, 0.0)
    if best.fits and best.configuration.resident_bytes >= plain:
        return best, slower * cost_of(typical[MICRO_BATCH_TOKENS], 0.0, 1.0)  # none is faster
    ends = {(tokens, share): counted(tokens, share, 0).total for tokens in typical for share in (0.0, 1.0)}
    ways: list[tuple[float, int, float]] = []
    for tokens, in_the_mean in typical.items():
        for share in _SHARES:
            left = memory - (1 - share) * ends[tokens, 0.0] - share * ends[tokens, 1.0]
            resident = min(max(left, 0) / plain, 1.0) if plain else 1.0
            if left >= 0:
                ways.append((cost_of(in_the_mean, share, resident), tokens, share))
    for cost, tokens, share in sorted(ways):
        found = counted(tokens, share)
        if found.fits:
            return found, slower * cost
    return min((counted(tokens, 1.0) for tokens in typical), key=lambda found: found.total), math.inf


def over_budget(parts: Mapping[str, int], settings: Settings) -> BudgetError:
    """The line that says what does not fit within `--memory`."""
    largest = sorted(parts.items(), key=lambda part: -part[1])[:4]
    what = ", ".join(f"{part} {format_size(size)}" for part, size in largest)
    return BudgetError(
        f"--memory {format_size(int(settings.memory))} is too little: {settings.model or 'the packaged model'} needs"
        " about"
        f" {format_size(int(MARGIN * sum(parts.values())))} ({what}, ...); raise it, or take a smaller model"
    )


def _resident(llm: ModelShapes, room: int) -> int:
    """Bytes of the 4-bit layers that `lean_layers` would keep dequantized."""
    fitting = ByteAllowance(room)
    return sum(
        size for layer in llm.quantized_layers if fitting.take(size := layer.weight.numel() * llm.dtype.itemsize)
    )
