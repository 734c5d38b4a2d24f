"""Count what training takes by doing a step without memory.

The same code runs on the meta device, and its live bytes are counted.
"""

import contextlib
import math
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from edgepers.errors import UncountableError, first_line
from edgepers.model.language_model import Example
from edgepers.model.nf4 import is_quantized, stored_weight
from edgepers.plan.live_bytes import MemoryTracker
from edgepers.plan.shapes import ModelShapes
from edgepers.train.checkpointed_blocks import recomputed_blocks
from edgepers.train.frozen_linear import lean_layers
from edgepers.train.frozen_prefix import lower_layers
from edgepers.train.layout import MemoryLayout
from edgepers.train.lean_norms import lean_norms
from edgepers.train.optimizer import moment_bytes
from edgepers.train.packing import Packed, States, pack, take_packed_attention
from edgepers.train.recipe import Recipe
from edgepers.train.step import backward

__all__ = ["AdapterBytes", "StepBytes", "encoding_bytes", "loading_bytes", "step_bytes", "training_parts"]

_OURS = __name__.partition(".")[0]
_CALLED = {"torch", "bitsandbytes"}
_SCALES = 64  # weights that share a scale in NF4; double quantization makes float32 scales of them at every use


# Measured with models of 8 M to 1.2 B parameters on a CPU (benchmarks/bench_memory.py), beside what is counted.
OPENED = 20_000_000  # what a model, a tokenizer and their code open at loading
WORKING = {
    4: 85_000_000,
    2: 95_000_000,
}  # by bytes of a number: libraries' code for the shapes they meet, threads, small blocks
_LOADED = 16  # bytes of each weight of the layer that is being quantized

_passes: WeakKeyDictionary[ModelShapes, int] = WeakKeyDictionary()  # a plan asks again for each length that it tries


@dataclass(frozen=True, slots=True)
class StepBytes:
    """Bytes above weights, adapter, gradients and optimizer.

    Attributes:
        activations: what autograd keeps of a micro-batch at the end of its forward pass.
        logits: the most that the vocabulary product and its loss took beside them.
        workspace: what else there was at the peak: dequantized layers, temporaries of the backward pass.
    """

    activations: int
    logits: int
    workspace: int

    @property
    def peak(self) -> int:
        """Bytes of all three parts."""
        return self.activations + self.logits + self.workspace


class AdapterBytes(NamedTuple):
    """Bytes of an adapter's weights; its gradients are as many. And of both moments that AdamW keeps of them."""

    weights: int
    moments: int


