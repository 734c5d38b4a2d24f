"""What a training step takes, found by doing one without memory: the same code on the meta device, its live bytes counted."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgepers.llm import Example, LanguageModel
from edgepers.train.attention import NAME, packed_attention
from edgepers.train.frozen import is_quantized, lean_layers, stored_weight
from edgepers.train.kept import keep_less
from edgepers.train.live import LiveBytes
from edgepers.train.lower import lower_layers
from edgepers.train.packing import Packed, States
from edgepers.train.recompute import recomputed_blocks
from edgepers.train.step import backward

__all__ = ["StepBytes", "Weightless", "step_bytes"]

_SCALES = 64  # weights that share a scale in NF4; double quantization makes float32 scales of them at every use


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
        """All three."""
        return self.activations + self.logits + self.workspace


class Weightless(LanguageModel):
    """A language model on the meta device: shapes, and nothing else.

    Args:
        model: on the meta device.
        quantized: linear layers, but the head, are in 4 bits.
    """

    def __init__(self, model: Any, *, quantized: bool) -> None:  # without a tokenizer: nothing is read or said
        self._model = model
        self._adapter = None
        self.name = ""
        self.device = torch.device("meta")
        model.requires_grad_(False)
        if quantized:
            _as_4_bit(model)


def _as_4_bit(model: Any) -> None:
    from bitsandbytes.nn.modules import Linear4bit

    head = model.get_output_embeddings()
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Linear) and layer is not head:
            four = Linear4bit(
                layer.in_features, layer.out_features, bias=layer.bias is not None, compute_dtype=layer.weight.dtype, device="meta"
            )
            model.set_submodule(name, four.requires_grad_(False))


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
def _adapted(llm: Weightless, rank: int, targets: str, top: int, recomputed: int, resident_bytes: int) -> Iterator[Any]:  # noqa: PLR0917
    model = llm.start_lora(rank, 0, targets, top)
    model.train()
    for weight in model.parameters():
        if weight.requires_grad:
            weight.grad = torch.zeros_like(weight)
    try:
        with (
            recomputed_blocks(model, recomputed),
            keep_less(model),
            lean_layers(model, resident_bytes=resident_bytes, weight_of=_shaped_weight) as dropout,
        ):
            yield dropout
    finally:
        llm.use_adapter(None)


def step_bytes(
    llm: Weightless,
    sets: Sequence[tuple[int, int]],
    *,
    rank: int,
    targets: str,
    top: int = 0,
    recomputed: int = 0,
    resident_bytes: int = 0,
) -> StepBytes:
    """Bytes of one micro-batch.

    Args:
        llm: the model's shapes.
        sets: (prompt tokens, response tokens) of what is in it.
        rank: of LoRA.
        targets: "attention" or "all-linear".
        top: blocks that the adapter is on; 0: all.
        recomputed: blocks whose activations are computed again.
        resident_bytes: of weights dequantized once; they are not counted here.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, packed_attention)
    llm.decoder.set_attn_implementation(NAME)
    examples = [Example((0,) * (prompt + response), prompt, False) for prompt, response in sets]
    kept = after_loss = 0

    def states_of(packed: Packed) -> Tensor:
        nonlocal kept
        made = States(llm, True)(packed)
        live.mark()
        kept = live.now
        made.register_hook(told)
        return made

    def told(_: Tensor) -> None:  # the loss is made, with its gradient for the states; the backward pass begins
        nonlocal after_loss
        after_loss = live.mark()

    with contextlib.ExitStack() as stack:
        if top and (lower := lower_layers(llm, top, 16)) is not None:
            stack.enter_context(lower.passed_over())
        dropout = stack.enter_context(_adapted(llm, rank, targets, top, recomputed, resident_bytes))
        live = stack.enter_context(LiveBytes())
        backward(llm, states_of, examples, micro_batch_tokens=sum(map(sum, sets)), dropout=dropout)
        logits = max(after_loss - kept, 0)
        return StepBytes(kept, logits, max(live.peak - kept - logits, 0))
