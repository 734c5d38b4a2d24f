"""A round: what it asks, what it trains on, the training, the verdict, and the moment from which it counts.

Killed at any point, the same round is done again and comes to the same end: annotations and variations are kept as soon
as they are there, training goes on from its checkpoint, an adapter's folder appears when it is whole, and everything
else counts from the one commit that ends the round.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from edgepers.annotate.requests import annotate
from edgepers.annotate.sources import Source
from edgepers.config import Settings
from edgepers.evaluate.evaluator import test_digest
from edgepers.evaluate.verdict import Verdict
from edgepers.meter.ledger import Ledger
from edgepers.meter.memory import MemoryMeter
from edgepers.model.heap import malloc_trim
from edgepers.model.language_model import LanguageModel
from edgepers.plan.plan import trains_beside
from edgepers.report.report import round_report
from edgepers.rounds.job import Job, Outcome, do
from edgepers.rounds.listener import Listener
from edgepers.rounds.measure import HeldOutScores
from edgepers.rounds.process import work_in_child
from edgepers.rounds.training_data import Lessons, TrainingData
from edgepers.rounds.under_way import UnderWay
from edgepers.rounds.verdicts import nothing_to_train_on
from edgepers.select.verdicts import Verdicts
from edgepers.state.buffer import Buffer
from edgepers.state.folder import State
from edgepers.state.forget import learned_from
from edgepers.state.variations import Variations, sum_counts
from edgepers.streams import DialogueSet
from edgepers.synth.synthesize import Check, digest, synthesize
from edgepers.train.recipe import max_tokens_of
from edgepers.train.step_log import StepLog
from edgepers.train.trainer import TrainStep

__all__ = ["Round"]

_MOST_NAMED = 8  # sets in one line


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round over a state that is open.

    Attributes:
        llm: gives the model, which annotating does without.
        scores: gives what measures it.
        in_process: train on `llm` here; else a child process trains on a model of its own.
        under_way: what other threads know of it.
        lock: held while `llm` is used here.
    """

    state: State
    buffer: Buffer
    verdicts: Verdicts
    llm: Callable[[], LanguageModel]
    settings: Settings
    check: Check
    energy: Ledger
    meter: MemoryMeter
    scores: Callable[[], HeldOutScores]
    listener: Listener
    in_process: bool
    under_way: UnderWay
    lock: contextlib.AbstractContextManager[Any]

    @property
    def number(self) -> int:
        """Of the round that is under way, or next."""
        return self.buffer.progress.rounds + 1

    def run(self, source: Source, test: Sequence[DialogueSet]) -> dict[str, Any]:
        """The whole of it; its report."""
        with self.lock:
            self.scores().base(test)
        self.meter.restart()
        self.annotate(source)
        self.synthesize()
        return self.train(test)

    def _begin(self, stage: str) -> None:
        self.under_way.begins(stage)
        self.listener.stage(stage, self.number)

    def annotate(self, source: Source) -> dict[str, int]:
        """Ask about kept sets; counts by outcome."""
        self._begin("annotate")
        with self.energy.stage("annotate"):
            most, order = self.settings.annotations_per_round, self.settings.ask
            return annotate(self.verdicts, source, self.number, most, order, log=self.listener.log)

    def synthesize(self) -> dict[str, Any]:
        """Write the variations that annotated sets still lack; those of sets that have left are deleted.

        It is done in this process, whose caller may have given a `check` of its own.
        """
        self._begin("synthesize")
        settings = self.settings
        data = TrainingData.of(self.state, self.buffer)
        had, training = data.variations, data.training
        wanted = {kept.position: digest(kept, settings.generations, settings.synthesize) for kept in training}
        stay = {p: v for p, v in had.items() if v.made_from == wanted.get(p)}
        lacking = [kept for kept in training if kept.position not in stay]
        made: list[Variations] = []
        if settings.generations and lacking:
            with self.energy.stage("synthesize"), self.lock:
                made = synthesize(
                    self.llm(),
                    lacking,
                    generations=settings.generations,
                    vary=settings.synthesize,
                    seed=settings.seed,
                    round_number=self.number,
                    check=self.check,
                )
            self.energy.save()
        now = stay | {v.position: v for v in made}
        if now != had:
            self.state.save_variations(now, self.buffer.sealer)
        self.meter.check("synthesis")
        pairs = [pair for v in made for pair in v.pairs]
        return {
            "sets": len(lacking),
            "synthesized": len(pairs),
            "refused": sum_counts(*(v.refused for v in made)),
            "pairs": pairs,
        }

    def train(self, test: Sequence[DialogueSet]) -> dict[str, Any]:
        """Train an adapter on what is annotated, publish it unless the guard objects, and finish the round."""
        number, name = self.number, f"{self.number:04}"
        data = TrainingData.of(self.state, self.buffer)
        if data.training and self.settings.recurring:
            with self.lock:
                data = data.with_recurring(self.llm(), self.buffer, self.settings.recurring)
        if data.contradicted:
            self.listener.log(
                f"round {number}: not learned, since a later verdict takes it back:"
                f" {', '.join(kept.name for kept in data.contradicted)}"
            )
        parent = self._parent()
        lessons = data.lessons(parent)
        outcome: Outcome | None = None
        verdict = Verdict(False, nothing_to_train_on(len(data.rejected)), None, None)
        if lessons.pairs:
            self._tell_cut(lessons)
            outcome = self._work(data, lessons, name)
            verdict = outcome.verdict
            self._tell(outcome)
        self.meter.check("the round")
        with self.lock:
            published = name if verdict.publish else self.buffer.progress.published
            rouge1 = self.scores().after_round(number, published, test)
        with self.buffer.lock:
            return self._count(
                data=data,
                lessons=lessons,
                outcome=outcome,
                verdict=verdict,
                parent=parent,
                rouge1=rouge1,
                test=test,
            )

    def _count(
        self,
        *,
        data: TrainingData,
        lessons: Lessons,
        outcome: Outcome | None,
        verdict: Verdict,
        parent: dict[str, Any] | None,
        rouge1: float | None,
        test: Sequence[DialogueSet],
    ) -> dict[str, Any]:
        """Have the round count, whatever was said and judged since it began, and return its report."""
        number = self.number
        new = [v for v in data.variations.values() if v.round == number]
        progress = self.buffer.progress.round_done(
            number,
            synthesized=sum(len(v.pairs) for v in new),
            refused=sum_counts(self.buffer.progress.refused, *(v.refused for v in new)),
            published=f"{number:04}" if verdict.publish else None,
            keep=self.settings.keep_adapters,
        )
        done = round_report(
            number=number,
            seen=progress.position,
            trained_on=[kept.position for kept in data.training],
            recurring=sorted({kept.position for kept, _ in data.again}),
            start=lessons.start,
            inherited=learned_from(parent) if parent is not None and lessons.start else [],
            new_sets=lessons.new,
            contradicted=len(data.contradicted),
            lora=_lora(self.settings),
            reserve_sets=len(data.reserve),
            rejected=[kept.position for kept in data.rejected],
            variations=data.variations_count,
            result=None if outcome is None else outcome.result,
            verdict=verdict,
            peak_memory_bytes=self.meter.peak_bytes(),
            rouge1=rouge1,
            tested_on=test_digest(test),
            energy=self.energy.record(),
        )
        self.state.save_round(done)
        self.buffer.save(progress)  # here the round counts; what follows is made good when the state is next opened
        self.energy.begin_round(number + 1)
        self.state.mirror_published(progress.published)
        self.state.prune_adapters(self.settings.keep_adapters, progress.published, progress.earlier)
        return done

    def _tell_cut(self, lessons: Lessons) -> None:
        """Say which sets are longer than what is learned of one."""
        llm = self.llm()
        most = max_tokens_of(llm.parameter_count)
        pairs = zip(lessons.names, lessons.pairs, strict=True)
        cut = list(dict.fromkeys(name for name, pair in pairs if llm.example(*pair, most).cut))
        if cut:
            more = f" and {len(cut) - _MOST_NAMED} more" if len(cut) > _MOST_NAMED else ""
            self.listener.log(
                f"round {self.number}: cut to {most} tokens, the most that is learned of one set:"
                f" {', '.join(cut[:_MOST_NAMED])}{more}"
            )

    def _tell(self, outcome: Outcome) -> None:
        if outcome.result.ended is not None:
            self.listener.log(f"round {self.number}: {outcome.result.ended}")
        if outcome.verdict.scale != 1.0:
            self.listener.log(
                f"round {self.number}: {100 * outcome.verdict.scale:.0f} % of the update kept; the whole of it would"
                " have been refused"
            )

    def _parent(self) -> dict[str, Any] | None:
        """The report of the round that made the published adapter, where a round may go on from that."""
        published = self.buffer.progress.published
        if not self.settings.review or self.state.published_folder(published) is None:
            return None
        reports = self.state.round_reports(self.buffer.progress.rounds)
        found = next((one for one in reports if one["adapter"] == published), None)
        return found if found is not None and found["lora"] == _lora(self.settings) else None

    def _work(self, data: TrainingData, lessons: Lessons, name: str) -> Outcome:
        """Train and judge, here or in a child; where both do not fit into memory, this process's model goes first."""
        published = self.state.published_folder(self.buffer.progress.published)
        job = Job(
            settings=replace(self.settings, model=self.llm().name),  # a path from here means nothing where a child is
            pairs=lessons.pairs,
            names=lessons.names,
            rejected=data.wrong(),
            new=lessons.new,
            asked=data.asked(self.buffer),
            adapter=self.state.adapters / name,
            start=published if lessons.start else None,
            published=published,
            memory_bytes=int(self.settings.memory),
            encode_tokens=self.llm().encode_tokens,
            threads=torch.get_num_threads(),
        )
        beside = not self.in_process and trains_beside(self.settings, self.meter.now_bytes())
        with _Report(self, name) as report, contextlib.nullcontext() if beside else self.under_way.model_away():
            report.stage("train")
            if self.in_process:
                with self.lock:
                    return do(self.llm(), job, report)
            if not beside:
                with self.lock:
                    self.llm().unload()
            malloc_trim()  # what earlier stages have left free is the child's
            job = replace(job, memory_bytes=int(self.settings.memory) - self.meter.now_bytes())
            return work_in_child(job, self.state.folder, report, self.meter, self.under_way)