def _shaped_weight(layer: Any) -> Callable[[], Tensor]:
    """What dequantizing a layer allocates, twice its scales among it."""
    if not is_quantized(layer):
        return stored_weight(layer)
    size = layer.out_features * layer.in_features

    def dequantize() -> Tensor:
        scales = torch.empty(size // _SCALES, dtype=torch.float32, device="meta")
        scales = scales + 0  # the offset of the quantized scales
        return torch.empty(layer.out_features, layer.in_features, dtype=layer.compute_dtype, device="meta")

    return dequantize


@contextlib.contextmanager
def _countable() -> Iterator[None]:
    """Turn a failure of the model's own code on the meta device into UncountableError; let ours pass.

    A model that looks into values fails in any of these ways, since meta tensors have none. Whose code failed is told
    by the innermost frame outside torch and bitsandbytes, which only do as they are called.
    """
    try:
        yield
    except (TypeError, ValueError, KeyError, AttributeError, AssertionError, RuntimeError) as error:
        if _failed_in(error) == _OURS:
            raise
        what = first_line(error)
        raise UncountableError(f"a step of this model cannot be counted without its weights ({what[:100]})") from error


def _failed_in(error: BaseException) -> str:
    """Name the package whose code failed: that of the innermost frame which is not only called, as torch is."""
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    packages = [module.partition(".")[0] for module in modules if module != MemoryTracker.__module__]
    return next((package for package in reversed(packages) if package not in _CALLED), "")


@contextlib.contextmanager
def _adapted(llm: ModelShapes, recipe: Recipe) -> Iterator[Any]:
    with contextlib.ExitStack() as stack:
        stack.callback(llm.use_adapter, None)
        stack.enter_context(lean_norms(llm.decoder))
        model = llm.start_lora(recipe.rank, 0, recipe.targets, recipe.top)
        model.train()
        yield model


def _adapter_bytes(model: Any, bits: int) -> AdapterBytes:
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    return AdapterBytes(
        sum(weight.nbytes for weight in weights), sum(moment_bytes(weight.numel(), bits) for weight in weights)
    )


def step_bytes(
    llm: ModelShapes, sets: Sequence[tuple[int, int]], recipe: Recipe, configuration: MemoryLayout
) -> tuple[StepBytes, AdapterBytes]:
    """Bytes of one micro-batch, and of the adapter.

    Args:
        llm: the model's shapes.
        sets: (prompt tokens, response tokens) of what is in it.
        recipe: the adapter's.
        configuration: how many blocks are recomputed; its micro-batch is `sets`, and resident weights are not counted.

    Raises:
        UncountableError: the model looks into values, which only real tensors have.
    """
    packs = take_packed_attention(llm.decoder)
    examples = [Example((0,) * (prompt + response), prompt, False) for prompt, response in sets]
    kept = after_loss = 0

    def states_of(packed: Packed) -> Tensor:
        nonlocal kept
        made = States(llm, packs)(packed)
        live.mark()
        kept = live.now
        made.register_hook(mark_loss)
        return made

    def mark_loss(_: Tensor) -> None:  # the loss is made, with its gradient for the states; the backward pass begins
        nonlocal after_loss
        after_loss = live.mark()

    with contextlib.ExitStack() as stack:
        stack.enter_context(_countable())
        if recipe.top and (lower := lower_layers(llm, recipe.top, 16)) is not None:
            stack.enter_context(lower.passed_over())
        model = stack.enter_context(_adapted(llm, recipe))
        for weight in model.parameters():
            if weight.requires_grad:
                weight.grad = torch.zeros_like(weight)
        stack.enter_context(recomputed_blocks(model, configuration.recomputed_blocks))
        dropout = stack.enter_context(lean_layers(model, padded=not packs, weight_of=_shaped_weight))
        live = stack.enter_context(MemoryTracker())
        backward(llm, states_of, examples, micro_batch_tokens=sum(map(sum, sets)), dropout=dropout)
        logits = max(after_loss - kept, 0)
        return StepBytes(kept, logits, max(live.peak - kept - logits, 0)), _adapter_bytes(model, recipe.optimizer_bits)


def _scattered(peak: int, itemsize: int, *, lean_heap: bool) -> int:
    """Estimate what the heap has free between blocks at a step's peak.

    In 16 bits it grows more slowly: 1.1 times 0.5 GB, 0.6 times 0.9 GB.
    """
    if lean_heap:
        return int(0.03 * peak)
    return int(0.3 * peak) if itemsize == 4 else math.isqrt(460_000_000 * peak)


def training_parts(
    step: StepBytes,
    adapter: AdapterBytes,
    itemsize: int,
    *,
    lean_heap: bool = False,
    resident_bytes: int = 0,
    kept_states: int = 0,
) -> dict[str, int]:
    """Bytes of training by part, beside the base model's.

    Args:
        step: of its largest micro-batch.
        adapter: bytes of the adapter.
        itemsize: bytes of a number in the type that is computed in.
        lean_heap: see `MemoryLayout`.
        resident_bytes: of 4-bit weights that are kept dequantized.
        kept_states: bytes of the cached states under a frozen prefix.
    """
    parts = {
        "resident weights": resident_bytes,
        "states of lower layers": kept_states,
        "adapter": adapter.weights,
        "gradients": adapter.weights,
        "optimizer": adapter.moments,
        "last good adapter": adapter.weights,
        "activations": step.activations,
        "logits": step.logits,
        "workspace": step.workspace,
        "libraries and heap": OPENED + WORKING[itemsize] + _scattered(step.peak, itemsize, lean_heap=lean_heap),
    }
    return {
        part: size for part, size in parts.items() if size or part not in {"resident weights", "states of lower layers"}
    }


def encoding_bytes(llm: ModelShapes, tokens: int) -> int:
    """Peak of one forward pass over so many tokens: that of 512, as often as they go into them.

    Raises:
        UncountableError: as in `step_bytes`.
    """
    if llm not in _passes:
        _passes[llm] = _pass_bytes(llm)
    return _passes[llm] * tokens // 512


@torch.no_grad()
def _pass_bytes(llm: ModelShapes) -> int:
    packs = take_packed_attention(llm.decoder)
    short = Example((0,) * 33, 1, False)  # the fused attention that `encode` uses keeps nothing that grows with n x n
    packed = pack([short] * 16, llm.device)
    with _countable(), lean_layers(llm.decoder, weight_of=_shaped_weight), MemoryTracker() as live:
        States(llm, packs)(packed)
    return int(live.peak)


def loading_bytes(llm: ModelShapes) -> int:
    """Beside the weights while they are quantized, one layer after the other."""
    return _LOADED * llm.largest_layer if llm.bits == 4 else 0
