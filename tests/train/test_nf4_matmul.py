"""The fused NF4 product by Triton's interpreter on the CPU, without bfloat16, and on the GPU where there is one."""

import itertools
import os
import subprocess
import sys

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn.modules import Linear4bit, Params4bit
from peft import LoraConfig, get_peft_model
from torch import nn

from benchmarks import bench_fused
from edgepers.train import nf4_matmul
from edgepers.train.frozen_linear import lean_layers
from edgepers.train.nf4 import LowRank, NF4Weight
from edgepers.train.nf4_matmul import Fused, FusedProducts
from tests.numerics import assert_as_accurate_as_torch

pytest.importorskip("triton", reason="Triton is not installed")

WHERE = "cuda" if torch.cuda.is_available() else "cpu"
ON_A_GPU = pytest.mark.skipif(WHERE == "cpu", reason="no GPU; Triton's interpreter has no bfloat16 of its own")
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float16, pytest.param(torch.bfloat16, marks=ON_A_GPU)])


def nf4(outputs, inputs, dtype=torch.float32, *, bias=False, **options):
    """A random layer on the device."""
    layer = Linear4bit(inputs, outputs, bias=bias, compute_dtype=dtype, quant_type="nf4")
    kept = {"quant_type": "nf4", "compress_statistics": True, "blocksize": 64, **options}
    layer.weight = Params4bit(torch.randn(outputs, inputs).to(dtype), requires_grad=False, **kept)
    if bias:
        layer.bias = nn.Parameter(torch.randn(outputs).to(dtype), requires_grad=False)
    return layer.to(WHERE)


def normal(*size, dtype):
    return torch.randn(*size).to(WHERE, dtype)


@DTYPES
@pytest.mark.parametrize(
    ("tokens", "outputs", "inputs", "rank"), [(1, 64, 64, 1), (5, 70, 128, 8), (40, 33, 192, 20), (130, 130, 64, 4)]
)
def test_products_match_float64(tokens, outputs, inputs, rank, dtype):
    torch.manual_seed(0)
    layer = nf4(outputs, inputs, dtype, bias=True)
    product = Fused(NF4Weight.of(layer))
    w = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    x, gy, low = (normal(tokens, n, dtype=dtype) for n in (inputs, outputs, rank))
    a, b = (
        normal(rank, inputs, dtype=torch.float32),
        normal(outputs, rank, dtype=torch.float32),
    )  # float32, as LoRA's weights are
    mask = (torch.rand(tokens, inputs) > 0.3).to(WHERE, dtype)

    def forward(kind):
        return x.to(kind) @ w.to(kind).t() + layer.bias.to(kind) + 0.5 * (low.to(kind) @ b.to(dtype).to(kind).t())

    def backward(kind):
        return gy.to(kind) @ w.to(kind) + low.to(kind) @ a.to(dtype).to(kind) * mask.to(kind)

    found = product.forward(x, LowRank(low, b.t(), 0.5), layer.bias), product.backward(gy, LowRank(low, a, mask=mask))
    assert all(one.dtype == dtype for one in found)
    for got, truth in zip(found, (forward, backward), strict=True):
        assert_as_accurate_as_torch(got.cpu(), truth(torch.float64).cpu(), truth(torch.float32).cpu())
    assert_as_accurate_as_torch(
        product.forward(x).cpu(), (x.double() @ w.double().t()).cpu(), (x.float() @ w.float().t()).cpu()
    )
    assert_as_accurate_as_torch(
        product.backward(gy).cpu(), (gy.double() @ w.double()).cpu(), (gy.float() @ w.float()).cpu()
    )


def test_nothing_and_rows_that_do_not_lie_together():
    torch.manual_seed(0)
    product = Fused(NF4Weight.of(nf4(70, 128)))
    assert product.forward(normal(0, 128, dtype=torch.float32)).shape == (0, 70)
    x = normal(128, 9, dtype=torch.float32).t()
    assert torch.equal(product.forward(x), product.forward(x.contiguous()))


def test_weights_that_are_kept_in_another_way_are_passed_over():
    assert NF4Weight.of(nn.Linear(64, 64)) is None
    assert NF4Weight.of(nf4(64, 96)) is None  # 96 columns: scales would cross rows
    assert NF4Weight.of(nf4(64, 64, quant_type="fp4")) is None
    assert NF4Weight.of(nf4(64, 64, compress_statistics=False)) is None
    assert NF4Weight.of(nf4(64, 128, blocksize=128)) is None
    found = NF4Weight.of(nf4(32, 64))
    assert (found.outputs, found.inputs) == (32, 64)


