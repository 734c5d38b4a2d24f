"""What fits: memory by part and sets in storage, from a model's configuration alone (docs/plan.md).

Memory is counted by doing a training step on the meta device, where tensors have shapes and no bytes. On a CPU it is
within a tenth of what was measured (benchmarks/results/memory.jsonl); on a GPU it has not been measured.
"""

from dataclasses import replace
from typing import Any

import psutil
import torch

from edgepers.board.presets import PRESETS, PowerMode, Preset
from edgepers.board.reading import read_board
from edgepers.config import Settings
from edgepers.device import compute_device
from edgepers.errors import ModelError, UncountableError, UsageError
from edgepers.model.config import config_of
from edgepers.model.language_model import ENCODE_TOKENS, MAX_ENCODED_TOKENS
from edgepers.model.loading import import_libraries
from edgepers.plan.fit import MARGIN, Fit, fit, over_budget
from edgepers.plan.memory import OPENED, WORKING, encoding_bytes, loading_bytes
from edgepers.plan.roofline import FORMULA, RoundEstimate, estimate_round
from edgepers.plan.shapes import ModelShapes
from edgepers.state.embedding import stored_width
from edgepers.train.checkpointed_blocks import blocks_of
from edgepers.train.layout import MemoryLayout
from edgepers.train.recipe import Recipe, max_tokens_of

__all__ = [
    "DEVICES",
    "answering_bytes",
    "board_of",
    "check_plan",
    "memory_left",
    "plan",
    "shapes_of",
    "stage_parts",
    "trains_beside",
]

DEVICES: dict[str, tuple[int, str]] = {name: (preset.left_bytes, preset.left_from) for name, preset in PRESETS.items()}
TEXT_BYTES = 250  # of a set as stored, compressed: 282 in DOLLY, 146 in ALPACA
EMBEDDING_SHARE = 0.82  # of the bytes of an int8 embedding, compressed
ROW_BYTES = 60  # of a row beside these: scores, nonce, tag, header
# of the storage budget that rows fill, the rest is pages and journal; 0.65 to 0.90 in full buffers of 281 KB to 2.8 MB
STORED_SHARE = 0.75
NOT_COUNTED = ("Python and its libraries (about 0.5 GB)", "the CUDA context", "answers with their key-value cache")


def shapes_of(model: str | None = None, *, bits: int = 4, on_cpu: bool) -> ModelShapes:
    """Build the shapes of a local folder, the packaged model or a Hub name; no weight is read.

    Raises:
        ModelError: no such configuration, or not one of a causal language model.
    """
    import_libraries()
    config = config_of(model)
    try:
        return ModelShapes(config, bits=bits, on_cpu=on_cpu)
    except UncountableError as error:
        raise ModelError(f"--model {model}: {error}; give a causal language model") from error


def _fit_encoding(llm: ModelShapes, memory: int) -> None:
    """Halve `encode_tokens` until model and pass fit into so many bytes; one set of the longest kind is the least."""
    room = memory / MARGIN - sum(llm.weight_bytes().values()) - OPENED - WORKING[llm.dtype.itemsize]
    a_set = encoding_bytes(llm, MAX_ENCODED_TOKENS)
    while llm.encode_tokens > MAX_ENCODED_TOKENS and a_set * llm.encode_tokens // MAX_ENCODED_TOKENS > room:
        llm.encode_tokens //= 2


def stage_parts(llm: ModelShapes, found: Fit) -> dict[str, int]:
    """Add up bytes by part over all stages, which never run at once.

    Those of training come first, then what loading and encoding take beyond it.
    """
    weights = sum(llm.weight_bytes().values())
    loading = weights + OPENED + loading_bytes(llm)
    encoding = weights + OPENED + WORKING[llm.dtype.itemsize] + encoding_bytes(llm, llm.encode_tokens)
    return {
        **found.parts,
        "loading beyond training": max(loading - found.total, 0),
        "encoding beyond these": max(encoding - max(found.total, loading), 0),
    }


