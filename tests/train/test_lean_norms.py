import copy

import pytest
import torch
from torch import nn

from edgepers.train.lean_norms import lean_norms

ON_A_GPU = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU; Triton's interpreter has no bfloat16 of its own"
)


class PlainRMSNorm(nn.Module):
    """Llama's: weighed after rounding."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width), requires_grad=False)
        self.variance_epsilon = 1e-6

    def forward(self, x):
        wide = x.to(torch.float32)
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * wide.to(x.dtype)


class GemmaRMSNorm(PlainRMSNorm):
    """Gemma's: 1 + weight, in float32."""

    def forward(self, x):
        wide = x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return (wide * (1.0 + self.weight.float())).type_as(x)


class OddRMSNorm(PlainRMSNorm):
    """What no replacement says the same as."""

    def forward(self, x):
        return super().forward(x) + 1


class MLP(nn.Module):
    def __init__(self, act):
        super().__init__()
        self.gate_proj, self.up_proj = (nn.Linear(16, 24, bias=False) for _ in range(2))
        self.down_proj, self.act_fn = nn.Linear(24, 16, bias=False), act
        self.requires_grad_(False)

    def forward(self, x):
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))


def kept_bytes(module, x):
    """Of what autograd keeps beside weights."""
    sizes = {}
    own = {p.untyped_storage().data_ptr() for p in module.parameters()}

    def pack(t):
        sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = module(x)
    return y, sum(size for at, size in sizes.items() if at not in own)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", [PlainRMSNorm, GemmaRMSNorm])
def test_a_norm_has_the_same_values_and_gradients_and_keeps_less(kind, dtype):
    torch.manual_seed(0)
    model = nn.Sequential(kind(16)).to(dtype)
    x = (torch.randn(5, 3, 16) * 3).to(dtype).requires_grad_()
    weight = torch.randn(5, 3, 16, dtype=torch.float64)
    y, before = kept_bytes(model, x)
    with lean_norms(model):
        z, after = kept_bytes(model, x)
    assert "forward" not in vars(model[0])
    assert torch.equal(y, z)
    assert after < before or dtype == torch.float32  # where the input is kept as it is
    (z.double() * weight).sum().backward()
    exact = x.detach().double().requires_grad_()
    unit = exact * torch.rsqrt(exact.pow(2).mean(-1, keepdim=True) + 1e-6)
    scale = model[0].weight.double() + (kind is GemmaRMSNorm)
    (unit * scale * weight).sum().backward()
    slack = 1e-4 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(x.grad.double(), exact.grad, rtol=slack, atol=slack)


@pytest.mark.parametrize("act", [nn.SiLU(), nn.GELU(), nn.Identity()])
def test_a_gated_product_has_the_same_values_and_gradients_and_keeps_less(act):
    torch.manual_seed(0)
    model = nn.Sequential(MLP(act))
    x = torch.randn(5, 16, requires_grad=True)
    y, before = kept_bytes(model, x)
    y.square().sum().backward()
    truth, x.grad = x.grad, None
    with lean_norms(model):
        z, after = kept_bytes(model, x)
        z.square().sum().backward()
    torch.testing.assert_close(z, y)
    torch.testing.assert_close(x.grad, truth)
    assert after <= before and (after < before or isinstance(act, nn.Identity))


def test_what_says_something_else_stays_and_all_comes_back_after_an_error():
    model = nn.Sequential(OddRMSNorm(16), PlainRMSNorm(16))
    with pytest.raises(RuntimeError, match="on purpose"), lean_norms(model):
        assert ["forward" in vars(module) for module in model] == [False, True]
        raise RuntimeError("on purpose")
    assert not any("forward" in vars(module) for module in model)


class Scalar(float):
    """A number as compiled kernels see it.

    Triton's interpreter hands them Python's own, which have no type to change.
    """

    def to(self, dtype):
        return self


@pytest.fixture
def in_triton(monkeypatch):
    """The device on which Liger-Kernel's kernels run: the GPU, or the CPU by Triton's interpreter."""
    pytest.importorskip("liger_kernel", reason="Liger-Kernel is not installed")
    if torch.cuda.is_available():
        return "cuda"
    import triton
    from liger_kernel.ops import rms_norm, swiglu

    def with_scalars(function):
        return lambda *args, **named: function(*(Scalar(one) if type(one) is float else one for one in args), **named)

    for name in ("rms_norm_forward", "rms_norm_backward"):
        monkeypatch.setattr(rms_norm, name, with_scalars(getattr(rms_norm, name)))
    monkeypatch.setattr(swiglu, "float", Scalar, raising=False)

    def rsqrt(x):  # elsewhere CUDA's own; looked up at the call, when the interpreter has put its own in place
        return triton.language.rsqrt(x)

    monkeypatch.setattr(rms_norm, "rsqrt", rsqrt)
    return "cpu"


@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=ON_A_GPU)])
@pytest.mark.parametrize("kind", [PlainRMSNorm, GemmaRMSNorm, MLP])
def test_liger_s_kernels_have_the_same_values_and_gradients(kind, dtype, in_triton):
    torch.manual_seed(0)
    module = (MLP(nn.SiLU()) if kind is MLP else kind(16)).to(in_triton, dtype)
    x = (torch.randn(5, 3, 16) * 3).to(in_triton, dtype).requires_grad_()
    weight = torch.randn(5, 3, 16, dtype=torch.float64, device=in_triton)
    with lean_norms(module):
        ours, kept = kept_bytes(module, x)
    with lean_norms(module, by_liger=True):
        assert module.forward.__qualname__.startswith(
            ("_norm.", "_ligers_")
        )  # of liger.py; not `_late_norm`, `_feed_forward`
        theirs, theirs_kept = kept_bytes(module, x)
        (theirs.double() * weight).sum().backward()
    assert "forward" not in vars(module)
    assert theirs_kept <= kept
    exact_module = copy.deepcopy(module).double()
    exact = x.detach().double().requires_grad_()
    if kind is not MLP:  # whose own code rounds to float32
        unit = exact * torch.rsqrt(exact.pow(2).mean(-1, keepdim=True) + 1e-6)
        truth = unit * (exact_module.weight + (kind is GemmaRMSNorm))
    else:
        truth = exact_module(exact)
    (truth * weight).sum().backward()
    slack = 1e-4 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(theirs.double(), truth.detach(), rtol=slack, atol=slack)
    torch.testing.assert_close(theirs, ours, rtol=slack, atol=slack)
    largest = exact.grad.abs().max()
    assert (x.grad.double() - exact.grad).abs().max() <= slack * largest


def test_liger_is_passed_over_where_it_says_something_else(in_triton):
    """Its gated product is SiLU's alone; a norm that is neither Llama's nor Gemma's has no replacement."""
    torch.manual_seed(0)
    model = nn.Sequential(MLP(nn.GELU()), OddRMSNorm(16)).to(in_triton)
    x = torch.randn(4, 16, device=in_triton)
    want = model(x)
    with lean_norms(model, by_liger=True):
        assert ["forward" in vars(module) for module in model] == [True, False]
        torch.testing.assert_close(model(x), want)
