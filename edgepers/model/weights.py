"""The weights of a causal language model, at most one LoRA adapter over them, and the output head.

States and logits of tokens.
"""

import contextlib
import copy
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgepers.errors import ModelError
from edgepers.model.lean_adapter import lean_adapter
from edgepers.model.loading import quiet
from edgepers.model.lora import attention_layers, scale_update
from edgepers.model.topics import TOPIC_WIDTH

__all__ = ["ENCODE_TOKENS", "CausalModel", "Example"]

ENCODE_TOKENS = 8192  # padded tokens in one forward pass of `encode`, at most: 16 sets of the longest kind


@dataclass(frozen=True, slots=True)
class Example:
    """Tokens of one training set: the prompt's, then the response's with its end of turn."""

    ids: tuple[int, ...]
    prompt_tokens: int
    cut: bool

    @property
    def response_tokens(self) -> int:
        """Tokens that are learned."""
        return len(self.ids) - self.prompt_tokens


class CausalModel:
    """Weights, adapter and head, without a tokenizer: everything goes in as tokens.

    Args:
        model: of transformers, frozen.
        name: folder or Hub name it came from.
        bits: 4, or 16 for weights as they are stored.
        device: where it runs.

    Attributes:
        hidden_size: d of the hidden states.
        topic_width: features of the embedding of a question's topic.
        parameter_count: of the base model, before quantization.
        encode_tokens: padded tokens in one forward pass of `encode`, and in one batch of `answer`.
        generation_config: transformers', as it came with the weights.
    """

    def __init__(self, model: Any, *, name: str, bits: int, device: torch.device) -> None:
        self._model = model
        self._adapter: str | None = None
        self._alone = threading.RLock()  # an adapter is on for everybody or off for everybody
        self.name = name
        self.bits = bits
        self.device = device
        self.parameter_count = int(model.num_parameters())
        self.hidden_size = int(model.config.get_text_config().hidden_size)
        self.topic_width = min(TOPIC_WIDTH, self.hidden_size)
        self.encode_tokens = ENCODE_TOKENS
        self.generation_config = copy.deepcopy(getattr(model, "generation_config", None))

    @property
    def base(self) -> Any:
        """The module of transformers under the adapter."""
        return self._model.get_base_model() if self._adapter is not None else self._model

    def use_adapter(self, folder: Path | None, *, scale: float = 1.0) -> None:
        """Put one trained adapter over the base model, its update multiplied by `scale`, or none."""
        with self._alone:
            self._put_on(folder, scale)

    def _put_on(self, folder: Path | None, scale: float) -> None:
        wanted = None if folder is None else f"{folder} x {scale}"
        if wanted == self._adapter:
            return
        from peft import PeftModel

        if self._adapter is not None:
            self._model, self._adapter = self._model.unload(), None
        if folder is not None:
            with quiet():
                self._model = PeftModel.from_pretrained(self._model, folder)
            self._model.eval()
            if scale != 1.0:
                scale_update(self._model, scale)
            lean_adapter(self._model)
            self._adapter = wanted

    @contextlib.contextmanager
    def adapter_off(self) -> Iterator[None]:
        """The base model alone, for this thread; others wait."""
        with self._alone, self._model.disable_adapter() if self._adapter is not None else contextlib.nullcontext():
            yield

    def chosen(self, *, adapter: bool) -> contextlib.AbstractContextManager[Any]:
        """The model with its adapter or without it, for this thread alone."""
        return self._alone if adapter else self.adapter_off()

    def start_lora(self, rank: int, seed: int, targets: str = "attention", top: int | None = None) -> Any:
        """The model with a fresh LoRA adapter to train (alpha = 2 x rank, dropout 0.05); `use_adapter(None)` ends it.

        "attention" puts it on every linear layer of attention (q, k, v, o, fused or not), as the paper does;
        "all-linear" on every linear layer (Dettmers et al. 2023, QLoRA). `top`: on that many uppermost blocks alone;
        None: on all.

        Raises:
            ModelError: the model has no such layers.
        """
        from peft import LoraConfig, get_peft_model

        self.use_adapter(None)
        attention = attention_layers(self._model)
        if not attention:
            names = {module.rpartition(".")[2] for module, _ in self._model.named_modules()}
            raise ModelError(
                f"model {self.name}: no attention projections that LoRA is known to fit; layers end in"
                f" {', '.join(sorted(names)[:8])}"
            )
        blocks = int(self.decoder.config.num_hidden_layers)
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []), quiet():
            torch.manual_seed(seed)
            self._model = get_peft_model(
                self._model,
                LoraConfig(
                    r=rank,
                    lora_alpha=2 * rank,
                    lora_dropout=0.05,
                    target_modules=attention if targets == "attention" else targets,
                    layers_to_transform=list(range(blocks - top, blocks)) if top is not None and top < blocks else None,
                    task_type="CAUSAL_LM",
                ),
            )
        self._model.peft_config["default"].base_model_name_or_path = self.name
        self._adapter = "(training)"
        return self._model

    @property
    def window(self) -> int:
        """Tokens that the model takes, question and answer together."""
        return getattr(self.config.get_text_config(), "max_position_embeddings", None) or 4096

    @property
    def dtype(self) -> torch.dtype:
        """That hidden states have."""
        dtype: torch.dtype = self.base.get_input_embeddings().weight.dtype
        return dtype

    @property
    def config(self) -> Any:
        """Of transformers."""
        return self.base.config

    @property
    def decoder(self) -> Any:
        """The layers without the output head."""
        return self.base.get_decoder()

    @property
    def vocabulary(self) -> int:
        """V: how many tokens the output head tells apart."""
        return int(self.base.get_output_embeddings().weight.shape[0])

    def head(self, states: Tensor) -> Tensor:
        """Logits [n, V] of hidden states [n, d], with what some families do to them afterwards."""
        base = self.base
        head, config = base.get_output_embeddings(), base.config.get_text_config()
        logits: Tensor = head(states.to(head.weight.dtype))
        if bound := getattr(config, "final_logit_softcapping", None):  # Gemma
            logits = bound * torch.tanh(logits / bound)
        if factor := getattr(config, "logit_scale", None):  # Cohere
            logits = logits * factor
        if divisor := getattr(config, "logits_scaling", None):  # Granite
            logits = logits / divisor
        return logits

    def logits_at(self, ids: Tensor, mask: Tensor, where: Tensor) -> Tensor:
        """Logits [n, V] of [B, T] tokens at the n positions `where` (bool [B, T]).

        There is no vocabulary product elsewhere.
        """
        return self.head(self.decoder(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state[where])
