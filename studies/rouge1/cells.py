"""The ROUGE-1 study's cells: PROTOCOL.md says what one is."""

import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.warm_start import started_from
from edgepers.annotate.sources import Answer
from edgepers.config import MIN_STORAGE_BYTES, Settings, Size
from edgepers.evaluate.rouge import rouge1
from edgepers.model.language_model import LanguageModel
from edgepers.personalize import Personalizer
from edgepers.select.policy import Kept, Newcomer, Policy, Room
from edgepers.select.rules import higher
from edgepers.state.records import KeptSet
from edgepers.streams import DialogueSet
from edgepers.train.recipe import max_tokens_of
from studies.rouge1.paper_layout import bins
from studies.rouge1.splits import FILE, rows_of

ROUNDS, A_ROUND, SHARE, STEPS = 3, 16, 0.05, 25
POLICIES = ("quality", "random", "fifo", "kcenter")
TRAINED: dict[str, dict[str, Any]] = {
    "synthesis": {"generations": 3},
    "repeat": {"generations": 0},
    "synthesis-by-tokens": {"generations": 3},
    "repeat-by-tokens": {"generations": 0},
    "none": {"generations": 0, "epochs": 8, "steps": None},
    "guarded": {"generations": 0, "guard": True},
    "warm": {"generations": 0},
}
ALL = {"generations": 0, "epochs": 2, "steps": None}
BATCH = 16
# What the protocol's cells were made with, where the defaults have moved on since.
RECIPE: dict[str, Any] = {
    "batch": BATCH,
    "lora_targets": "attention",
    "rehearsal": 4,
    "untold": 0,
    "word_dropout": 0.0,
    "asides": 0.0,
    "recurring": 0,
    "review": 0,
    "ask": "newest",
    "embedding": "hidden",
    "repeats": "kept",
}
SCORES = ("entropy", "domain_score", "dissimilarity")
OWN = ("bins",)
REFERENCES = ("base", "echo", "constant", "all")  # of the stream and seed alone, no policy
RETRIEVED, CONTEXT_CHARACTERS = 2, 400
Row = dict[str, Any]
Encode = Callable[[Sequence[str]], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class Cell:
    """What a line is of.

    Attributes:
        data: set of data.
        policy: "" for the references; "quality@spectral": with another entropy of embedding; "entropy", "domain_score",
            "dissimilarity":
            the highest of one score alone; "bins": `quality` over the paper's bins of 22 KB.
        arm: of training; "synthesis@5": with five variations asked of each set; "guarded": *repeat* with the guard on;
            "warm": *repeat*,
            trained in each round from the adapter of the round before; "repeat-by-tokens", "synthesis-by-tokens": with
            steps of as many tokens as `BATCH` sets of the stream have in the mean.
        seed: of order, weights and sampling.
        share: of the stream's stored bytes.
        steps: of training.
        rounds: that are done, each a third of the stream.
    """

    data: str
    policy: str
    arm: str
    seed: int
    share: float
    steps: int = STEPS
    rounds: int = ROUNDS

    def settings(self) -> dict[str, Any]:
        """Differing from the defaults, or pinned."""
        arm, _, generations = self.arm.partition("@")
        policy, _, entropy = self.policy.partition("@")
        given = {"steps": self.steps, **RECIPE, **TRAINED.get(arm, TRAINED["none"])}
        given |= {"generations": int(generations)} if generations else {}
        given |= {"entropy": entropy} if entropy else {}
        return given if policy in SCORES + OWN else given | {"policy": policy or "fifo"}


def _dialogue(row: Row) -> str:
    return str(row.get("dialogue_id", row["id"]))


def remembered(encode: Encode) -> Encode:
    """An `encode` that works on each text once, however many cells stream it."""
    states: dict[str, Tensor] = {}

    def encoded(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        new = [text for text in dict.fromkeys(texts) if text not in states]
        if new:
            hidden, offsets = encode(new)
            states.update(zip(new, hidden.split(offsets.diff().tolist()), strict=True))
        rows = [states[text] for text in texts]
        return torch.cat(rows), torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)

    return encoded


def own_policy(name: str, storage: int) -> Policy | None:
    """What edgepers does not have by name; None for what it has."""
    return bins(storage) if name == "bins" else highest(name) if name in SCORES else None


def highest(score: str) -> Policy:
    """A policy that keeps what is highest in one score alone, as the paper's table 4 has it."""

    def decide(newcomer: Newcomer, kept: Kept, room: Room) -> Sequence[int] | None:
        return higher(getattr(newcomer, score), getattr(kept, score), room)

    return decide


class Work:
    """One data set: its stream with the base model's answers, and the rows that are measured.

    Args:
        llm: the base model.
        folder: of data sets.
        name: of one; "memorybank_users:NAME" is one owner's diary, which streams in order of date whatever the seed.
        part: "development" or "test".
        cache: folder of the base model's answers.
    """

    def __init__(self, llm: LanguageModel, folder: Path, name: str, part: str, cache: Path) -> None:
        data, _, owner = name.partition(":")
        parts, rows = json.loads(FILE.read_text(encoding="utf-8"))[data]["parts"], rows_of(folder, data)
        self.llm, self.name = llm, name
        llm.encode = remembered(partial(LanguageModel.encode, llm))  # type: ignore[method-assign, assignment]
        chosen = {of: [rows[i] for i in parts[of] if not owner or rows[i]["user"] == owner] for of in ("stream", part)}
        self.stream, self.measured, self._in_order = chosen["stream"], chosen[part], bool(owner)
        self.references = [row["reference"] for row in self.measured]
        llm.use_adapter(None)
        answers = self._answered(cache / f"{name.replace(':', '-')}.json", [row["question"] for row in self.stream])
        self.sets = [
            DialogueSet(row["question"], answer, row["reference"], row["id"])
            for row, answer in zip(self.stream, answers, strict=True)
        ]
        self._dialogues: dict[str, list[int]] = defaultdict(list)
        for i, row in enumerate(self.stream):
            self._dialogues[_dialogue(row)].append(i)
        self.stored_bytes = self._stored_bytes()

    def _answered(self, file: Path, questions: Sequence[str]) -> list[str]:
        """The base model's greedy answers: minutes, so they are kept, beside what they answer and who did."""
        of = [self.llm.identity, *questions]
        if file.exists():
            known = json.loads(file.read_text(encoding="utf-8"))
            if known["of"] == of:
                return list(known["answers"])
        answers = self.llm.answer(questions)
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps({"of": of, "answers": answers}), encoding="utf-8")
        beside.rename(file)
        return answers

    def _stored_bytes(self) -> int:
        """What all of the stream takes in a buffer that has room."""
        began = time.process_time()
        with (
            tempfile.TemporaryDirectory() as folder,
            self._state(Path(folder), 0, storage=1 << 30, policy="fifo") as state,
        ):
            state.select(self.sets)
            self.scoring_cpu_seconds = time.process_time() - began
            return sum(kept.stored_bytes for kept in state.buffer)

    @cached_property
    def step_tokens(self) -> int:
        """Of `BATCH` sets of the stream, in the mean, as they are trained."""
        most = max_tokens_of(self.llm.parameter_count)
        lengths = [len(self.llm.example(one.question, one.reference or "", most).ids) for one in self.sets]
        return round(BATCH * float(np.mean(lengths)))

    def _state(self, folder: Path, seed: int, *, storage: int, named: str = "", **settings: Any) -> Personalizer:
        wanted = {one.id: one.reference for one in self.sets}

        def revealed(kept: KeptSet) -> Answer:
            return Answer(wanted[kept.id])

        chosen = Settings(**{"seed": seed, "storage": Size(storage), "guard": False, "every": 10**9, **settings})
        return Personalizer(folder, chosen, llm=self.llm, source=revealed, policy=own_policy(named, storage))

    def ordered(self, seed: int) -> list[DialogueSet]:
        """The stream's dialogues in an order drawn by the seed; an owner's as they are."""
        if self._in_order:
            return self.sets
        dialogues = list(self._dialogues.values())
        return [
            self.sets[i]
            for number in np.random.default_rng(seed).permutation(len(dialogues))
            for i in dialogues[number]
        ]

    @contextmanager
    def streamed(
        self, cell: Cell, folder: Path, learnt: Callable[[Personalizer], object] | None = None
    ) -> Iterator[Personalizer]:
        """A state that has seen and annotated what a cell's has when it is trained.

        `learnt` is called after each round but the last.
        """
        storage = max(int(cell.share * self.stored_bytes), MIN_STORAGE_BYTES)
        settings = cell.settings() | ({"step_tokens": self.step_tokens} if cell.arm.endswith("-by-tokens") else {})
        with self._state(folder, cell.seed, storage=storage, named=cell.policy, **settings) as state:
            stream = self.ordered(cell.seed)
            for number in range(1, cell.rounds + 1):
                state.select(stream, limit=len(stream) * number // ROUNDS)
                asked = A_ROUND if learnt else A_ROUND * number  # of a round: without `learnt` all of them are one
                state.settings = replace(state.settings, annotations_per_round=asked)
                state.annotate()
                if learnt and number < cell.rounds:
                    learnt(state)
            yield state

    def _learnt(self, state: Personalizer) -> Row:
        """A round's training, which goes on from the adapter of the round before where there is one."""
        name = state.buffer.progress.published
        before = load_file(state.state.adapters / name / "adapter_model.safetensors") if name else {}
        with started_from(self.llm, before):
            return state.train()

    def cell(self, cell: Cell) -> Row:
        """Stream, annotate, train and measure."""
        began = time.process_time()
        if not cell.policy:
            return self._reference(cell, began)
        warm = self._learnt if cell.arm == "warm" else None
        with tempfile.TemporaryDirectory() as folder, self.streamed(cell, Path(folder), warm) as state:
            kept = list(state.buffer)
            annotated = [(one.question, one.wanted) for one in kept if one.annotated]
            facts: Row = {
                "storage_bytes": int(state.settings.storage),
                "kept": len(kept),
                "annotated": len(annotated),
                "kept_ids": [one.id for one in kept],
            }
            facts["scoring_cpu_seconds"] = round(self.scoring_cpu_seconds * cell.rounds / ROUNDS, 1)
            facts["selecting_cpu_seconds"] = round(time.process_time() - began, 1)
            if cell.arm == "retrieval":
                self.llm.use_adapter(None)
                found = self._measures(self._asked(annotated), adapter=False)
            else:
                made = state.synthesize()
                facts["synthesis_cpu_seconds"] = round(time.process_time() - began - facts["selecting_cpu_seconds"], 1)
                done = warm(state) if warm else state.train()
                facts |= {
                    name: done[name]
                    for name in ("train_sets", "variations", "train_steps", "train_tokens", "energy_joules")
                }
                facts |= {"refused": made["refused"], "made_cpu_seconds": round(time.process_time() - began, 1)}
                facts |= {"published": done["published"], "reason": done["reason"]}
                self.llm.use_adapter(state.state.adapter_folder(state.buffer.progress.published))
                found = self._measures([row["question"] for row in self.measured])
                self.llm.use_adapter(None)
        return {**facts, "cpu_seconds": round(time.process_time() - began, 1), **found}

    def _reference(self, cell: Cell, began: float) -> Row:
        questions = [row["question"] for row in self.measured]
        if cell.arm == "echo":
            return self._scores(questions)
        if cell.arm == "constant":
            given = [row["reference"] for row in self.stream]
            some = given[:: max(len(given) // 200, 1)]
            return self._scores([max(some, key=lambda one: rouge1(some, [one] * len(some)))] * len(questions))
        if cell.arm == "base":
            dialogues = list(dict.fromkeys(map(_dialogue, self.measured)))
            return self._measures(questions, adapter=False) | {
                "groups": [dialogues.index(_dialogue(row)) for row in self.measured]
            }
        settings = {**cell.settings(), **ALL, "annotations_per_round": len(self.sets)}
        with (
            tempfile.TemporaryDirectory() as folder,
            self._state(Path(folder), cell.seed, storage=1 << 30, **settings) as state,
        ):
            state.select(self.ordered(cell.seed))
            state.annotate()
            done = state.train()
            self.llm.use_adapter(state.state.adapter_folder(f"{done['round']:04}"))
            found = self._measures(questions)
            self.llm.use_adapter(None)
        return {
            "train_steps": done["train_steps"],
            "train_tokens": done["train_tokens"],
            "cpu_seconds": time.process_time() - began,
            **found,
        }

    def _asked(self, annotated: Sequence[tuple[str, str]]) -> list[str]:
        """Questions behind the annotated sets that are nearest to them by mean unit embedding."""
        from edgepers.ops import mean_unit_embedding

        known = mean_unit_embedding(*self.llm.encode([question for question, _ in annotated]))
        asked = mean_unit_embedding(*self.llm.encode([row["question"] for row in self.measured]))
        center = known.mean(0)
        unit = torch.nn.functional.normalize
        nearest = (
            (unit(asked - center, dim=1) @ unit(known - center, dim=1).T)
            .topk(min(RETRIEVED, len(annotated)), dim=1)
            .indices
        )
        told = [
            "\n".join(f"{annotated[i][0]} {annotated[i][1]}"[:CONTEXT_CHARACTERS] for i in row)
            for row in nearest.tolist()
        ]
        return [f"{context}\n{row['question']}" for context, row in zip(told, self.measured, strict=True)]

    def _measures(self, questions: Sequence[str], *, adapter: bool = True) -> Row:
        losses = self.llm.losses(
            [(asked, wanted) for asked, wanted in zip(questions, self.references, strict=True)], adapter=adapter
        )
        return self._scores(self.llm.answer(questions, adapter=adapter)) | {"loss": [round(one, 3) for one in losses]}

    def _scores(self, answers: Sequence[str]) -> Row:
        """rouge-score's own, by row."""
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer(["rouge1", "rougeL"])
        scores = [scorer.score(wanted, said) for wanted, said in zip(self.references, answers, strict=True)]
        return {
            "rouge1": [round(one["rouge1"].fmeasure, 4) for one in scores],
            "precision": round(float(np.mean([one["rouge1"].precision for one in scores])), 5),
            "recall": round(float(np.mean([one["rouge1"].recall for one in scores])), 5),
            "rougeL": round(float(np.mean([one["rougeL"].fmeasure for one in scores])), 5),
            "answer_words": round(float(np.mean([len(said.split()) for said in answers])), 1),
        }
