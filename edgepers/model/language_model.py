"""The one base model: load it in 4 bits, answer with it, read its hidden states. Every stage shares the instance."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from edgepers.errors import ModelError
from edgepers.model.batches import length_groups, retry_halved
from edgepers.model.generation import SeededSampling, TextStreamer, TokenTimer
from edgepers.model.heap import malloc_trim
from edgepers.model.lean_adapter import contiguous_head, lean_adapter
from edgepers.model.loading import load_pretrained, quiet
from edgepers.model.lora import attention_layers, scale_update

__all__ = ["MAX_NEW_TOKENS", "Example", "LanguageModel", "Sampling", "length_groups"]

MAX_NEW_TOKENS = 64
MAX_ENCODED_TOKENS = 512
ENCODE_TOKENS = 8192  # padded tokens in one forward pass of `encode`, at most: 16 sets of the longest kind
_PLAIN_PROMPT = "User: {question}\nAssistant:"  # for models without a chat template


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sample instead of taking the likeliest word; row i draws from `seeds[i]` alone."""

    seeds: Sequence[int]
    temperature: float = 0.5
    top_p: float = 0.9


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


class LanguageModel:
    """A causal language model with at most one LoRA adapter over it.

    Attributes:
        name: folder or Hub name it came from.
        identity: hash of configuration, tokenizer and weight files; embeddings of two identities are never mixed.
        hidden_size: d of the hidden states.
        device: where it runs.
        parameter_count: of the base model, before quantization.
        encode_tokens: padded tokens in one forward pass of `encode`, and in one batch of `answer`.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str, identity: str, bits: int) -> None:
        self._loaded: Any = model
        self._adapter: str | None = None
        self.tokenizer = tokenizer
        self.name = name
        self.identity = identity
        self.bits = bits
        self.parameter_count = int(model.num_parameters())
        self.hidden_size = int(model.config.get_text_config().hidden_size)
        self.device = model.get_input_embeddings().weight.device
        self.encode_tokens = ENCODE_TOKENS
        self.stop_ids = _stop_ids(model, tokenizer)
        contiguous_head(model)

    @classmethod
    def load(cls, model: str = "", *, bits: int = 4, device: torch.device | None = None) -> "LanguageModel":
        """Load a local folder or Hub name, in NF4 with double quantization or, with `bits=16`, as stored.

        Raises:
            ModelError: names the model and the cure.
        """
        loaded, tokenizer, name, identity = load_pretrained(model, bits, device)
        return cls(loaded, tokenizer, name, identity, bits)

    @property
    def _model(self) -> Any:
        """Of transformers, or PEFT's around it; loaded again where it was unloaded."""
        if self._loaded is None:
            self._loaded = load_pretrained(self.name, self.bits, self.device)[0]
            contiguous_head(self._loaded)
        return self._loaded

    @_model.setter
    def _model(self, model: Any) -> None:
        self._loaded = model

    def unload(self) -> None:
        """Give the memory of the weights back; what needs them next loads them again."""
        if self._loaded is not None:
            self.use_adapter(None)
            self._loaded = None
            malloc_trim()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _base(self) -> Any:
        return self._model.get_base_model() if self._adapter is not None else self._model

    def use_adapter(self, folder: Path | None, *, scale: float = 1.0) -> None:
        """Put one trained adapter over the base model, its update multiplied by `scale`, or none."""
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
    def _adapter_off(self) -> Iterator[None]:
        with self._model.disable_adapter() if self._adapter is not None else contextlib.nullcontext():
            yield

    def start_lora(self, rank: int, seed: int, targets: str = "attention", top: int = 0) -> Any:
        """The model with a fresh LoRA adapter to train (alpha = 2 x rank, dropout 0.05); `use_adapter(None)` ends it.

        "attention" puts it on every linear layer of attention (q, k, v, o, fused or not), as the paper does;
        "all-linear" on every linear layer (Dettmers et al. 2023, QLoRA). `top`: on that many uppermost blocks alone; 0:
        on all.

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
                    layers_to_transform=list(range(blocks - top, blocks)) if 0 < top < blocks else None,
                    task_type="CAUSAL_LM",
                ),
            )
        self._model.peft_config["default"].base_model_name_or_path = self.name
        self._adapter = "(training)"
        return self._model

    def prompt(self, question: str) -> str:
        """The text before the answer: the model's own chat template, or a plain one."""
        if self.tokenizer.chat_template is None:
            return _PLAIN_PROMPT.format(question=question)
        return str(
            self.tokenizer.apply_chat_template(
                [{"role": "user", "content": question}], tokenize=False, add_generation_prompt=True
            )
        )

    def completion(self, question: str, response: str) -> str:
        """The text after `prompt`: the response and the template's own end of turn."""
        end = self.tokenizer.eos_token or ""
        if self.tokenizer.chat_template is None:
            return f" {response}{end}"
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": response}]
        whole = str(self.tokenizer.apply_chat_template(turns, tokenize=False))
        prompt = self.prompt(question)
        return whole[len(prompt) :] if whole.startswith(prompt) else response + end

    def token_ids(self, text: str) -> list[int]:
        """Tokens of text that already carries its special tokens."""
        return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        r"""Hidden states of the base model, adapter off.

        Args:
            texts: question + "\n" + response of B sets; no template, first 512 tokens.

        Returns:
            hidden: [sum of n_b, d] in the model's dtype, the last hidden states after the final norm.
            offsets: [B + 1] int64 on the CPU; set b owns rows offsets[b] to offsets[b + 1].
        """
        rows = [self.token_ids(text)[:MAX_ENCODED_TOKENS] or [int(self.tokenizer.pad_token_id)] for text in texts]
        offsets = torch.zeros(len(rows) + 1, dtype=torch.int64)
        offsets[1:] = torch.tensor([len(row) for row in rows], dtype=torch.int64).cumsum(0)
        if not rows:
            return torch.empty(0, self.hidden_size, dtype=self._model.dtype, device=self.device), offsets
        hidden: list[Tensor] = [torch.empty(0)] * len(rows)

        def encoded(group: Sequence[int]) -> None:
            ids, mask = self._pad([rows[i] for i in group], left=False)
            states = self._base().get_decoder()(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            for row, i in enumerate(group):
                hidden[i] = states[row, : len(rows[i])]

        with self._adapter_off():
            for group in length_groups([len(row) for row in rows], self.encode_tokens):
                retry_halved(group, encoded)
        return torch.cat(hidden), offsets

    @torch.no_grad()
    def answer(
        self,
        questions: Sequence[str],
        *,
        adapter: bool = True,
        max_new_tokens: int = MAX_NEW_TOKENS,
        sampling: Sampling | None = None,
        batch: int = 32,
    ) -> list[str]:
        """Answers to B questions, batched: greedy, or sampled with a seed a question; `adapter=False`: the base model's."""
        rows = [self._prompt_ids(question, max_new_tokens) for question in questions]
        answers = [""] * len(rows)

        def answered(group: Sequence[int]) -> None:
            seeds = None if sampling is None else [sampling.seeds[i] for i in group]
            for i, answer in zip(
                group, self._generate([rows[i] for i in group], max_new_tokens, sampling, seeds), strict=True
            ):
                answers[i] = answer

        with contextlib.nullcontext() if adapter else self._adapter_off():
            for group in length_groups([len(row) + max_new_tokens for row in rows], self.encode_tokens, batch):
                retry_halved(group, answered)
        return answers

    @torch.no_grad()
    def stream(self, question: str, told: Callable[[str], None], *, max_new_tokens: int = MAX_NEW_TOKENS) -> str:
        """The greedy answer to one question, told in pieces as it is written; the pieces make up the answer."""
        pieces = TextStreamer(self.tokenizer, told)
        (answer,) = self._generate([self._prompt_ids(question, max_new_tokens)], max_new_tokens, None, None, pieces)
        return answer

    @torch.no_grad()
    def token_seconds(self, question: str, *, max_new_tokens: int = MAX_NEW_TOKENS) -> list[float]:
        """What each token of the greedy answer to one question took; the first one with everything before it."""
        ticks = TokenTimer()
        self._generate([self._prompt_ids(question, max_new_tokens)], max_new_tokens, None, None, ticks)
        return ticks.seconds

    @property
    def _window(self) -> int:
        """Tokens that the model takes, question and answer together."""
        return getattr(self._base().config.get_text_config(), "max_position_embeddings", None) or 4096

    def _prompt_ids(self, question: str, max_new_tokens: int) -> list[int]:
        """Tokens of the prompt; a question too long loses its left."""
        most = self._window - min(max_new_tokens, self._window // 2)  # the other half is the question's
        return self.token_ids(self.prompt(question))[-most:]

    def _generate(
        self,
        rows: Sequence[Sequence[int]],
        max_new_tokens: int,
        sampling: Sampling | None,
        seeds: Sequence[int] | None,
        streamer: TextStreamer | TokenTimer | None = None,
    ) -> list[str]:
        from transformers import GenerationConfig, LogitsProcessorList

        max_new_tokens = min(max_new_tokens, self._window // 2)
        ids, mask = self._pad(rows, left=True)
        processors = LogitsProcessorList()
        if sampling is not None and seeds is not None:
            processors.append(SeededSampling(seeds, sampling.temperature, sampling.top_p))
        config = GenerationConfig(
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=self.stop_ids,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        with quiet():
            out = self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=config,
                logits_processor=processors,
                streamer=streamer,
            )
        return [text.strip() for text in self.tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)]

    @torch.no_grad()
    def losses(
        self, pairs: Sequence[tuple[str, str]], *, adapter: bool = True, max_tokens: int = 512, batch: int = 16
    ) -> list[float]:
        """Mean negative log-likelihood, nats a token, of each response given its question."""
        losses: list[float] = []

        def measured(group: Sequence[int]) -> None:
            examples = [self.example(*pairs[i], max_tokens) for i in group]
            ids, mask, where = self.pad_examples(examples)
            targets = ids[:, 1:][where]
            per_token = F.cross_entropy(
                self.logits_at(ids[:, :-1], mask[:, :-1], where).float(), targets, reduction="none"
            )
            owner = where.nonzero()[:, 0]
            sums = torch.zeros(len(examples), device=ids.device).index_add_(0, owner, per_token)
            losses.extend((sums / where.sum(1)).tolist())

        with contextlib.nullcontext() if adapter else self._adapter_off():
            for start in range(0, len(pairs), batch):
                retry_halved(range(start, min(start + batch, len(pairs))), measured)
        return losses

    def example(self, question: str, response: str, max_tokens: int) -> Example:
        """Tokens of a set to learn: a set too long loses the left of its question, then the right of its response."""
        prompt = self.token_ids(self.prompt(question))
        completion = self.token_ids(self.completion(question, response))[:max_tokens]
        excess = max(len(prompt) + len(completion) - max_tokens, 0)
        prompt = prompt[min(excess, len(prompt) - 1) :]
        if len(prompt) + len(completion) > max_tokens:
            completion = completion[: max_tokens - len(prompt)]
        return Example((*prompt, *completion), len(prompt), excess > 0)

    def pad_examples(self, examples: Sequence[Example]) -> tuple[Tensor, Tensor, Tensor]:
        """Token ids and mask, int64 [B, T], and bool [B, T - 1]: where the next token is one of the response."""
        ids, mask = self._pad([example.ids for example in examples], left=False)
        at = torch.arange(1, ids.shape[1], device=ids.device)
        prompt = torch.tensor([example.prompt_tokens for example in examples], device=ids.device)
        return ids, mask, (at >= prompt[:, None]) & (mask[:, 1:] == 1)

    @property
    def dtype(self) -> torch.dtype:
        """That hidden states have."""
        dtype: torch.dtype = self._base().get_input_embeddings().weight.dtype
        return dtype

    @property
    def config(self) -> Any:
        """Of transformers."""
        return self._base().config

    @property
    def decoder(self) -> Any:
        """The layers without the output head."""
        return self._base().get_decoder()

    @property
    def vocabulary(self) -> int:
        """V: how many tokens the output head tells apart."""
        return int(self._base().get_output_embeddings().weight.shape[0])

    def head(self, states: Tensor) -> Tensor:
        """Logits [n, V] of hidden states [n, d], with what some families do to them afterwards."""
        base = self._base()
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
        """Logits [n, V] of [B, T] tokens at the n positions `where` (bool [B, T]); there is no vocabulary product elsewhere."""
        return self.head(self.decoder(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state[where])

    def _pad(self, rows: Sequence[Sequence[int]], *, left: bool) -> tuple[Tensor, Tensor]:
        longest = max(len(row) for row in rows)
        ids = torch.full((len(rows), longest), int(self.tokenizer.pad_token_id), dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            place = slice(longest - len(row), None) if left else slice(0, len(row))
            ids[i, place] = torch.tensor(row)
            mask[i, place] = 1
        return ids.to(self.device), mask.to(self.device)


def _stop_ids(model: Any, tokenizer: Any) -> list[int]:
    given = model.generation_config.eos_token_id
    ids = set(given if isinstance(given, (list, tuple)) else [given]) | {tokenizer.eos_token_id}
    return sorted(int(i) for i in ids if i is not None)