def check_plan(settings: Settings) -> int:
    """Refuse a model that cannot be trained within `--memory`, before anything of it is loaded.

    The smallest configuration counts, with one set of the longest kind in each micro-batch.

    Returns:
        How many tokens `encode` may take at once.

    Raises:
        BudgetError: names the parts and the cure.
    """
    left = int(settings.memory)
    on_cpu = compute_device().type == "cpu"
    try:
        llm = shapes_of(settings.model, bits=settings.bits, on_cpu=on_cpu)
        _fit_encoding(llm, left)
        tokens = max_tokens_of(llm.parameter_count)
        found = _fitted(llm, tokens, replace(Recipe.of(settings, on_cpu=on_cpu), batch=1), left)
    except ModelError:
        # a configuration that is not here yet, or is wrong: loading says so; or none to count by: training says it
        return ENCODE_TOKENS
    parts = stage_parts(llm, found)
    if MARGIN * sum(parts.values()) > left:
        raise over_budget(parts, settings)
    return llm.encode_tokens


def trains_beside(settings: Settings, other_bytes: int) -> bool:
    """Tell whether a round's child process fits within `--memory`, beside so many bytes of another process.

    It loads the model and trains it.

    False where what training takes cannot be told.
    """
    left = int(settings.memory) - other_bytes
    on_cpu = compute_device().type == "cpu"
    try:
        llm = shapes_of(settings.model, bits=settings.bits, on_cpu=on_cpu)
        return _trains_within(llm, max_tokens_of(llm.parameter_count), Recipe.of(settings, on_cpu=on_cpu), left)
    except ModelError:
        return False


def _trains_within(llm: ModelShapes, tokens: int, recipe: Recipe, left: int) -> bool:
    """Whether loading, and training in the smallest configuration with sets of so many tokens, fit.

    Nothing else is done there.
    """
    if left <= 0:
        return False
    found = _fitted(llm, tokens, replace(recipe, batch=1), left)
    parts = stage_parts(llm, found)
    return MARGIN * (found.total + parts["loading beyond training"]) <= left


def answering_bytes(llm: ModelShapes) -> int:
    """Of a process that holds the model and answers with it, without the key-value cache of its answers."""
    return sum(llm.weight_bytes().values()) + OPENED + WORKING[llm.dtype.itemsize]


