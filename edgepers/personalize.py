"""The whole chain: a stream in, a published adapter out. This module alone knows the order of the stages."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

from edgepers import ops
from edgepers.annotate.requests import pending
from edgepers.annotate.sources import Source, source_of
from edgepers.config import Settings
from edgepers.errors import StateError
from edgepers.evaluate.evaluator import test_sets
from edgepers.meter.energy import EnergyMeter
from edgepers.meter.ledger import Ledger
from edgepers.meter.memory import MemoryMeter
from edgepers.model.language_model import MAX_NEW_TOKENS, LanguageModel
from edgepers.model.loading import check_memory, import_libraries
from edgepers.plan.plan import check_plan
from edgepers.privacy.keyring import key_source
from edgepers.report.report import report, versions
from edgepers.rounds.background import BackgroundRound
from edgepers.rounds.listener import Listener
from edgepers.rounds.measure import HeldOutScores
from edgepers.rounds.round import Round
from edgepers.rounds.under_way import UnderWay
from edgepers.select.lexicon import load_lexicons
from edgepers.select.micro_batches import MicroBatches
from edgepers.select.policy import Policy
from edgepers.select.scores import Score
from edgepers.select.selector import Selector
from edgepers.state.buffer import Buffer
from edgepers.state.folder import State
from edgepers.state.forget import finish_forgetting
from edgepers.state.records import KeptSet
from edgepers.state.rollback import roll_back
from edgepers.streams import Arrival, DialogueSet, FileStream, Stream, open_stream
from edgepers.streams.hub import HubStream
from edgepers.synth.check import refusal
from edgepers.synth.synthesize import Check
from edgepers.train.kernels import check_kernels

__all__ = ["Personalizer"]


class Personalizer:
    """One owner's state folder with the model that serves it. Use it as a context manager: leaving makes the position durable.

    Args:
        state: the folder; made on first use.
        settings: None takes what the state has saved, or the defaults.
        llm: a loaded model to share; else the settings' model is loaded when it is first needed.
        policy: a callable in place of the settings' policy.
        score: a callable in place of EOE.
        check: which variations are worth training on, in place of the ROUGE-1 check.
        source: a callable in place of the settings' annotations.
        listener: hears what happens.
        quarantine: set kept sets aside that cannot be read, instead of an error.
        energy: meters joules, and is closed with this; None: what this machine has.
        in_process: train in this process, as with an `llm` of the caller's; else rounds train in a child process.

    Raises:
        StateError: another process works on the folder, or it was made with another model, seed, stream or other
            lexicons.
        UsageError: the settings' lexicons cannot be read.
    """

    def __init__(
        self,
        state: str | Path,
        settings: Settings | None = None,
        *,
        llm: LanguageModel | None = None,
        policy: Policy | None = None,
        score: Score | None = None,
        check: Check = refusal,
        source: Source | None = None,
        listener: Listener | None = None,
        quarantine: bool = False,
        energy: EnergyMeter | None = None,
        in_process: bool = False,
    ) -> None:
        self.state = State(state)
        self.settings = self.state.settled(settings)
        lexicons = load_lexicons(Path(self.settings.lexicons) if self.settings.lexicons else None)
        if llm is None:
            import_libraries()
        self.meter = MemoryMeter(self.settings.memory)
        self._listener = listener or Listener()
        self._source = source
        self._in_process = in_process or llm is not None
        self._under_way = UnderWay()
        self._model_lock = threading.RLock()
        self._check = check
        self.buffer = Buffer(
            self.state.folder,
            self.settings.storage,
            keys=key_source(self.settings),
            quarantine=quarantine,
            batch=self.settings.admissions_a_commit,
        )
        with contextlib.ExitStack() as undo:
            undo.callback(self.buffer.close)
            finish_forgetting(self.state, self.buffer)
            self.state.mirror_published(self.buffer.progress.published)
            self.energy = Ledger(self.state.pending_energy, energy or EnergyMeter.find(), self.round_number)
            undo.callback(self.energy.close)
            self.llm = llm or self._load()
            check_kernels(self.settings, self.llm.device)
            self._measuring = HeldOutScores(self.llm, self.state, self.buffer, self.energy, self._listener)
            if self.llm.device.type == "cuda":
                ops.backends("cuda")  # a kernel that is wrong on this GPU is found before anything is decided by it
            self.selector = Selector(
                self.buffer,
                self.llm,
                policy=policy or self.settings.policy,
                entropy=score or self.settings.entropy,
                scored_text=self.settings.scored_text,
                protect_annotated=self.settings.protect_annotated,
                lexicons=lexicons,
                seed=self.settings.seed,
                explain=self._listener.explains,
            )
            self.state.save_settings(self.settings)
            undo.pop_all()

    def _load(self) -> LanguageModel:
        check_memory(self.settings.model, self.settings.bits, self.settings.memory)
        encode_tokens = check_plan(self.settings)
        llm = LanguageModel.load(self.settings.model, bits=self.settings.bits)
        llm.encode_tokens = encode_tokens
        return llm

    def __enter__(self) -> "Personalizer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Make the position durable and release the folder."""
        with contextlib.closing(self.buffer), contextlib.closing(self.energy):
            self.buffer.save(self.buffer.progress.copy())

    # -- the chain

    def run(
        self,
        stream: str | Path | Stream | Iterable[DialogueSet],
        *,
        test: str | Path | Sequence[DialogueSet] | None = None,
        limit: int | None = None,
        strict: bool = False,
    ) -> dict[str, Any]:
        """Read a stream from where it was left, with a round after every K sets and at its end, and report.

        Args:
            stream: a file, `-`, a Hugging Face data set's name, dialogue sets, or a `Stream`.
            test: held-out sets with references; None measures nothing.
            limit: valid sets to have seen in all.
            strict: stop at the first malformed line.

        Raises:
            StreamError: unreadable, empty, or (strict) malformed.
        """
        source = self._bind(open_stream(stream, self.settings.format, self._listener.note))
        held_out = test_sets(test)
        self._measuring.base(held_out)
        for _ in self._select(source, limit, strict, rounds=True):
            self.round(source, test=held_out)
        if self.buffer.progress.position > self.buffer.progress.round_position:
            self.round(source, test=held_out)
        return self.report(held_out)

    def select(
        self, stream: str | Path | Stream | Iterable[DialogueSet], *, limit: int | None = None, strict: bool = False
    ) -> dict[str, Any]:
        """Read a stream and keep what the policy keeps; no rounds."""
        source = self._bind(open_stream(stream, self.settings.format, self._listener.note))
        for _ in self._select(source, limit, strict, rounds=False):
            pass
        return self.report(None)

    def _bind(self, stream: Stream) -> Stream:
        """Make sure that an old state is this stream's; a new one becomes it with the first set decided."""
        progress = self.buffer.progress
        if progress.stream and stream.fingerprint and progress.stream != stream.fingerprint:
            raise StateError(
                f"state {self.state.folder}: made with another stream than {stream.name}; give that one, or a new"
                " --state"
            )
        if isinstance(stream, (FileStream, HubStream)) and stream.name != "-":
            where = stream.name if isinstance(stream, HubStream) else str(Path(stream.name).resolve())
            self.settings = replace(self.settings, stream=where)
            self.state.save_settings(self.settings)
        return stream

    def _select(self, stream: Stream, limit: int | None, strict: bool, *, rounds: bool) -> Iterator[None]:
        """Decide on the rest of the stream; with `rounds`, yields where one is due."""
        feed = MicroBatches(stream, self.buffer.progress, strict=strict, note=self._listener.note)
        while True:
            if rounds and self.buffer.progress.position >= self.next_round:
                yield
            ends = [*([self.next_round] if rounds else []), *([limit] if limit is not None else [])]
            first, batch = feed.position, feed.next(*ends)
            if not batch:
                break
            self._decide(batch, first, stream.fingerprint or "")
        feed.require_some()
        final = self.buffer.progress.copy()
        final.invalid = feed.invalid
        self.buffer.save(final)

    @property
    def next_round(self) -> int:
        """Sets seen when the next round is due."""
        every = self.settings.every
        return (self.buffer.progress.round_position // every + 1) * every

    def _decide(self, batch: list[Arrival], first: int, fingerprint: str) -> None:
        """Answer, score and decide one micro-batch; what was decided before an interruption is passed over."""
        if first + len(batch) > self.buffer.progress.position:
            here = self.buffer.progress.copy()
            here.batch_position, here.batch_skip = first, 0
            here.batch_cursor = list(astuple(batch[0].here))
            here.stream = here.stream or fingerprint
            self.buffer.progress = here
            with self.energy.stage("select"):
                self.selector.offer(self._answered(batch), first, self._listener.decided)
        after = self.buffer.progress.copy()
        after.batch_position, after.batch_skip = first + len(batch), 0
        after.batch_cursor = list(astuple(batch[-1].after))
        self.buffer.progress = after
        self.meter.check("selecting")

    def _answered(self, batch: list[Arrival]) -> list[Arrival]:
        """The batch with missing responses given by the published model."""
        missing = [arrival.dialogue.question for arrival in batch if arrival.dialogue.response is None]
        if not missing:
            return batch
        self._measuring.use_published()
        answers = iter(self.llm.answer(missing))
        return [
            arrival
            if arrival.dialogue.response is not None
            else replace(arrival, dialogue=replace(arrival.dialogue, response=next(answers)))
            for arrival in batch
        ]

    # -- one round

    def round(
        self, stream: Stream | None = None, *, test: str | Path | Sequence[DialogueSet] | None = None
    ) -> dict[str, Any]:
        """Annotate, synthesize, train, guard, publish. Interrupted at any point, it goes on or starts again with the same result.

        Meanwhile other threads may call `answer` and `reply`.
        """
        return self._begin_round().run(self._source_of(stream), test_sets(test))

    def start_round(
        self, stream: Stream | None = None, *, test: str | Path | Sequence[DialogueSet] | None = None
    ) -> BackgroundRound:
        """The same in a thread of its own; until it has ended, nothing but `answer` and `reply` may be called here."""
        source, held_out = self._source_of(stream), test_sets(test)
        return BackgroundRound(
            lambda listener, under_way: self._begin_round(listener, under_way).run(source, held_out), self._listener
        )

    def _begin_round(self, listener: Listener | None = None, under_way: UnderWay | None = None) -> Round:
        self._under_way = under_way or UnderWay()
        return Round(
            state=self.state,
            buffer=self.buffer,
            selector=self.selector,
            llm=self.llm,
            settings=self.settings,
            check=self._check,
            energy=self.energy,
            meter=self.meter,
            scores=self._measuring,
            listener=listener or self._listener,
            in_process=self._in_process,
            under_way=self._under_way,
            lock=self._model_lock,
        )

    def _source_of(self, stream: Stream | None) -> Source:
        return source_of(self.settings, stream) if self._source is None else self._source

    @property
    def round_number(self) -> int:
        """Of the round that is under way, or next."""
        return self.buffer.progress.rounds + 1

    def annotate(self, stream: Stream | None = None) -> dict[str, int]:
        """Ask about at most `annotations_per_round` kept sets; counts by outcome."""
        return self._begin_round().annotate(self._source_of(stream))

    def requests(self) -> list[KeptSet]:
        """What the owner would be asked about next, in that order."""
        return pending(self.selector, self.round_number)[: self.settings.annotations_per_round]

    def synthesize(self) -> dict[str, Any]:
        """Write the variations that annotated sets still lack; those of sets that have left are deleted."""
        return self._begin_round().synthesize()

    def train(self, *, test: str | Path | Sequence[DialogueSet] | None = None) -> dict[str, Any]:
        """Train an adapter on what is annotated, publish it unless the guard objects, and finish the round."""
        return self._begin_round().train(test_sets(test))

    # -- the published model

    def evaluate(self, test: str | Path | Sequence[DialogueSet]) -> dict[str, Any]:
        """ROUGE-1 of the base model and of the published one, beside what knowing nothing scores."""
        return self._measuring.evaluate(test_sets(test))

    def answer(
        self, questions: Sequence[str], *, adapter: bool = True, max_new_tokens: int = MAX_NEW_TOKENS
    ) -> list[str]:
        """The published model's greedy answers; `adapter=False`: the base model's.

        Raises:
            BusyError: a round trains on all the memory that there is; the line says for how long.
        """
        self._under_way.require_model()
        with self._model_lock:
            self._measuring.use_published()
            return self.llm.answer(questions, adapter=adapter, max_new_tokens=max_new_tokens)

    def reply(self, question: str, told: Callable[[str], None], *, max_new_tokens: int = MAX_NEW_TOKENS) -> str:
        """The published model's greedy answer, told piece by piece while it is written; what is raised: as for `answer`."""
        self._under_way.require_model()
        with self._model_lock:
            self._measuring.use_published()
            return self.llm.stream(question, told, max_new_tokens=max_new_tokens)

    def rollback(self) -> dict[str, Any]:
        """Publish what was published before, the base model at last.

        Raises:
            StateError: the base model is published already.
        """
        return roll_back(self.state, self.buffer)

    def report(self, test: Sequence[DialogueSet] | None) -> dict[str, Any]:
        """The whole state as one record; counts are cumulative."""
        measured = self._measuring.reported(test) if test else {"rouge1_after": None}
        self.energy.save()
        return report(self.state, self.buffer, self.settings) | measured | {"versions": versions()}
