"""The one base model with its tokenizer: answer with it, read its hidden states, measure losses.

Every stage shares the instance.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from edgepers.model.batches import length_groups, retry_halved
from edgepers.model.generation import (
    AnswerText,
    SeededSampling,
    Stopped,
    StopStrings,
    TextStreamer,
    TokenTimer,
    forget_sampling,
    stop_ids_of,
)
from edgepers.model.heap import malloc_trim
from edgepers.model.lean_adapter import contiguous_head
from edgepers.model.loading import load_pretrained
from edgepers.model.prefix_cache import PrefixCache
from edgepers.model.prompts import Message, Prompts
from edgepers.model.topics import TopicEmbedding, packaged_questions
from edgepers.model.weights import ENCODE_TOKENS, CausalModel, Example

__all__ = [
    "ENCODE_TOKENS",
    "MAX_ENCODED_TOKENS",
    "MAX_NEW_TOKENS",
    "Completion",
    "Example",
    "LanguageModel",
    "Sampling",
    "length_groups",
]

MAX_NEW_TOKENS = 64
MAX_ENCODED_TOKENS = 512
STRETCH = 16  # tokens that a batch writes before the rows that have ended leave it
QUESTION_SHARE = 0.25  # of what is learned of a set, at least, where its question is that long

T = TypeVar("T")
Asked = str | Sequence[Message]  # a question, or a talk whose last turn is the user's


@dataclass(frozen=True, slots=True)
class Sampling:
    """Sample instead of taking the likeliest word; row i draws from `seeds[i]` alone."""

    seeds: Sequence[int]
    temperature: float = 0.5
    top_p: float = 0.9


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer, with what a server says of it.

    Attributes:
        text: without thoughts, stop strings and white space around it.
        finish: "stop" where the model or a stop string ended it, "length" where `max_tokens` did, "left" where
            `stopped` did.
        prompt_tokens: that were read.
        completion_tokens: that were written, thoughts among them.
    """

    text: str
    finish: str
    prompt_tokens: int
    completion_tokens: int


def _prepared(model: Any) -> Any:
    """A model of transformers, made ready to answer."""
    forget_sampling(model)
    contiguous_head(model)
    return model


