"""The whole chain: a stream in, a published adapter out. This module alone knows the order of the stages."""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgepers import ops
from edgepers.annotate.requests import requests
from edgepers.annotate.sources import Source, from_file, source_of
from edgepers.config import Settings
from edgepers.errors import BusyError, StateError
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
from edgepers.select.identity import check_identity
from edgepers.select.lexicon import load_lexicons
from edgepers.select.micro_batches import MicroBatch, MicroBatches
from edgepers.select.policy import Policy
from edgepers.select.scores import Score
from edgepers.select.selector import Selector
from edgepers.select.verdicts import Verdicts
from edgepers.state.buffer import Buffer
from edgepers.state.folder import State
from edgepers.state.forget import finish_forgetting
from edgepers.state.records import KeptSet
from edgepers.state.rollback import roll_back
from edgepers.streams import DialogueSet, FileStream, Stream, open_stream
from edgepers.streams.hub import HubStream
from edgepers.synth.check import refusal
from edgepers.synth.synthesize import Check
from edgepers.train.kernels import check_kernels

__all__ = ["Personalizer"]


class Personalizer:
    """One owner's state folder with the model that serves it. Use it as a context manager, or call `open` and `close`.

    Making one reads the settings and touches nothing else. Opening (entering the context) takes the folder's lock and
    makes the folder on first use, finishes a forgetting that was cut off, says in `adapters/current` what is published,
    begins to meter energy (which rests a second where there is a meter), and saves the settings of a state that was
    made before. Closing makes the position durable and releases the folder.

    The model is loaded when it is first needed: by whatever selects, answers, trains or measures. Then the plan is
    checked, kernels are tried on a GPU, the kept sets are read, sets leave that a smaller budget has no room for, and a
    new state's settings are saved. Requests, verdicts, `rollback` and a report without a test set need no model.

    Threads may share one: what changes the state is done by one after the other, `run` and `select` as a whole;
    `answer` and `reply` need not wait for them.

    Args:
        state: the folder; made on first use.
        settings: as they are; a mapping: those that are given, over what the state has saved, over the defaults; None
            gives none.
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
        StateError: on making one, the state was made with another model or seed; on opening, another process works on
            the folder, or it was made with other lexicons.
        UsageError: the settings, or their lexicons, cannot be read.
    """

    energy: Ledger  # once it is open

    def __init__(
        self,
        state: str | Path,
        settings: Settings | Mapping[str, Any] | None = None,
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
        self.settings = self.state.settle(settings)
        lexicons = self.settings.lexicons
        self._lexicons = load_lexicons(None if lexicons is None else Path(lexicons))
        self._policy, self._score, self._check, self._source = policy, score, check, source
        self._file_answers: Source | None = None  # of the file of answers that the settings name
        self._listener = listener or Listener()
        self._quarantine = quarantine
        self._energy_meter = energy
        self._llm = llm
        self._model_ready = False
        self._buffer: Buffer | None = None
        self.meter = MemoryMeter(self.settings.memory)
        self._selector: Selector | None = None
        self._in_process = in_process or llm is not None
        self._under_way = UnderWay()
        self._background: BackgroundRound | None = None  # the last one that was started
        self._model_lock = threading.RLock()  # one adapter at a time is on the model

    @property
    def buffer(self) -> Buffer:
        """The kept sets and the progress.

        Raises:
            StateError: this is not open.
        """
        if self._buffer is None:
            raise StateError(
                f"state {self.state.folder}: not open; write 'with Personalizer(...) as owner', or call open"
            )
        return self._buffer

    # -- opening and closing

    def open(self) -> "Personalizer":
        """Lock the folder and make good what was cut off; loads no model."""
        with contextlib.ExitStack() as undo:
            self._buffer = undo.enter_context(self._locked_buffer())
            finish_forgetting(self.state, self.buffer)
            self.state.mirror_published(self.buffer.progress.published)
            self.energy = undo.enter_context(contextlib.closing(self._begun_ledger()))
            if self.buffer.identity():
                self._save_known_settings()
            undo.pop_all()
        return self

    def _locked_buffer(self) -> Buffer:
        return Buffer(
            self.state.folder,
            self.settings.storage,
            keys=key_source(self.settings),
            quarantine=self._quarantine,
            batch=self.settings.admissions_per_commit,
        )

    def _begun_ledger(self) -> Ledger:
        return Ledger(self.state.pending_energy, self._energy_meter or EnergyMeter.find(), self.round_number)

    def _save_known_settings(self) -> None:
        """Save the settings of a state that was made before, unless it was made with others that may not change."""
        made_with = {
            "seed": str(self.settings.seed),
            "lexicons": self._lexicons.fingerprint,
            "embedding": self.settings.embedding,
        }
        check_identity(self.buffer, made_with, self._lexicons)
        self.state.save_settings(self.settings)

    def __enter__(self) -> "Personalizer":
        return self.open()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Make the position durable and release the folder."""
        with contextlib.closing(self.buffer), contextlib.closing(self.energy), self.buffer.lock:
            self.buffer.save(self.buffer.progress)

    # -- what is made when it is first needed

    @property
    def llm(self) -> LanguageModel:
        """The model, loaded when it is first asked for, once the plan says that it fits."""
        with self._model_lock:
            if self._llm is None:
                self._llm = self._load()
            if not self._model_ready:
                check_kernels(self.settings, self._llm.device)
                if self._llm.device.type == "cuda":
                    ops.backends("cuda")  # a kernel that is wrong on this GPU is found before anything is decided by it
                self._model_ready = True
            return self._llm

    def _load(self) -> LanguageModel:
        import_libraries()
        self.meter.begin()  # what libraries take by themselves is not counted
        check_memory(self.settings.model, self.settings.bits, self.settings.memory)
        encode_tokens = check_plan(self.settings)
        llm = LanguageModel.load(self.settings.model, bits=self.settings.bits, log=self._listener.log)
        llm.encode_tokens = encode_tokens
        return llm

    @property
    def selector(self) -> Selector:
        """The selector, which reads the whole buffer when it is first asked for.

        With it a new state becomes this model's.
        """
        return self._load_selector()

    def _load_selector(self) -> Selector:
        with self.buffer.lock:
            if self._selector is None:
                self._selector = Selector(
                    self.buffer,
                    self.llm,
                    policy=self._policy or self.settings.policy,
                    entropy=self._score or self.settings.entropy,
                    embedding=self.settings.embedding,
                    count_repeats=self.settings.repeats == "counted",
                    answered=self._is_answered,
                    scored_text=self.settings.scored_text,
                    protect_annotated=self.settings.protect_annotated,
                    lexicons=self._lexicons,
                    seed=self.settings.seed,
                    explain=self._listener.explains,
                    with_losses=self.settings.ask == "loss",
                )
                self.state.save_settings(self.settings)
            return self._selector

    def _is_answered(self, kept: KeptSet) -> bool:
        return self._file_answers is not None and self._file_answers(kept) is not None

    @property
    def verdicts(self) -> Verdicts:
        """Takes the owner's verdicts.

        The selector where there is one, which keeps its index up, or must be one to come down to the budget.
        """
        with self.buffer.lock:
            if self._selector is None and not self.buffer.over_budget:
                return Verdicts(self.buffer)
            return self.selector

    @functools.cached_property
    def _measuring(self) -> HeldOutScores:
        return HeldOutScores(self.llm, self.state, self.buffer, self.energy, self._listener)

    @contextlib.contextmanager
    def answering(self, adapter: str | None = None) -> Iterator[LanguageModel]:
        """The model with an adapter over it, for this thread alone; what trains meanwhile makes way.

        Args:
            adapter: by its name; None: what is published, the base model where nothing is.

        Raises:
            BusyError: a round trains on all the memory that there is; the line says for how long.
            StateError: the adapter is gone.
        """
        self._under_way.require_model()
        folder = self.state.published_folder(self.buffer.progress.published if adapter is None else adapter)
        with self._under_way.making_way(), self._model_lock:
            self._under_way.require_model()  # it may have gone while this thread waited
            self.llm.use_adapter(folder)
            yield self.llm

    # -- the chain

    def open_stream(self, stream: str | Path | Stream | Iterable[DialogueSet]) -> Stream:
        """Open a stream in the settings' form, before anything is locked, made or loaded.

        One that is open stays as it is.

        Raises:
            StreamError: it cannot be read.
        """
        given = self.settings
        return open_stream(stream, given.format, self._listener.log, encoding=given.encoding, me=given.me)

    def read_answers(self) -> None:
        """Parse the file of answers that the settings name, if any, before anything is locked, made or loaded.

        Raises:
            StreamError: names the file, and the line, that cannot be read.
        """
        if self._source is None and self.settings.annotations not in ("ask", "gold"):
            self._source = self._file_answers = from_file(self.settings.annotations)

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
        opened, held_out = self.open_stream(stream), test_sets(test)
        self.read_answers()
        with self.buffer.lock:
            self._bind(opened)
            self._measuring.base(held_out)
            self._select(opened, limit, strict, on_round=lambda: self.round(opened, test=held_out))
            if self.buffer.progress.position > self.buffer.progress.round_position:
                self.round(opened, test=held_out)
            return self.report(held_out)

    def select(
        self, stream: str | Path | Stream | Iterable[DialogueSet], *, limit: int | None = None, strict: bool = False
    ) -> dict[str, Any]:
        """Read a stream and keep what the policy keeps; no rounds."""
        opened = self.open_stream(stream)
        with self.buffer.lock:
            self._bind(opened)
            self._select(opened, limit, strict)
            return self.report(None)

    def _bind(self, stream: Stream) -> None:
        """Make sure that an old state is this stream's; a new one becomes it with the first set decided."""
        made_with = self.buffer.progress.stream
        if made_with and stream.fingerprint and made_with != stream.fingerprint:
            raise StateError(
                f"state {self.state.folder}: made with another stream than {stream.name}; give that one, or a new"
                " --state"
            )
        if isinstance(stream, (FileStream, HubStream)) and stream.name != "-":
            where = stream.name if isinstance(stream, HubStream) else str(Path(stream.name).resolve())
            self.settings = replace(self.settings, stream=where)
            self._load_selector()  # a state of another model's is refused, and keeps the stream that it had
            self.state.save_settings(self.settings)

    def _select(
        self, stream: Stream, limit: int | None, strict: bool, on_round: Callable[[], object] | None = None
    ) -> None:
        """Decide on the rest of the stream; `on_round` is called where a round is due."""
        batches = MicroBatches(stream, self.buffer.progress, strict=strict, log=self._listener.log)
        ends = [] if limit is None else [limit]
        try:
            if on_round is None:
                while batch := batches.next(*ends):
                    self._decide(batch)
            else:
                self._round_if_due(on_round)  # one that was interrupted
                while batch := batches.next(self.next_round, *ends):
                    self._decide(batch)
                    self._round_if_due(on_round)
        finally:
            batches.close()
        batches.require_some()
        self.buffer.save(self.buffer.progress.stream_read(batches.invalid))

    def _round_if_due(self, on_round: Callable[[], object]) -> None:
        if self.buffer.progress.position >= self.next_round:
            on_round()

    @property
    def next_round(self) -> int:
        """Sets seen when the next round is due."""
        return self.buffer.progress.next_round(self.settings.every)

    def _decide(self, batch: MicroBatch) -> None:
        """Answer, score and decide one micro-batch; what was decided before an interruption is passed over."""
        with self.energy.stage("select"):
            self.selector.decide(self._answered(batch), self._listener.decided)
        self.meter.check("selecting")

    def _answered(self, batch: MicroBatch) -> MicroBatch:
        """The batch with missing responses given by the published model.

        As it is where all of it was decided before.
        """
        missing = [arrival.dialogue.question for arrival in batch.arrivals if arrival.dialogue.response is None]
        if not missing or batch.end <= self.buffer.progress.position:
            return batch
        with self.answering() as llm:
            answers = iter(llm.answer(missing))
        arrivals = [
            arrival
            if arrival.dialogue.response is not None
            else replace(arrival, dialogue=replace(arrival.dialogue, response=next(answers)))
            for arrival in batch.arrivals
        ]
        return replace(batch, arrivals=arrivals)

    # -- one round

    def round(
        self, stream: Stream | None = None, *, test: str | Path | Sequence[DialogueSet] | None = None
    ) -> dict[str, Any]:
        """Annotate, synthesize, train, guard, publish.

        Interrupted at any point, it goes on or starts again with the same result.

        Meanwhile other threads may call `answer` and `reply`.
        """
        return self._begin_round().run(self._source_of(stream), test_sets(test))

    def start_round(
        self, stream: Stream | None = None, *, test: str | Path | Sequence[DialogueSet] | None = None
    ) -> BackgroundRound:
        """The same in a thread of its own.

        Meanwhile other threads may answer, offer what was said to the selector and take verdicts, which are for the
        next round; streams and other rounds wait until it has ended.

        Raises:
            BusyError: another one is under way.
        """
        if self.round_is_under_way:
            raise BusyError(f"state {self.state.folder}: a round is under way already; wait for it, or stop it")
        source, held_out = self._source_of(stream), test_sets(test)
        self._background = BackgroundRound(
            lambda listener, under_way: self._begin_round(listener, under_way).run(source, held_out), self._listener
        )
        return self._background

    @property
    def round_is_under_way(self) -> bool:
        """Whether a round that was started in the background has not ended."""
        return self._background is not None and self._background.running()

    def stop_round(self) -> None:
        """End a round in the background where nothing is lost, and wait until it has; the next one goes on from it."""
        if self._background is not None:
            self._background.stop()
            self._background.join()

    def _begin_round(self, listener: Listener | None = None, under_way: UnderWay | None = None) -> Round:
        self._under_way = under_way or UnderWay()
        return Round(
            state=self.state,
            buffer=self.buffer,
            verdicts=self.verdicts,
            llm=lambda: self.llm,
            settings=self.settings,
            check=self._check,
            energy=self.energy,
            meter=self.meter,
            scores=lambda: self._measuring,
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

    @property
    def verdict_round(self) -> int:
        """Of the round that a verdict of now is for: one that is under way has read its sets already."""
        return self.round_number + self.round_is_under_way

    def metered(self, stage: str) -> contextlib.AbstractContextManager[None]:
        """Meter what is done inside as part of a stage; a round that is under way meters it with its own."""
        return contextlib.nullcontext() if self.round_is_under_way else self.energy.stage(stage)

    @property
    def round_stage(self) -> str:
        """What a round in the background is doing: "annotate", "synthesize", "train" and so on; "" where none is."""
        return self._under_way.stage if self.round_is_under_way else ""

    @property
    def round_seconds_left(self) -> float | None:
        """Of its training, at the pace so far; None where that is not known."""
        return self._under_way.seconds_left() if self.round_stage == "train" else None

    @property
    def model_is_away(self) -> bool:
        """Whether a round has all the memory that there is, and nothing can be answered or scored."""
        return self._under_way.model_is_away

    def annotate(self, stream: Stream | None = None) -> dict[str, int]:
        """Ask about at most `annotations_per_round` kept sets; counts by outcome."""
        return self._begin_round().annotate(self._source_of(stream))

    def requests(self) -> list[KeptSet]:
        """What the owner would be asked about next, in that order."""
        return requests(self.verdicts, self.verdict_round, self.settings.annotations_per_round, self.settings.ask)

    def synthesize(self) -> dict[str, Any]:
        """Write the variations that annotated sets still lack; those of sets that have left are deleted."""
        return self._begin_round().synthesize()

    def train(self, *, test: str | Path | Sequence[DialogueSet] | None = None) -> dict[str, Any]:
        """Train an adapter on what is annotated, publish it unless the guard objects, and finish the round."""
        return self._begin_round().train(test_sets(test))

    # -- the published model

    def evaluate(self, test: str | Path | Sequence[DialogueSet]) -> dict[str, Any]:
        """ROUGE-1 of the base model and of the published one, beside what knowing nothing scores."""
        held_out = test_sets(test)
        with self.buffer.lock:
            return self._measuring.evaluate(held_out)

    def held_out_answers(self, test: Sequence[DialogueSet], *, adapter: bool = True) -> tuple[str, ...]:
        """The published model's answers to a test set, each asked for once; `adapter=False`: the base model's."""
        with self.buffer.lock:
            return self._measuring.answers(test, adapter=adapter)

    def answer(
        self, questions: Sequence[str], *, adapter: bool = True, max_new_tokens: int = MAX_NEW_TOKENS
    ) -> list[str]:
        """The published model's greedy answers; `adapter=False`: the base model's.

        Raises:
            BusyError: as `answering`.
        """
        with self.answering() as llm:
            return llm.answer(questions, adapter=adapter, max_new_tokens=max_new_tokens)

    def reply(self, question: str, on_text: Callable[[str], None], *, max_new_tokens: int = MAX_NEW_TOKENS) -> str:
        """The published model's greedy answer, given piece by piece to `on_text` while it is written.

        Raises:
            BusyError: as `answering`.
        """
        with self.answering() as llm:
            return llm.stream(question, on_text, max_new_tokens=max_new_tokens)

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
