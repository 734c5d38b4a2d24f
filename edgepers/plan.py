"""What fits: memory by part and sets in storage, estimated from a model's configuration alone. docs/plan.md has every formula.

Predictions are not yet verified against measurement, but for the two small models of tests/test_plan.py on a CPU (within a factor of 2).
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn

from edgepers.config import Settings, format_size
from edgepers.device import compute_device
from edgepers.errors import ModelError
from edgepers.llm import ENCODE_TOKENS
from edgepers.loading import RESIDENT_BYTES, quiet, resolve
from edgepers.lora import attention_layers
from edgepers.select.embedding import stored_width
from edgepers.train.packing import MICRO_BATCH_TOKENS
from edgepers.train.trainer import CHECKPOINTING_FROM, max_tokens_of

__all__ = ["DEVICES", "Shapes", "memory_left", "memory_parts", "plan", "plan_text", "shapes_of", "verdict"]

GB = 10**9
USABLE_SHARE = 0.8  # of a board's memory; an assumption
DEVICES: dict[str, tuple[int, str]] = {
    "orin-nano-8gb": (5_200_000_000, "what one user reported an Orin Nano 8 GB to leave"),
    "orin-nx-16gb": (int(USABLE_SHARE * 16 * GB), "an assumption: 0.8 of 16 GB"),
    "orin-agx-64gb": (int(USABLE_SHARE * 64 * GB), "an assumption: 0.8 of 64 GB"),
}
TEXT_BYTES = 250  # of a set as stored, compressed: 282 in DOLLY, 146 in ALPACA
EMBEDDING_SHARE = 0.82  # of the bytes of an int8 embedding, compressed
ROW_BYTES = 60  # of a row beside these: scores, nonce, tag, header
STORED_SHARE = 0.75  # of the storage budget that rows fill, the rest is pages and journal; 0.65 to 0.90 in full buffers of 281 KB to 2.8 MB
RESPONSE_SHARE = 0.5  # of a set's tokens; an assumption
SLACK = 0.5  # temporaries and allocator's waste, of activations and logits: chosen by two small models on a CPU, assumed elsewhere
_BLOCK, _GROUP = 64, 256  # double quantization: a byte of scale for a block of weights, a float for a group of scales
NOT_ESTIMATED = (
    "time",
    "energy",
    "memory while a model loads",
    "the CUDA context",
    "answers with their key-value cache",
    "the predictions kept for rehearsal",
)


@dataclass(frozen=True, slots=True)
class Shapes:
    """What the estimates need of a model; counts are of numbers, not bytes.

    Attributes:
        parameters: of the whole model, tied ones once.
        linear: of weights that 4 bits take: every linear layer but the output head.
        largest: of the largest of those layers.
        lora: of an adapter of rank 1.
        width: d of the hidden states.
        blocks: transformer blocks.
        through: inputs and outputs of all linear layers of one block, at one token.
        adapted: inputs of the adapted layers of one block, at one token.
        wide: inputs and outputs of the feed-forward layers of one block at one token, or all where they are not told apart.
        vocabulary: V.
        itemsize: bytes of a weight as stored, the type that is computed in.
        all_logits: logits are made at every token, not at the response's alone.
    """

    parameters: int
    linear: int
    largest: int
    lora: int
    width: int
    blocks: int
    through: int
    adapted: int
    wide: int
    vocabulary: int
    itemsize: int
    all_logits: bool


def _config_of(model: str) -> Any:
    from transformers import AutoConfig

    folder = Path(model).expanduser()
    name = str(folder) if model and (folder / "config.json").exists() else resolve(model)
    try:
        with quiet():
            return AutoConfig.from_pretrained(name, local_files_only=True)
    except OSError as error:
        if Path(name).is_dir():
            raise ModelError(f"--model {model}: {str(error).splitlines()[0]}; check its config.json") from error
        raise ModelError(
            f"--model {model}: its configuration is not on this machine; fetch it with 'hf download {model} config.json'"
        ) from error
    except (ValueError, KeyError) as error:
        raise ModelError(f"--model {model}: {str(error).strip().splitlines()[0]}; check its config.json") from error


def shapes_of(model: str = "", targets: str = "attention") -> Shapes:
    """Shapes from a local folder, the packaged model or a Hub name whose configuration is on this machine; no weight is read.

    Raises:
        ModelError: no such configuration, or not one of a causal language model with known attention layers.
    """
    from transformers import AutoModelForCausalLM
    from transformers.pytorch_utils import Conv1D

    config = _config_of(model)
    try:
        with quiet(), torch.device("meta"):
            built = AutoModelForCausalLM.from_config(config)
    except (ValueError, KeyError, AttributeError, RuntimeError, ImportError) as error:
        raise ModelError(f"--model {model}: {str(error).strip().splitlines()[0]}; give a causal language model") from error
    text = config.get_text_config()
    head = built.get_output_embeddings()
    layers = {n: layer for n, layer in built.named_modules() if isinstance(layer, (nn.Linear, Conv1D)) and layer is not head}
    attention = attention_layers(built)
    if not attention:
        raise ModelError(f"--model {model}: no attention projections that LoRA is known to fit; take another model")
    sizes: dict[str, tuple[int, int]] = {}
    for name, layer in layers.items():
        rows, columns = layer.weight.shape
        sizes[name] = (rows, columns) if isinstance(layer, Conv1D) else (columns, rows)
    inside = {name for name in sizes if any(name == end or name.endswith("." + end) for end in attention)}
    chosen = inside if targets == "attention" else set(sizes)
    blocks = int(text.num_hidden_layers)
    return Shapes(
        parameters=int(built.num_parameters()),
        linear=sum(i * o for i, o in sizes.values()),
        largest=max(i * o for i, o in sizes.values()),
        lora=sum(sum(sizes[name]) for name in chosen),
        width=int(text.hidden_size),
        blocks=blocks,
        through=sum(i + o for i, o in sizes.values()) // blocks,
        adapted=sum(sizes[name][0] for name in chosen) // blocks,
        wide=sum(sum(sizes[name]) for name in sizes if name not in inside) // blocks,
        vocabulary=int(text.vocab_size),
        itemsize=(getattr(text, "dtype", None) or torch.bfloat16).itemsize,
        all_logits=any(getattr(text, name, None) for name in ("final_logit_softcapping", "logit_scale", "logits_scaling")),
    )


def micro_batch_tokens(batch: int, tokens: int) -> int:
    """Padded tokens of one forward and backward pass, as the trainer cuts them: rows of `tokens`, 1024 in all, at least one row."""
    return min(batch, max(MICRO_BATCH_TOKENS // tokens, 1)) * tokens


def memory_parts(shapes: Shapes, *, batch: int, tokens: int, rank: int, on_cpu: bool) -> dict[str, int]:
    """Estimated bytes by part; they add up to the peak. s is the bytes of a number in the computed type, n the micro-batch's tokens.

    - weights: 0.5 a linear parameter. A small model (`loading.RESIDENT_BYTES`) is dequantized once: s each, and s = 4 on a CPU.
    - quantization state: 1 byte for 64 of them, 4 bytes for 64 x 256; none where dequantized.
    - kept in 16 bits: s for every other parameter (embeddings, norms, biases, head).
    - adapter: 4 x rank x (inputs + outputs of the adapted layers). gradients: the same. optimizer: twice the same.
      last good adapter: the same, to go back to where training diverges.
    - activations: n x one block x blocks, where one block is s x (inputs + outputs of its linear layers) + 5 x the inputs of adapted
      layers (float32 and a dropout mask) + 8 x d (two norms in float32). From 500 M parameters on, n x (s x d x blocks + one block).
    - logits: 16 x V (logits, log-softmax and a gradient of each, float32) for half of n; for all of n where the family needs them.
    - temporaries and allocator: 0.5 x (activations + logits).
    - dequantized layer: s x the largest linear layer, where weights stay in 4 bits.
    - scoring beyond training: 8192 tokens x s x (6 d + feed-forward inputs and outputs), without gradient, less what training's
      own seven parts above already take; the two never run at once.
    """
    resident = shapes.linear * shapes.itemsize <= RESIDENT_BYTES
    size = 4 if resident and on_cpu else shapes.itemsize
    micro = micro_batch_tokens(batch, tokens)
    block = size * shapes.through + 5 * shapes.adapted + 8 * shapes.width
    checkpointed = shapes.parameters >= CHECKPOINTING_FROM
    adapter = 4 * rank * shapes.lora
    parts = {
        "adapter": adapter,
        "gradients": adapter,
        "optimizer": 2 * adapter,
        "last good adapter": adapter,
        "activations": micro * (size * shapes.width * shapes.blocks + block if checkpointed else block * shapes.blocks),
        "logits": math.ceil(micro * (1.0 if shapes.all_logits else RESPONSE_SHARE)) * 16 * shapes.vocabulary,
    }
    parts["temporaries and allocator"] = math.ceil(SLACK * (parts["activations"] + parts["logits"]))
    scoring = ENCODE_TOKENS * size * (6 * shapes.width + shapes.wide)
    return {
        "weights": shapes.linear * size if resident else math.ceil(shapes.linear / 2),
        "quantization state": 0 if resident else math.ceil(shapes.linear / _BLOCK + 4 * shapes.linear / (_BLOCK * _GROUP)),
        "kept in 16 bits" if size == 2 else "kept unquantized": (shapes.parameters - shapes.linear) * size,
        **parts,
        "dequantized layer": 0 if resident else shapes.largest * shapes.itemsize,
        "scoring beyond training": max(scoring - sum(parts.values()), 0),
    }


def memory_left(device: str, memory: int | None) -> tuple[int, str]:
    """Bytes for a model, and where the figure is from: the smaller of what the device leaves and what is given."""
    if device == "this":
        left, source = int(psutil.virtual_memory().available), "available on this machine now"
        if torch.cuda.is_available() and (free := int(torch.cuda.mem_get_info()[0])) < left:
            left, source = free, "free on this machine's GPU now"
    else:
        left, source = DEVICES[device]
    return (memory, "as given with --memory") if memory is not None and memory <= left else (left, source)


def _cure(shapes: Shapes, left: int, *, batch: int, tokens: int, rank: int, on_cpu: bool) -> str:
    """The first change that fits: the batch, the length of sets, or another model."""
    for less, cure in ((batch // 2, "--batch"), (1, "--batch")):
        if 1 <= less < batch and sum(memory_parts(shapes, batch=less, tokens=tokens, rank=rank, on_cpu=on_cpu).values()) <= left:
            return f"{cure} {less} would fit"
    for fewer in (tokens // 2, tokens // 4):
        if fewer >= 32 and sum(memory_parts(shapes, batch=1, tokens=fewer, rank=rank, on_cpu=on_cpu).values()) <= left:
            return f"--batch 1 with sets of at most {fewer} tokens would fit"
    return "take a smaller model, or a device with more memory"


def plan(
    model: str = "",
    *,
    device: str = "this",
    memory: int | None = None,
    storage: int = Settings().storage,
    batch: int = Settings().batch,
    tokens: int | None = None,
    rank: int = Settings().lora_rank,
    targets: str = Settings().lora_targets,
) -> dict[str, Any]:
    """What fits, as `edgepers plan --json` prints it; every figure is an estimate.

    Sets in storage: 0.75 x storage / (300 bytes of text + the stored embedding + a row's overhead).

    Raises:
        ModelError: the model's configuration cannot be had.
    """
    shapes = shapes_of(model, targets)
    tokens = tokens or max_tokens_of(shapes.parameters)
    on_cpu = device == "this" and compute_device().type == "cpu"
    parts = memory_parts(shapes, batch=batch, tokens=tokens, rank=rank, on_cpu=on_cpu)
    left, source = memory_left(device, memory)
    total = sum(parts.values())
    fits = total <= left
    return {
        "model": model or "packaged",
        "device": device,
        "parameters": shapes.parameters,
        "batch": batch,
        "tokens": tokens,
        "micro_batch_tokens": micro_batch_tokens(batch, tokens),
        "checkpointing": shapes.parameters >= CHECKPOINTING_FROM,
        "parts_bytes": parts,
        "total_bytes": total,
        "memory_bytes": left,
        "memory_from": source,
        "fits": fits,
        "largest": max(parts, key=lambda part: parts[part]),
        "cure": "" if fits else _cure(shapes, left, batch=batch, tokens=tokens, rank=rank, on_cpu=on_cpu),
        "storage_bytes": storage,
        "storage_sets": int(STORED_SHARE * storage / (TEXT_BYTES + EMBEDDING_SHARE * stored_width(shapes.width) + ROW_BYTES)),
        "estimate": True,
        "verified": False,
        "not_estimated": list(NOT_ESTIMATED),
    }


def verdict(found: dict[str, Any]) -> str:
    """One line: whether it fits, and if not, the largest part and the cure."""
    total, left = format_size(found["total_bytes"]), format_size(found["memory_bytes"])
    if found["fits"]:
        return f"fits: about {total} of {left} ({found['memory_from']})"
    part = format_size(found["parts_bytes"][found["largest"]])
    return f"does not fit: about {total} of {left} ({found['memory_from']}); largest: {found['largest']}, {part}; {found['cure']}"


def plan_text(found: dict[str, Any]) -> str:
    """The plan as people read it."""
    from edgepers.display import table

    total = found["total_bytes"]
    rows = [(part, format_size(size), f"{100 * size / total:.1f} %") for part, size in found["parts_bytes"].items() if size]
    rows.append(("total", format_size(total), "100.0 %"))
    work = f"{found['micro_batch_tokens']} tokens in a micro-batch"
    recompute = ", activations recomputed" if found["checkpointing"] else ""
    where = "this machine" if found["device"] == "this" else found["device"]
    return "\n".join(
        [
            f"{found['model']}: {found['parameters'] / 1e6:,.1f} M parameters in 4 bits, on {where}; {work}{recompute}",
            table(rows, ("estimate of", "memory", "share")),
            *([verdict(found)] if found["fits"] else []),  # a no is the line that the command ends with
            f"storage of {format_size(found['storage_bytes'])}: about {found['storage_sets']:,} sets of {TEXT_BYTES} bytes of text",
            f"Every figure is an estimate, not yet verified against measurement. Not estimated yet: {', '.join(found['not_estimated'])}.",
        ]
    )
