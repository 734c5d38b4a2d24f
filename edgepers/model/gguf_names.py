"""What GGUF, the file format of llama.cpp, calls the weights of a model, and how it orders their rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepers.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ARCHITECTURES", "NOT_WEIGHTS", "GgufNames"]

# transformers' model type: llama.cpp's architecture. Others store some weight split, fused or turned, and are refused.
ARCHITECTURES = {
    "llama": "llama",
    "mistral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3": "gemma3",
    "gemma3_text": "gemma3",
    "phi3": "phi3",
}
NOT_WEIGHTS = (  # weights of a file that are made from the configuration
    "rope_freqs.weight",
    "rope_factors_long.weight",
    "rope_factors_short.weight",
)
_ROTATED = {"llama": ("attn_q", "attn_k")}  # weights whose rows are in another order there, by architecture


@dataclass(frozen=True, slots=True)
class GgufNames:
    """Names and row orders of one model's weights.

    Attributes:
        architecture: as llama.cpp calls it.
        heads: of attention; `key_heads` are those of keys and values.
        table: of the `gguf` package.
    """

    architecture: str
    heads: int
    key_heads: int
    table: Any

    @classmethod
    def of(cls, config: Any) -> "GgufNames":
        """From a model's configuration (transformers').

        Raises:
            ModelError: an architecture whose names are not known here.
        """
        import gguf

        architecture = ARCHITECTURES.get(config.model_type)
        if architecture is None:
            known = ", ".join(sorted(ARCHITECTURES))
            raise ModelError(
                f"model type {config.model_type!r}: no GGUF names are known for it, only for {known}; take --format"
                " peft or merged"
            )
        text = config.get_text_config()
        number = {name: key for key, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
        heads = int(text.num_attention_heads)
        table = gguf.get_tensor_name_map(number, int(text.num_hidden_layers))
        return cls(architecture, heads, int(getattr(text, "num_key_value_heads", None) or heads), table)

    def reader(self, file: Path, *, said: str, model: str) -> Any:
        """A GGUF file of such a model, opened by the `gguf` package.

        Args:
            file: its path.
            said: what errors call it.
            model: whose file it should be.

        Raises:
            ModelError: it cannot be read, or is of another architecture.
        """
        import gguf

        try:
            found = gguf.GGUFReader(file)
            architecture = found.fields["general.architecture"].contents()
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{said}: {error}; give a GGUF file of the base model") from None
        if architecture != self.architecture:
            raise ModelError(f"{said}: of a {architecture} model; give a GGUF file of {model}")
        return found

    def name(self, weight: str) -> str:
        """Of a weight of transformers, such as `blk.0.ffn_up.weight` of `model.layers.0.mlp.up_proj.weight`.

        "" where it has none.
        """
        plain = weight.replace("model.language_model.", "model.").removeprefix("language_model.")
        return str(self.table.get_name(plain, try_suffixes=(".weight", ".bias")) or "")

    def rows(self, name: str, weight: "Tensor") -> "Tensor":
        """Rows in the order that llama.cpp has them in.

        Llama's queries and keys are turned in pairs of rows (i, i + half a head) by transformers, (2i, 2i + 1) by
        llama.cpp.

        Args:
            name: of GGUF.
            weight: [out, anything], of transformers.
        """
        return self._reordered(name, weight, (2, -1))

    def weight_back(self, name: str, weight: "Tensor") -> "Tensor":
        """A weight of GGUF as transformers has it.

        The inverse of `rows`, and Gemma's norms, which are stored there with one added.
        """
        if self.architecture.startswith("gemma") and "norm" in name:
            return weight - 1
        return self._reordered(name, weight, (-1, 2))

    def _reordered(self, name: str, weight: "Tensor", head: tuple[int, int]) -> "Tensor":
        kind = name.split(".")[-2]
        if kind not in _ROTATED.get(self.architecture, ()):
            return weight
        heads = self.heads if kind == "attn_q" else self.key_heads
        ordered: Tensor = weight.view(heads, *head, *weight.shape[1:]).transpose(1, 2).reshape(weight.shape)
        return ordered
