"""Ragged batches and bad arguments that the tests of several ops share."""

import pytest
import torch
from torch import Tensor

from edgepers.errors import ShapeError

LENGTHS = (1, 2, 15, 16, 17, 33, 512)
WIDTHS = (1, 63, 64, 256, 2048)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=["fp32", "fp16", "bf16"])


def offsets_of(lengths: tuple[int, ...] | list[int]) -> Tensor:
    """Offsets [B + 1] of sets of these lengths."""
    return torch.tensor([0, *lengths]).cumsum(0)


def batch(
    width: int, dtype: torch.dtype = torch.float32, lengths: tuple[int, ...] = LENGTHS
) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states that share a direction, as a model's do, with padding rows and rows equal to the center.

    Offsets; center.
    """
    torch.manual_seed(width)
    center = torch.randn(width).to(dtype)
    hidden = (torch.randn(sum(lengths), width) * 3 + 2 * torch.randn(width)).to(dtype)
    if len(hidden) > 40:
        hidden[[4, 20, 21, 38]] = 0
        hidden[[6, 30]] = center
    return hidden, offsets_of(lengths), center


_STATES = torch.ones(4, 2)
_ENDS = torch.tensor([0, 1, 4])
BAD_RAGGED = {
    "hidden is a list": ([[1.0, 2.0]], _ENDS, None, "hidden is a list; pass a 2-dimensional float32"),
    "hidden of rank 1": (torch.ones(4), _ENDS, None, r"hidden is torch.float32 \[4\]"),
    "hidden of integers": (torch.ones(4, 2, dtype=torch.int32), _ENDS, None, "hidden is torch.int32"),
    "hidden in float64": (_STATES.double(), _ENDS, None, "hidden is torch.float64"),
    "offsets is a list": (_STATES, [0, 4], None, "offsets is a list; pass a 1-dimensional int32 or int64"),
    "offsets of floats": (_STATES, torch.tensor([0.0, 4.0]), None, "offsets is torch.float32"),
    "offsets of rank 2": (_STATES, _ENDS[None], None, r"offsets is torch.int64 \[1, 3\]"),
    "offsets empty": (_STATES, _ENDS[:0], None, r"empty batch has offsets \[0\]"),
    "offsets start late": (_STATES, torch.tensor([1, 4]), None, "starts at 1"),
    "offsets end early": (_STATES, torch.tensor([0, 3]), None, "ends at 3 but hidden has 4 rows"),
    "offsets end late": (_STATES, torch.tensor([0, 5]), None, "ends at 5 but hidden has 4 rows"),
    "offsets fall": (_STATES, torch.tensor([0, 3, 2, 4]), None, "set 1 spans rows 3 to 2"),
    "offsets repeat": (_STATES, torch.tensor([0, 2, 2, 4]), None, "set 1 spans rows 2 to 2"),
    "center is a float": (_STATES, _ENDS, 0.5, "center is a float"),
    "center of another width": (_STATES, _ENDS, torch.ones(3), "center holds 3 values where 2 are needed"),
    "center of rank 2": (_STATES, _ENDS, torch.ones(1, 2), r"center is torch.float32 \[1, 2\]"),
    "center of integers": (_STATES, _ENDS, torch.ones(2, dtype=torch.int64), "center is torch.int64"),
    "center elsewhere": (_STATES, _ENDS, torch.ones(2, device="meta"), "center is on meta, the first argument on cpu"),
}
bad_ragged = pytest.mark.parametrize(
    ("hidden", "offsets", "center", "match"), BAD_RAGGED.values(), ids=BAD_RAGGED.keys()
)


def assert_refused(op, match, *args, **kwargs) -> None:
    """One line that starts with the op's name and holds the value."""
    with pytest.raises(ShapeError, match=match) as caught:
        op(*args, **kwargs)
    assert str(caught.value).startswith(f"{op.__name__}: ")
    assert "\n" not in str(caught.value)


def assert_traces(op, *args) -> None:
    """The fake kernel agrees with the real one, and a compiled call is one graph with the same result."""
    torch.library.opcheck(getattr(torch.ops.edgepers, op.__name__).default, args)
    torch._dynamo.reset()
    compiled = torch.compile(op, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*args), op(*args), rtol=0, atol=0)