def _lora(settings: Settings) -> dict[str, Any]:
    """What an adapter must have in common with another one that goes on from it."""
    return {"rank": settings.lora_rank, "targets": settings.lora_targets, "layers": settings.lora_layers}


class _Report:
    """Passes on what the work reports: to the listener, the log of steps, the meters and other threads."""

    def __init__(self, round_: Round, name: str) -> None:
        self._round = round_
        self._name = name
        self._open = contextlib.ExitStack()  # the log and the stage's energy
        self._log: StepLog | None = None

    def __enter__(self) -> "_Report":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        self._round.energy.save()

    def stage(self, name: str) -> None:
        """Meter what follows as part of this stage."""
        self._open.close()
        self._round.energy.save()
        self._round.under_way.begins(name)
        self._round.listener.stage(name, self._round.number)
        self._open.enter_context(self._round.energy.stage(name))
        self._log = self._open.enter_context(StepLog(self._round.state.rounds, self._name)) if name == "train" else None

    def log(self, text: str) -> None:
        """One line for the owner."""
        self._round.listener.log(text)

    def micro_batch(self, tokens: int) -> None:
        """It is in the line that says how training is laid out."""

    def step(self, step: TrainStep) -> None:
        """Count, log and check a step."""
        memory = self._round.meter.now_bytes() if step.memory_bytes is None else step.memory_bytes
        step = replace(step, memory_bytes=memory)
        self._round.under_way.step(step)
        if self._round.in_process:
            self._round.under_way.check()  # a child process is killed
        self._round.listener.trained(step)
        if self._log is not None:
            self._log.write(step, memory)
        self._round.energy.keep()
        self._round.meter.check("training")