def choose(monkeypatch, plain, kernel, products=None):
    """What is chosen for a layer where the ways take so many seconds; and how many shapes were timed."""
    timed = []
    monkeypatch.setattr(
        nf4_matmul, "seconds_of", lambda run, device: timed.append(run) or (plain, kernel)[len(timed) % 2 == 0]
    )
    products = products or FusedProducts(4)
    for layer in (nf4(64, 64), nf4(64, 64), nf4(32, 64)):
        found = products(layer, lambda layer=layer: dequantize_4bit(layer.weight.data, layer.weight.quant_state))
    return found, len(timed) // 2


def test_the_kernel_is_taken_where_it_is_faster_and_tried_once_a_shape(monkeypatch):
    found, shapes = choose(monkeypatch, 2.0, 1.0)
    assert isinstance(found, Fused)
    assert shapes == 2
    assert choose(monkeypatch, 1.0, 2.0) == (None, 2)


def test_a_kernel_that_says_something_else_is_never_timed_nor_taken(monkeypatch):
    real = Fused.backward
    monkeypatch.setattr(Fused, "backward", lambda self, gradient, added=None: real(self, gradient, added) * 1.1)
    assert choose(monkeypatch, 2.0, 1.0) == (None, 0)


def test_time_is_told():
    assert 0 < nf4_matmul.seconds_of(lambda: sum(range(1000)), torch.device("cpu")) < 1


class Always(FusedProducts):
    def _pays(self, found, weight):
        return True


class Two(nn.Module):
    """One layer with an adapter, one without, whose input takes a gradient from it."""

    def __init__(self):
        super().__init__()
        self.adapted, self.frozen, self.last = nf4(64, 128, bias=True), nf4(96, 64), nf4(64, 192)

    def forward(self, x):
        y = torch.tanh(self.frozen(torch.tanh(self.adapted(x))))
        return self.last(torch.cat([y, y], -1))


@pytest.mark.parametrize("resident", [0, 64 * 128 * 4])  # bytes of the first layer in float32
def test_training_has_the_gradients_that_it_has_without(resident):
    torch.manual_seed(0)
    config = LoraConfig(r=4, lora_alpha=8, lora_dropout=0.25, target_modules=["adapted", "last"])
    model = get_peft_model(Two(), config).to(WHERE).train()
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.05)
    x = normal(3, 7, 128, dtype=torch.float32)
    found = []
    for products in (None, Always(21)):
        with lean_layers(model, seed=1, resident_bytes=resident, fused=products) as dropout:
            dropout.begin(0, 0, 21, torch.float32, torch.device(WHERE))
            given = x.clone().requires_grad_()
            y = model(given)
            y.square().sum().backward()
        grads = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.requires_grad}
        model.zero_grad()
        found.append({"y": y.detach(), "x": given.grad, **grads})
    assert len(found[0]) == 6
    for name, truth in found[0].items():
        torch.testing.assert_close(found[1][name], truth, rtol=1e-4, atol=1e-4 * truth.abs().max().item(), msg=name)


def test_the_benchmark_s_cases_are_right(monkeypatch):
    monkeypatch.setattr(bench_fused, "SHAPES", ((96, 128),))
    monkeypatch.setattr(bench_fused, "TOKENS", (3, 70))
    found = list(bench_fused.cases(torch.float16))
    assert [case.name for case in found] == 2 * ["fused", "dequantize", "bitsandbytes", "fused", "dequantize"]
    for case in found:
        assert (case.run().cpu().double() - case.truth).abs().max() <= case.slack, (case.group, case.name)


def test_the_kernel_compiles_for_an_orin_without_spills(tmp_path):
    """By Triton's own ptxas; no GPU is needed."""
    out = tmp_path / "registers.txt"
    command = [sys.executable, "-m", "benchmarks.bench_fused", "--registers", "--out", str(out)]
    named = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    subprocess.run(
        command, check=True, capture_output=True, env=named | {"TRITON_CACHE_DIR": str(tmp_path / "cache")}, timeout=300
    )
    lines = out.read_text(encoding="utf-8").splitlines()[1:]
    forms = itertools.product(("sm_87", "sm_90"), ("16", "64", "128"), ("forward", "backward"))
    for line, (chip, tokens, direction) in zip(lines, forms, strict=True):
        assert line.startswith(f"{chip}  {direction}, tiles of {tokens} tokens")
        assert " 0 spilled" in line


@pytest.mark.skipif(WHERE == "cuda", reason="there is a GPU")
def test_the_benchmark_without_a_gpu_is_one_clear_line():
    run = subprocess.run([sys.executable, "-m", "benchmarks.bench_fused"], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert (
        run.stderr.strip().splitlines()[-1].endswith("torch sees none; give --registers for what it would take of one")
    )
