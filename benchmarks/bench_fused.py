r"""Compare the fused NF4 product with dequantizing and multiplying, and with bitsandbytes' own 4-bit product.

Run: python -m benchmarks.bench_fused              on a GPU: forward and backward, to benchmarks/results/fused.jsonl
     python -m benchmarks.bench_fused --registers  anywhere Triton is: registers and spills on sm_87 and sm_90

The second compiles the kernel with Triton's own ptxas as it would be launched there, without launching it, and fails
where it spills.
"""

import argparse
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.harness import RESULTS, Case, device, measure
from edgepers.train.nf4 import LowRank, NF4Weight
from edgepers.train.nf4_matmul import Fused

SHAPES = ((2048, 2048), (8192, 2048), (2048, 8192))  # out, in: Llama-3.2-1B's
TOKENS = (16, 64, 128, 256, 512, 1024)
RANK = 8
CAPABILITIES = (87, 90)


def nf4_layer(outputs: int, inputs: int, dtype: torch.dtype, where: str) -> Any:
    """A random layer as the loader makes it; shapes [out, in]."""
    from bitsandbytes.nn.modules import Linear4bit, Params4bit

    layer = Linear4bit(inputs, outputs, bias=False, compute_dtype=dtype, quant_type="nf4")
    weight = torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(0)) * 0.02
    layer.weight = Params4bit(weight.to(dtype), requires_grad=False, quant_type="nf4")
    return layer.to(where)


def cases(dtype: torch.dtype = torch.bfloat16) -> Iterator[Case]:
    """All of them."""
    for outputs, inputs in SHAPES:
        layer = nf4_layer(outputs, inputs, dtype, device())
        for tokens in TOKENS:
            yield from _cases_of(layer, tokens)


def _cases_of(layer: Any, tokens: int) -> Iterator[Case]:
    """Of one layer with so many tokens: forward and backward, LoRA's part among them."""
    from bitsandbytes.autograd._functions import matmul_4bit
    from bitsandbytes.functional import dequantize_4bit

    packed, state = layer.weight.data, layer.weight.quant_state
    found = NF4Weight.of(layer)
    assert found is not None  # as `nf4_layer` makes it
    fused, w, random = Fused(found), dequantize_4bit(packed, state), torch.Generator().manual_seed(tokens)
    x, gy, low, a, b = (
        torch.randn(size, generator=random).to(w)
        for size in (
            (tokens, found.inputs),
            (tokens, found.outputs),
            (tokens, RANK),
            (RANK, found.inputs),
            (found.outputs, RANK),
        )
    )
    forth, back = LowRank(low, b.t()), LowRank(low, a)
    forward = {
        "fused": lambda: fused.forward(x, forth),
        "dequantize": lambda: nn.functional.linear(x, dequantize_4bit(packed, state)).addmm_(low, b.t()),
        "bitsandbytes": lambda: matmul_4bit(x, packed.t(), state).addmm_(low, b.t()),
    }
    backward = {
        "fused": lambda: fused.backward(gy, back),
        "dequantize": lambda: (gy @ dequantize_4bit(packed, state)).addmm_(low, a),
    }
    bytes_moved = packed.numel() + (x.numel() + gy.numel()) * x.element_size()
    facts = {"tokens": tokens, "outputs": found.outputs, "inputs": found.inputs}
    truths = (
        x.double() @ w.double().t() + low.double() @ b.double().t(),
        gy.double() @ w.double() + low.double() @ a.double(),
    )
    for direction, runs, truth in zip(("forward", "backward"), (forward, backward), truths, strict=True):
        for name, run in runs.items():
            group, slack = f"{direction} [{found.outputs}, {found.inputs}] T={tokens}", 0.01 * float(truth.abs().max())
            yield Case(group, name, run, truth.cpu(), slack, bytes_moved, facts)


def registers() -> list[str]:
    """A line for each form of the kernel; needs no GPU.

    Raises:
        SystemExit: one spills.
    """
    from edgepers.train import nf4_matmul_triton

    told = []
    for capability in CAPABILITIES:
        for tile in nf4_matmul_triton.TILES:
            for back in (False, True):
                used = _usage(capability, tile, back=back)
                line = (
                    f"sm_{capability}  {'backward' if back else 'forward'}, tiles of {tile.tokens} tokens,"
                    f" {tile.warps} warps, stages "
                    f"{tile.stages}: {used['REG']} registers, {used['STACK'] + used['LOCAL']} spilled,"
                    f" {used['SHARED']} shared"
                )
                if used["STACK"] + used["LOCAL"]:
                    raise SystemExit(f"{line}; give that tile fewer tokens, or more warps")
                told.append(line)
    return told


def _usage(capability: int, tile: Any, *, back: bool) -> dict[str, int]:
    """What a compiled kernel takes: REG, STACK, LOCAL and SHARED."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from edgepers.train.nf4_matmul_triton import constants, product_kernel

    constant = constants(tile, back=back, added=True, bias=not back, mask=back, rank=RANK)
    signature = {name: "constexpr" if name in constant else _type_of(name) for name in product_kernel.arg_names}
    whole = {
        (i,): [["tt.divisibility", 16]]
        for i, name in enumerate(signature)
        if name.endswith("_ptr") or name in {"OUT", "IN"}
    }
    compiled = triton.compile(
        ASTSource(product_kernel, signature, constant, whole),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": tile.warps, "num_stages": tile.stages},
    )
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(compiled.asm["cubin"])
        tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
        told = subprocess.run(
            [str(tool), "--dump-resource-usage", file.name], check=True, capture_output=True, text=True
        ).stdout
    return {
        **{name: int(value) for name, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", told)},
        "SHARED": compiled.metadata.shared,
    }


def _type_of(name: str) -> str:
    """Of a kernel's argument, as Triton writes it, for a model in bfloat16."""
    if name.endswith("_ptr"):
        return "*" + {"w": "u8", "scales": "u8", **dict.fromkeys(("x", "low", "bias", "mask", "y"), "bf16")}.get(
            name[:-4], "fp32"
        )
    return "fp32" if name == "alpha" else "i32"


def main() -> None:
    """Time, or tell registers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--registers", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.registers:
        lines = registers()
        text = "\n".join(["python -m benchmarks.bench_fused --registers: bytes where nothing else is said", *lines])
        (args.out or RESULTS / "fused_registers.txt").write_text(text + "\n", encoding="utf-8")
        print(text)
        return
    if not torch.cuda.is_available():
        raise SystemExit(
            "the fused product is timed on a GPU, and torch sees none; give --registers for what it would take of one"
        )
    measure(cases(), args.out or RESULTS / "fused.jsonl")


if __name__ == "__main__":
    main()
