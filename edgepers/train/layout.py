"""How a training run is laid out in memory: nothing of it changes what is learned, but for rounding."""

from dataclasses import dataclass, replace

from edgepers.config import format_size

__all__ = ["LEAST_TOKENS", "MICRO_BATCH_TOKENS", "MemoryLayout"]

MICRO_BATCH_TOKENS = 1024  # of one pass through the model, where memory has room
LEAST_TOKENS = 64  # a micro-batch below it is one set, whatever it is given


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLayout:
    """What trades memory for time.

    Attributes:
        micro_batch_tokens: of one forward and backward pass, at most; a longer set has one of its own.
        recomputed_blocks: uppermost blocks whose activations are computed again for the backward pass.
        resident_bytes: of 4-bit weights that are dequantized once and kept, at most.
        state_bits: of a number in the cached states under a frozen prefix (`--lora-layers K`): 16 or 8.
        lean_heap: freed blocks go back to the system at once, for half of what activations take and most of the time
            again.
    """

    micro_batch_tokens: int = MICRO_BATCH_TOKENS
    recomputed_blocks: int = 0
    resident_bytes: int = 0
    state_bits: int = 16
    lean_heap: bool = False

    def at_most(self, tokens: int | None) -> "MemoryLayout":
        """The same with micro-batches of no more than so many tokens; None: as they are."""
        return self if tokens is None else replace(self, micro_batch_tokens=min(tokens, self.micro_batch_tokens))

    def __str__(self) -> str:
        """Tell the layout as people read it."""
        recomputed = f", {self.recomputed_blocks} blocks computed again" if self.recomputed_blocks else ""
        resident = f", {format_size(self.resident_bytes)} of weights kept dequantized" if self.resident_bytes else ""
        states = ", states of lower layers in 8 bits" if self.state_bits == 8 else ""
        heap = ", freed blocks given back at once" if self.lean_heap else ""
        return f"micro-batches of {self.micro_batch_tokens} tokens{recomputed}{resident}{states}{heap}"
