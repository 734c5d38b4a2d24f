"""Sets attended to in one launch: what is asked of torch's kernel, against float64 set by set.

On a GPU, what it answers.
"""

from itertools import pairwise

import pytest
import torch

from edgepers.train import attention, varlen
from edgepers.train.attention import packed_attention

LENGTHS = [1, 7, 16, 30, 21]
IDLE = 10


def alone(q, k, v, scale, window):
    """[n, H, d], [n, G, d] twice -> [n, H, d], in float64."""
    q, k, v = (x.double().transpose(0, 1) for x in (q, k, v))
    k, v = (x.repeat_interleave(q.shape[0] // x.shape[0], 0) for x in (k, v))
    seen = torch.ones(q.shape[1], q.shape[1], dtype=torch.bool, device=q.device).tril().triu(1 - window)
    shares = (q @ k.transpose(1, 2) * scale).masked_fill(~seen, -torch.inf).softmax(-1)
    return (shares @ v).transpose(0, 1)


def expected(q, k, v, window):
    """Of [1, H, T, d], as `packed_attention` gives it."""
    rows = [x[0].transpose(0, 1)[: sum(LENGTHS)].split(LENGTHS) for x in (q, k, v)]
    out = torch.cat([alone(*one, q.shape[-1] ** -0.5, window) for one in zip(*rows, strict=True)])
    return torch.nn.functional.pad(out, (0, 0, 0, 0, 0, IDLE))[None]


def drawn(groups, dtype=torch.float32, width=8, device="cpu"):
    torch.manual_seed(0)
    total = sum(LENGTHS) + IDLE
    return [torch.randn(1, heads, total, width).to(device, dtype).requires_grad_() for heads in (4, groups, groups)]


def kernel_by_definition(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale, window_size, enable_gqa):
    """What `varlen_attn` of torch does, as its documentation has it."""
    assert cu_seq_q.dtype == torch.int32 and cu_seq_q.equal(cu_seq_k)
    assert max_q == max_k == int(cu_seq_q.diff().max())
    assert enable_gqa == (query.shape[1] != key.shape[1])
    left, right = window_size
    assert right == 0
    bounds = cu_seq_q.tolist()
    window = left + 1 if left >= 0 else max_q
    parts = [alone(query[a:b], key[a:b], value[a:b], scale, window) for a, b in pairwise(bounds)]
    return torch.cat(parts).to(query.dtype)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("window", [None, 5, 30, 4096])
def test_what_is_asked_of_the_kernel_is_attention_within_each_set(groups, window, monkeypatch):
    monkeypatch.setattr(varlen, "_kernel", lambda: kernel_by_definition)
    q, k, v = drawn(groups)
    out = varlen.attend_together(q, k, v, LENGTHS, scale=8**-0.5, window=window)
    torch.testing.assert_close(out.double(), expected(q, k, v, window or 1000), rtol=1e-5, atol=1e-6)


def test_layers_use_it_where_it_serves_and_never_with_soft_caps(monkeypatch):
    monkeypatch.setattr(varlen, "_kernel", lambda: kernel_by_definition)
    monkeypatch.setattr(attention, "can_attend_together", lambda query: True)
    calls = []

    def noted(*args, **options):
        calls.append(options["window"])
        return varlen.attend_together(*args, **options)

    monkeypatch.setattr(attention, "attend_together", noted)
    q, k, v = drawn(2)
    for window in (5, 0, None):  # on a CPU whole sets have a faster way of their own
        out, _ = packed_attention(None, q, k, v, None, set_lengths=LENGTHS, sliding_window=window)
        torch.testing.assert_close(out.double(), expected(q, k, v, window or 1000), rtol=1e-4, atol=1e-5)
    packed_attention(None, q, k, v, None, set_lengths=LENGTHS, sliding_window=5, softcap=2.0)
    assert calls == [5]


def test_a_cpu_and_a_torch_without_it_are_served_otherwise(monkeypatch):
    assert not varlen.can_attend_together(torch.zeros(1, 4, 8, 16, dtype=torch.bfloat16))
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: False, raising=False)
    varlen._kernel.cache_clear()
    try:
        assert varlen._kernel() is None
    finally:
        varlen._kernel.cache_clear()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("window", [None, 5])
def test_on_a_gpu_attention_and_its_gradients_are_those_of_float64(dtype, window):
    q, k, v = drawn(2, dtype, 64, "cuda")
    if not varlen.can_attend_together(q):
        pytest.skip("this torch has no variable-length attention for this GPU")
    out, _ = packed_attention(None, q, k, v, None, set_lengths=LENGTHS, sliding_window=window)
    weight = torch.randn(out.shape, device="cuda", dtype=dtype)
    (out * weight).sum().backward()
    truth = [x.detach().double().requires_grad_() for x in (q, k, v)]
    right = expected(*truth, window or 1000)
    (right * weight.double()).sum().backward()
    torch.testing.assert_close(out.double(), right, rtol=2e-2, atol=2e-2)
    for mine, one in zip((q, k, v), truth, strict=True):
        torch.testing.assert_close(mine.grad.double(), one.grad, rtol=5e-2, atol=5e-2)