def _fitted(llm: ModelShapes, tokens: int, recipe: Recipe, left: int) -> Fit:
    return fit(llm, [(tokens - tokens // 2, tokens // 2)] * recipe.batch, recipe, left)


def memory_left(device: str, memory: int | None) -> tuple[int, str]:
    """Bytes for a model, and where the figure is from: the smaller of what the device leaves and what is given."""
    if device == "this":
        left, source = int(psutil.virtual_memory().available), "available on this machine now"
        if torch.cuda.is_available() and (free := int(torch.cuda.mem_get_info()[0])) < left:
            left, source = free, "free on this machine's GPU now"
    else:
        left, source = DEVICES[device]
    return (memory, "as given with --memory") if memory is not None and memory <= left else (left, source)


def _cure(llm: ModelShapes, left: int, *, tokens: int, recipe: Recipe) -> str:
    """Name the first change that fits: the length of sets, or another model.

    The batch costs nothing, since it is cut to fit.
    """
    for fewer in (tokens // 2, tokens // 4):
        if fewer >= 32 and sum(stage_parts(llm, _fitted(llm, fewer, recipe, left)).values()) * MARGIN <= left:
            return f"sets of at most {fewer} tokens would fit"
    return "take a smaller model, or a device with more memory"


def board_of(device: str, power_mode: str | None = None) -> tuple[Preset, PowerMode] | None:
    """The preset of a device, and a power mode of it: the one named, the one that this machine is in, or the fastest.

    Raises:
        UsageError: the device has no such mode.
    """
    here = read_board() if device == "this" else None
    preset = PRESETS.get(device if here is None else here.preset or "")
    if preset is None:
        if power_mode:
            raise UsageError(
                f"--power-mode {power_mode}: no modes are known of this machine; give --device {' or '.join(PRESETS)},"
                " too"
            )
        return None
    named = power_mode or (here.power_mode if here else None) or preset.modes[-1].name
    if (mode := preset.mode(named)) is None:
        if power_mode:
            raise UsageError(
                f"--power-mode {power_mode}: {preset.title} has {', '.join(mode.name for mode in preset.modes)}"
            )
        mode = preset.modes[-1]
    return preset, mode


def _largest_tokens(llm: ModelShapes, left: int, most: int, recipe: Recipe) -> int:
    """Find the longest training set with which model and training fit; 0 where none does."""
    lengths = [most, *(tokens for tokens in (384, 256, 192, 128, 96, 64, 32) if tokens < most)]
    fits = (
        tokens
        for tokens in lengths
        if MARGIN * sum(stage_parts(llm, _fitted(llm, tokens, recipe, left)).values()) <= left
    )
    return next(fits, 0)


def _round_of(
    board: tuple[Preset, PowerMode], llm: ModelShapes, chosen: MemoryLayout, settings: Settings
) -> dict[str, Any]:
    estimate: RoundEstimate = estimate_round(
        *board,
        settings,
        parameters=llm.parameter_count,
        quantized=sum(layer.weight.numel() for layer in llm.quantized_layers),
        blocks=len(blocks_of(llm.decoder)),
        configuration=chosen,
    )
    stages = {stage: round(getattr(estimate, stage), 1) for stage in ("train", "synthesize", "guard")}
    return {
        "board": board[0].title,
        "power_mode": board[1].name,
        "watts": board[1].watts,
        "seconds": round(estimate.seconds, 1),
        "stages_seconds": stages,
        "joules_at_most": round(estimate.joules),
        "formula": FORMULA,
        "measured": False,
    }


def plan(
    settings: Settings | None = None,
    *,
    device: str = "this",
    memory: int | None = None,
    tokens: int | None = None,
    power_mode: str | None = None,
) -> dict[str, Any]:
    """What fits, as `edgepers plan --json` prints it; "round" is null where nothing is known of the machine's speed.

    Sets in storage: 0.75 x storage / (250 bytes of text + the stored embedding + a row's overhead), an estimate.

    Args:
        settings: of the state that is planned; None: the defaults. Its `memory` is not read.
        device: one of `DEVICES`, or "this" machine.
        memory: most bytes, where the device leaves more.
        tokens: of the longest training set; None: the most that training takes.
        power_mode: of the device; None: the one in force here, or the fastest.

    Raises:
        ModelError: the model's configuration cannot be had, or no step of it can be counted.
        UsageError: no such power mode.
    """
    settings = settings or Settings()
    board = board_of(device, power_mode)
    on_cpu = device == "this" and compute_device().type == "cpu"
    llm = shapes_of(settings.model, bits=settings.bits, on_cpu=on_cpu)
    recipe = Recipe.of(settings, on_cpu=on_cpu)
    most, alone = max_tokens_of(llm.parameter_count), replace(recipe, batch=1)
    tokens = tokens or most
    left, source = memory_left(device, memory)
    try:
        _fit_encoding(llm, left)
        found = _fitted(llm, tokens, recipe, left)
    except UncountableError as error:
        raise ModelError(f"--model {settings.model}: {error}") from error
    parts = stage_parts(llm, found)
    total = sum(parts.values())
    fits = MARGIN * total <= left
    chosen = found.configuration
    embedded = llm.topic_width if settings.embedding == "question" else llm.hidden_size
    return {
        "model": settings.model or "packaged",
        "device": device,
        "parameters": llm.parameter_count,
        "bits": settings.bits,
        "batch": settings.batch,
        "tokens": tokens,
        "micro_batch_tokens": chosen.micro_batch_tokens,
        "recomputed_blocks": chosen.recomputed_blocks,
        "resident_bytes": chosen.resident_bytes,
        "largest_tokens": most if fits and tokens >= most else _largest_tokens(llm, left, most, alone),
        "sets_at_once": max(chosen.micro_batch_tokens // tokens, 1) if fits else 0,
        "encode_tokens": llm.encode_tokens,
        "parts_bytes": parts,
        "total_bytes": total,
        "memory_bytes": left,
        "memory_from": source,
        "fits": fits,
        "answers_while_training": fits
        and _trains_within(llm, tokens, recipe, left - int(MARGIN * answering_bytes(llm))),
        "largest": max(parts, key=lambda part: parts[part]),
        "cure": "" if fits else _cure(llm, left, tokens=tokens, recipe=alone),
        "storage_bytes": settings.storage,
        "storage_sets": int(
            STORED_SHARE * settings.storage / (TEXT_BYTES + EMBEDDING_SHARE * stored_width(embedded) + ROW_BYTES)
        ),
        "round": _round_of(board, llm, chosen, settings) if board and fits else None,
        "estimate": True,
        "verified": on_cpu,
        "not_estimated": list(NOT_COUNTED),
    }
