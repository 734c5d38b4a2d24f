"""Mean unit embedding in plain torch."""

from torch import Tensor

from edgepers.ops.windowed.finish import unit_from_sums
from edgepers.ops.windowed.windows import cut_windows, window_pass


def embedding_torch(hidden: Tensor, offsets: Tensor, center: Tensor | None) -> Tensor:
    """[B, d] float32; arguments are checked."""
    windows = cut_windows(hidden, offsets, center)
    _, sums = window_pass(hidden, windows, center, grams=False, sums=True)
    assert sums is not None
    return unit_from_sums(sums, hidden, windows, center)