class LanguageModel(CausalModel):
    """A causal language model with at most one LoRA adapter over it, and its tokenizer and prompts.

    Safe to call from threads.

    Attributes:
        identity: hash of configuration, tokenizer and weight files; embeddings of two identities are never mixed.
        prompts: how messages become text.
        stop_ids: tokens that end an answer.
        talks: what `complete` remembers of the talks that it was asked to remember.
    """

    _loaded: Any  # None where it was unloaded

    def __init__(self, model: Any, tokenizer: Any, name: str, identity: str, bits: int) -> None:
        super().__init__(model, name=name, bits=bits, device=model.get_input_embeddings().weight.device)
        self.tokenizer = tokenizer
        self.identity = identity
        self.prompts = Prompts(tokenizer, name)
        self.stop_ids = stop_ids_of(model, tokenizer, self.prompts.end_of_turn)
        self.talks = PrefixCache()
        self._topics: TopicEmbedding | None = None
        _prepared(model)

    @classmethod
    def load(
        cls,
        model: str | None = None,
        *,
        bits: int = 4,
        device: torch.device | None = None,
        log: Callable[[str], None] | None = None,
    ) -> "LanguageModel":
        """Load a model in NF4 with double quantization or, with `bits=16`, as stored.

        Args:
            model: local folder, GGUF file (made into a folder once), `smollm2`, an Ollama tag or a Hub name; None: the
                packaged one.
            bits: 4 or 16.
            device: None: the GPU where there is one.
            log: is told in one line of what takes long and is done once, and that no token ends an answer.

        Raises:
            ModelError: names the model and the cure.
        """
        loaded, tokenizer, name, identity = load_pretrained(model, bits, device, log)
        llm = cls(loaded, tokenizer, name, identity, bits)
        if log is not None and not llm.stop_ids:
            log(
                f"--model {name} has no token that ends an answer: {llm.prompts.end_of_turn!r} does, which it learns"
                " with each correction; until then answers may run on"
            )
        return llm

    @property
    def _model(self) -> Any:
        """The module of transformers, or PEFT's around it; loaded again where it was unloaded."""
        if self._loaded is None:
            self._loaded = _prepared(load_pretrained(self.name, self.bits, self.device)[0])
        return self._loaded

    @_model.setter
    def _model(self, model: Any) -> None:
        self._loaded = model

    def unload(self) -> None:
        """Give the memory of the weights back; what needs them next loads them again."""
        with self._alone:
            if self._loaded is None:
                return
            self.use_adapter(None)
            self.talks.clear()
            self._loaded = None
            malloc_trim()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def forget_talks(self) -> None:
        """Forget what `complete` remembers of talks."""
        with self._alone:
            self.talks.clear()

    def prompt(self, question: Asked) -> str:
        """The text before the answer: the model's own chat template, or a plain one."""
        return self.prompts.prompt(question)

    def completion(self, question: Asked, response: str) -> str:
        """The text after `prompt`: the response and the template's own end of turn."""
        return self.prompts.completion(question, response)

    def token_ids(self, text: str) -> list[int]:
        """Tokens of text as it stands."""
        return self.prompts.plain_ids(text)

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        r"""Hidden states of the base model, adapter off.

        Args:
            texts: question + "\n" + response of B sets; no template, first 512 tokens.

        Returns:
            hidden: [sum of n_b, d] in the model's dtype, the last hidden states after the final norm. The model reads
                each text after what its tokenizer puts before any (a begin-of-text token); that has no rows here.
            offsets: [B + 1] int64 on the CPU; set b owns rows offsets[b] to offsets[b + 1].
        """
        first = list(self.prompts.beginning)
        most = min(MAX_ENCODED_TOKENS, max(self.window - len(first), 1))
        rows = [first + (self.token_ids(text)[:most] or [int(self.tokenizer.pad_token_id)]) for text in texts]
        lengths = [len(row) - len(first) for row in rows]
        offsets = torch.zeros(len(rows) + 1, dtype=torch.int64)
        offsets[1:] = torch.tensor(lengths, dtype=torch.int64).cumsum(0)
        if not rows:
            return torch.empty(0, self.hidden_size, dtype=self.base.dtype, device=self.device), offsets
        hidden: list[Tensor] = [torch.empty(0)] * len(rows)

        def encoded(group: Sequence[int]) -> None:
            ids, mask = self._pad([rows[i] for i in group], left=False)
            states = self.decoder(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            for row, i in enumerate(group):
                hidden[i] = states[row, len(first) : len(rows[i])]

        with self.adapter_off():
            for group in length_groups([len(row) for row in rows], self.encode_tokens):
                retry_halved(group, encoded)
        return torch.cat(hidden), offsets

    def topics(self, questions: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embeddings [B, topic_width] of B questions that tell topics apart: unit rows; zeros for an empty one."""
        with self._alone:
            table = self.base.get_input_embeddings().weight
            if self._topics is None:
                self._topics = TopicEmbedding(table, self._topic_rows(packaged_questions()))
            return self._topics(table, self._topic_rows(questions))

    def _topic_rows(self, questions: Sequence[str]) -> list[list[int]]:
        """Tokens as they are within a text, where the first word is no other one than further on."""
        texts = (question.strip() for question in questions)
        return [self.token_ids(f" {text}")[:MAX_ENCODED_TOKENS] if text else [] for text in texts]

    @torch.no_grad()
    def answer(
        self,
        questions: Sequence[Asked],
        *,
        adapter: bool = True,
        max_new_tokens: int = MAX_NEW_TOKENS,
        sampling: Sampling | None = None,
        batch: int = 32,
    ) -> list[str]:
        """Answers to B questions, batched: greedy, or sampled with a seed a question.

        `adapter=False`: the base model's.
        """
        rows = [self._prompt_ids(question, max_new_tokens) for question in questions]
        answers = [""] * len(rows)

        def answered(group: Sequence[int]) -> None:
            drawn = None
            if sampling is not None:
                drawn = SeededSampling([sampling.seeds[i] for i in group], sampling.temperature, sampling.top_p)
            found = self._generate([rows[i] for i in group], max_new_tokens, drawn)
            for i, completion in zip(group, found, strict=True):
                answers[i] = completion.text

        with self.chosen(adapter=adapter):
            for group in length_groups([len(row) + max_new_tokens for row in rows], self.encode_tokens, batch):
                retry_halved(group, answered)
        return answers

    @torch.no_grad()
    def complete(
        self,
        messages: Asked,
        *,
        adapter: bool = True,
        max_tokens: int = MAX_NEW_TOKENS,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        stop: Sequence[str] = (),
        on_text: Callable[[str], None] | None = None,
        stopped: Callable[[], bool] | None = None,
        remember: bool = False,
    ) -> Completion:
        """One answer to a talk: greedy, or sampled where `temperature` is above 0.

        Args:
            messages: "role" (system, user, assistant) and "content" of each turn, or a question alone.
            adapter: False: the base model's answer.
            max_tokens: of the answer, at most.
            temperature: that logits are divided by.
            top_p: share of the likeliest words that are drawn from.
            seed: of the draws; the same seed, the same answer.
            stop: texts that end the answer; they are no part of it.
            on_text: is given the answer in pieces as it is written; they make it up.
            stopped: is asked after each token; True ends the answer there.
            remember: keep what was computed of the talk, so that its next turn reads only what is new.

        Raises:
            ModelError: no user turn, or an unknown role.
        """
        drawn = SeededSampling([seed], temperature, top_p) if temperature > 0 else None
        rows = [self._prompt_ids(messages, max_tokens)]
        pieces = None if on_text is None else TextStreamer(self._answer_text(stop), on_text)
        with self.chosen(adapter=adapter):
            talk = None if not remember else (self._adapter or "") if adapter else ""
            (found,) = self._generate(rows, max_tokens, drawn, stop=stop, streamer=pieces, stopped=stopped, talk=talk)
        return replace(found, finish="left") if stopped is not None and stopped() else found

    def stream(self, question: Asked, on_text: Callable[[str], None], *, max_new_tokens: int = MAX_NEW_TOKENS) -> str:
        """The greedy answer to one question, given in pieces as it is written; the pieces make up the answer."""
        return self.complete(question, max_tokens=max_new_tokens, on_text=on_text).text

    @torch.no_grad()
    def token_seconds(self, question: str, *, max_new_tokens: int = MAX_NEW_TOKENS) -> list[float]:
        """What each token of the greedy answer to one question took; the first one with everything before it."""
        ticks = TokenTimer()
        with self.chosen(adapter=True):
            self._generate([self._prompt_ids(question, max_new_tokens)], max_new_tokens, streamer=ticks)
        return ticks.seconds

    def _prompt_ids(self, question: Asked, max_new_tokens: int) -> list[int]:
        """Tokens of the prompt; one too long loses its left."""
        most = self.window - min(max_new_tokens, self.window // 2)  # the other half is the question's
        first = len(self.prompts.beginning)
        ids = self.prompts.ids(self.prompt(question))
        return ids if len(ids) <= most else [*ids[:first], *ids[first - most :]]

    def _answer_text(self, stop: Sequence[str]) -> AnswerText:
        return AnswerText(self.tokenizer, self.stop_ids, (*self.prompts.stop, *filter(None, stop)))

    def _generate(
        self,
        rows: Sequence[Sequence[int]],
        max_new_tokens: int,
        sampling: SeededSampling | None = None,
        *,
        stop: Sequence[str] = (),
        streamer: TextStreamer | TokenTimer | None = None,
        stopped: Callable[[], bool] | None = None,
        talk: str | None = None,
    ) -> list[Completion]:
        """Answers to prompts of token ids; `talk`: the one row's states are kept, under the adapter of that name."""
        from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

        most = min(max_new_tokens, self.window // 2)
        ids, mask = self._pad(rows, left=True)
        start = ids.shape[1]
        text = self._answer_text(stop)
        found: dict[int, Completion] = {}
        open_rows = list(range(len(rows)))
        cache = states = None if talk is None else self.talks.take(talk, rows[0], self.config)
        ends: list[StopStrings | Stopped] = [StopStrings(text, start)] if text.stop else []
        if stopped is not None:
            ends.append(Stopped(stopped))
        while open_rows:
            written = ids.shape[1] - start
            stretch = most - written if len(open_rows) == 1 else min(STRETCH, most - written)
            out = self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                past_key_values=cache,
                generation_config=GenerationConfig(
                    max_new_tokens=stretch,
                    do_sample=False,  # the likeliest of the scores that `sampling` gives is its draw
                    eos_token_id=self.stop_ids,
                    pad_token_id=self.tokenizer.pad_token_id,
                    return_dict_in_generate=True,
                ),
                logits_processor=LogitsProcessorList([] if sampling is None else [sampling]),
                stopping_criteria=StoppingCriteriaList(ends),
                streamer=streamer,
            )
            ids, cache = out.sequences, out.past_key_values
            stay = []
            for at, (i, row) in enumerate(zip(open_rows, ids[:, start:].tolist(), strict=True)):
                answer, ended, used = text.read(row)
                if not ended and len(row) < most and not (stopped is not None and stopped()):
                    stay.append(at)
                    continue
                found[i] = Completion(answer.strip(), "stop" if ended else "length", len(rows[i]), used)
            open_rows = [open_rows[at] for at in stay]
            if open_rows:  # the others are no longer computed
                chosen = torch.tensor(stay, device=ids.device)
                ids = ids[chosen]
                mask = F.pad(mask[chosen], (0, ids.shape[1] - mask.shape[1]), value=1)
                cache.batch_select_indices(chosen)
                if sampling is not None:
                    sampling.keep(stay)
        if talk is not None and states is not None:
            self.talks.put(talk, ids[0].tolist(), states)
        return [found[i] for i in range(len(rows))]

    @torch.no_grad()
    def losses(
        self, pairs: Sequence[tuple[str, str]], *, adapter: bool = True, max_tokens: int = 512, batch: int = 16
    ) -> list[float]:
        """Mean negative log-likelihood, nats a token, of each response given its question."""

        def mean(logits: Tensor, targets: Tensor) -> float:
            return float(F.cross_entropy(logits.float(), targets))

        return self._of_responses(mean, pairs, adapter=adapter, max_tokens=max_tokens, batch=batch)

    @torch.no_grad()
    def recalled(
        self, pairs: Sequence[tuple[str, str]], *, adapter: bool = True, max_tokens: int = 512, batch: int = 16
    ) -> list[bool]:
        """Whether the greedy answer to each question is its response, to the token that ends it, white space apart.

        One pass, in which each token is asked for after the right ones: where all are the likeliest, writing them one
        by one comes to the same.
        """
        ends = torch.tensor(self.stop_ids)

        def all_likeliest(logits: Tensor, targets: Tensor) -> bool:
            right, ended = logits.argmax(-1) == targets, torch.isin(targets, ends.to(targets.device))
            counted = len(targets) if not ended.any() else int(ended.int().argmax()) + 1  # nothing is read after it
            return bool(right[:counted].all())

        return self._of_responses(all_likeliest, pairs, adapter=adapter, max_tokens=max_tokens, batch=batch)

    def _of_responses(
        self,
        measure: Callable[[Tensor, Tensor], T],
        pairs: Sequence[tuple[str, str]],
        *,
        adapter: bool,
        max_tokens: int,
        batch: int,
    ) -> list[T]:
        """What is measured of each response's logits [t, V] and its token ids [t]; a batch is of like lengths."""
        examples = [self.example(*pair, max_tokens) for pair in pairs]
        found: dict[int, T] = {}

        def measured(group: Sequence[int]) -> None:
            ids, mask, where = self.pad_examples([examples[i] for i in group])
            logits, targets = self.logits_at(ids[:, :-1], mask[:, :-1], where), ids[:, 1:][where]
            sizes = where.sum(1).tolist()
            for i, own, wanted in zip(group, logits.split(sizes), targets.split(sizes), strict=True):
                found[i] = measure(own, wanted)

        order = sorted(range(len(examples)), key=lambda i: len(examples[i].ids))
        with self.chosen(adapter=adapter):
            for start in range(0, len(order), batch):
                retry_halved(order[start : start + batch], measured)
        return [found[i] for i in range(len(examples))]

    def example(self, question: str, response: str, max_tokens: int) -> Example:
        """Tokens of a set to learn: a set too long loses the left of its question, then the right of its response.

        The question keeps `QUESTION_SHARE` of the tokens: a response to nothing in particular would be one to anything.
        """
        prompt = self.prompts.ids(self.prompt(question))
        completion = self.token_ids(self.completion(question, response))
        first = len(self.prompts.beginning)  # which stays
        excess = max(len(prompt) + len(completion) - max_tokens, 0)
        least = max(int(QUESTION_SHARE * max_tokens), first + 1)
        lost = max(min(excess, len(prompt) - least), 0)
        prompt = [*prompt[:first], *prompt[first + lost :]]
        if len(prompt) + len(completion) > max_tokens:
            completion = completion[: max_tokens - len(prompt)]
        return Example((*prompt, *completion), len(prompt), excess > 0)

    def pad_examples(self, examples: Sequence[Example]) -> tuple[Tensor, Tensor, Tensor]:
        """Token ids and mask, int64 [B, T], and bool [B, T - 1]: where the next token is one of the response."""
        ids, mask = self._pad([example.ids for example in examples], left=False)
        at = torch.arange(1, ids.shape[1], device=ids.device)
        prompt = torch.tensor([example.prompt_tokens for example in examples], device=ids.device)
        return ids, mask, (at >= prompt[:, None]) & (mask[:, 1:] == 1)

    def _pad(self, rows: Sequence[Sequence[int]], *, left: bool) -> tuple[Tensor, Tensor]:
        longest = max(len(row) for row in rows)
        ids = torch.full((len(rows), longest), int(self.tokenizer.pad_token_id), dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            place = slice(longest - len(row), None) if left else slice(0, len(row))
            ids[i, place] = torch.tensor(row)
            mask[i, place] = 1
        return ids.to(self.device), mask.to(self.device)
