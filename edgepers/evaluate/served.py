"""The guard once more, on the weights that another program serves: a GGUF file, dequantized here.

llama.cpp also rounds activations to 8 bits for some products; that is not done here.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepers.config import Settings
from edgepers.errors import ModelError
from edgepers.evaluate.guard import Asked, Examiner
from edgepers.evaluate.verdict import Limits, judge
from edgepers.model.gguf_names import NOT_WEIGHTS, GgufNames

if TYPE_CHECKING:
    from edgepers.model.language_model import LanguageModel

__all__ = ["guard_served", "take_weights"]


def take_weights(llm: "LanguageModel", file: Path) -> dict[str, int]:
    """Put the weights of a GGUF file, dequantized, into a model in 16 bits.

    Args:
        llm: loaded with 16 bits; its weights are replaced, in its own type.
        file: of the same model.

    Returns:
        How many of its weights have which type, such as {"F32": 33, "Q4_K": 96}.

    Raises:
        ModelError: the file cannot be read, or is of another model.
    """
    import gguf
    import torch

    names = GgufNames.of(llm.config)
    reader = names.reader(file, said=f"--served {file}", model=llm.name)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    types: dict[str, int] = {}
    for key, parameter in llm.base.named_parameters():
        if not (name := names.name(key)):
            continue  # of a part that a text model in GGUF does not have, such as Gemma 3's eyes
        if (tensor := tensors.pop(name, None)) is None:
            raise ModelError(f"--served {file}: no weight {name}; give a GGUF file of {llm.name}")
        try:
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        except NotImplementedError as error:
            raise ModelError(f"--served {file}: {name}: {error}; quantize it otherwise, such as to Q4_K_M") from None
        if values.shape != tuple(parameter.shape):
            was, wanted = list(values.shape), list(parameter.shape)
            raise ModelError(f"--served {file}: weight {name} is {was}, not {wanted}; give a GGUF file of {llm.name}")
        with torch.no_grad():
            parameter.copy_(names.weight_back(name, torch.from_numpy(values.copy())))
        types[tensor.tensor_type.name] = types.get(tensor.tensor_type.name, 0) + 1
    if left := [name for name in tensors if name not in NOT_WEIGHTS]:
        raise ModelError(
            f"--served {file}: weight {left[0]} has no place in {llm.name}; give a GGUF file of that model"
        )
    return types


def guard_served(settings: Settings, asked: Asked, adapter: Path, file: Path, *, merged: bool) -> dict[str, Any]:
    """Judge an adapter on served weights, as a round's guard does on its own.

    The served weights without it are what it is compared with; where it is merged into them, the product's 4-bit base
    model is.

    Args:
        settings: of the state.
        asked: what the guard asks.
        adapter: PEFT's folder.
        file: GGUF weights.
        merged: the adapter is in the file's weights.

    Returns:
        "adapter", "served", "merged", "weights" (how many of which type), "reserve_sets", mean losses in nats a token
        "loss_before" (without the adapter) and "loss_after" (None without a reserve), "perplexity_rise" on general sets
        as a share, "recalled", "repeated", "repeated_general" and "repeated_others" as in a round's report, "passes",
        "reason".

    Raises:
        ModelError: see `take_weights`.
        BudgetError: the model in 16 bits does not fit `--memory`.
    """
    from edgepers.model.language_model import LanguageModel
    from edgepers.model.loading import check_memory

    if not file.is_file():
        raise ModelError(
            f"--served {file}: no such file; make it with llama.cpp's convert_hf_to_gguf.py and llama-quantize"
        )
    check_memory(settings.model, 16, settings.memory)
    if merged:
        llm = LanguageModel.load(settings.model, bits=settings.bits)
        examiner = Examiner(llm, asked)
        del llm  # one model at a time
    llm = LanguageModel.load(settings.model, bits=16)
    weights = take_weights(llm, file)
    if not merged:
        examiner = Examiner(llm, asked)
        llm.use_adapter(adapter)
    verdict = judge(examiner.examine(llm), Limits.of(settings, llm.parameter_count))
    return {
        "adapter": adapter.name,
        "served": str(file),
        "merged": merged,
        "weights": dict(sorted(weights.items())),
        "reserve_sets": len(asked.reserve),
        "loss_before": verdict.loss_before,
        "loss_after": verdict.loss_after,
        "perplexity_rise": verdict.perplexity_rise,
        "recalled": verdict.recalled,
        "repeated": verdict.repeated,
        "repeated_general": verdict.repeated_general,
        "repeated_others": verdict.repeated_others,
        "passes": verdict.publish,
        "reason": verdict.reason,
    }
