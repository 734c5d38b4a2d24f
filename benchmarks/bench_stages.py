r"""The stages of the chain on the harness: deciding, encoding, answering, a step of training.

Run: python -m benchmarks.all.

Each is checked before it is timed: every set is decided; a batch encodes as its sets do one by one; a fresh adapter,
which changes nothing, answers as the base model does; the first loss of a training is what the model says of those
sets.
"""

import tempfile
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.harness import Case
from benchmarks.synthetic import PoolEncoder, arrivals
from edgepers import Buffer, Selector
from edgepers.assets import rehearsal_sets
from edgepers.evaluate.guard import pairs_of
from edgepers.model.language_model import LanguageModel
from edgepers.privacy.keyring import KeySource
from edgepers.train.recipe import Recipe, max_tokens_of
from edgepers.train.trainer import train

SETS, TOKENS, STEPS = 16, 32, 2
STORAGE_BYTES = 281_000
_ENCODED = 2e-2  # of states whose largest are about 10: 16 bits, and sums in another order


def selector_cases(folder: Path) -> Iterator[Case]:
    """Micro-batches on a full buffer, each in a folder below `folder`.

    The encoder is synthetic, and its time (0.1 ms) is in it.
    """
    for policy in ("quality", "random", "fifo", "kcenter"):
        (folder / policy).mkdir()
        with Buffer(folder / policy, STORAGE_BYTES, keys=KeySource(folder / f"{policy}.key")) as buffer:
            selector, stream = Selector(buffer, PoolEncoder(), policy=policy), arrivals()
            while not buffer.progress.full:
                selector.offer(list(islice(stream, SETS)))

            def decide(selector: Selector = selector, stream: Any = stream) -> Tensor:
                return torch.tensor([float(len(selector.offer(list(islice(stream, SETS)))))])

            facts = {"bench": "selector", "sets": SETS, "kept": len(buffer)}
            yield _case(
                f"decide on {SETS} sets, buffer full", policy, facts, decide, torch.tensor([float(SETS)]).double()
            )


def encode_cases(model: str | None, label: str) -> Iterator[Case]:
    """Hidden states of one set and of a micro-batch, in 4 and 16 bits."""
    texts = [f"{question}\n{reference}" for question, reference in pairs_of(rehearsal_sets())[:SETS]]
    models = {bits: LanguageModel.load(model, bits=bits) for bits in (4, 16)}
    for count in (1, SETS):
        for bits, llm in models.items():
            truth = torch.cat([llm.encode([text])[0] for text in texts[:count]]).double().cpu()
            facts = {"bench": "encode", "sets": count, "tokens": len(truth)}
            run = partial(_encoded, llm, texts[:count])
            yield _case(
                f"encode, {label}, {count} sets", f"{bits} bits", facts, run, truth, _ENCODED * float(truth.abs().max())
            )


def _encoded(llm: LanguageModel, texts: Sequence[str]) -> Tensor:
    return llm.encode(texts)[0]


def answer_cases(model: str | None, label: str) -> Iterator[Case]:
    """Greedy answers of exactly `TOKENS` tokens.

    Without an adapter, with one, and with the same as PEFT computes it.
    """
    llm = LanguageModel.load(model)
    llm.stop_ids = [llm.vocabulary]  # which no answer holds
    questions = [question for question, _ in pairs_of(rehearsal_sets())[:SETS]]
    with tempfile.TemporaryDirectory() as name:
        folders: dict[str, Path | None] = {
            "no adapter": None,
            "adapter": Path(name) / "ours",
            "adapter, by PEFT": Path(name) / "peft",
        }
        fresh = llm.start_lora(8, 0)
        for folder in folders.values():
            if folder is not None:
                fresh.save_pretrained(folder, save_embedding_layers=False)
        llm.use_adapter(None)
        for count in (1, SETS):
            truth = _digests(llm.answer(questions[:count], max_new_tokens=TOKENS)).double()
            for which, folder in folders.items():
                facts = {"bench": "answer", "sets": count, "tokens": count * TOKENS}
                run = partial(_answered, llm, questions[:count], folder, lean="PEFT" not in which)
                yield _case(f"answer, {label}, {count} x {TOKENS} tokens", which, facts, run, truth)


def _answered(llm: LanguageModel, questions: Sequence[str], folder: Path | None, *, lean: bool) -> Tensor:
    if lean:
        llm.use_adapter(folder)
    else:
        with patch("edgepers.model.weights.lean_adapter", lambda _: None):
            llm.use_adapter(folder)
    return _digests(llm.answer(questions, max_new_tokens=TOKENS))


def _digests(answers: Sequence[str]) -> Tensor:
    return torch.tensor([zlib.crc32(answer.encode()) for answer in answers], dtype=torch.float64)


def train_cases(model: str | None, label: str) -> Iterator[Case]:
    """Two steps with all that comes before and after them."""
    llm = LanguageModel.load(model)
    pairs = pairs_of(rehearsal_sets())[:SETS]
    examples = [llm.example(*pair, max_tokens_of(llm.parameter_count)) for pair in pairs]
    losses = llm.losses(pairs, max_tokens=max_tokens_of(llm.parameter_count))
    truth = torch.tensor([fmean(losses)]).double()
    facts = {"bench": "train", "sets": SETS * STEPS, "tokens": STEPS * sum(len(example.ids) for example in examples)}
    yield _case(
        f"train, {label}, {STEPS} steps of {SETS} sets", "ours", facts, partial(_trained, llm, pairs), truth, 0.02
    )


def _trained(llm: LanguageModel, pairs: Sequence[tuple[str, str]]) -> Tensor:
    with tempfile.TemporaryDirectory() as folder:
        result = train(
            llm, pairs, Path(folder), Recipe(steps=STEPS, batch=SETS, learning_rate=2e-4, rank=8, rehearsal=0)
        )
    return torch.tensor([result.first_loss])


def _case(group: str, name: str, facts: dict[str, Any], run: Any, truth: Tensor, slack: float = 0) -> Case:  # noqa: PLR0917
    return Case(group=group, name=name, run=run, truth=truth, slack=slack, bytes_moved=None, facts=facts)
