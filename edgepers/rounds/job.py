"""The model work of a round, training and the guard's verdict: the same whichever process does it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from edgepers.config import Settings, Size
from edgepers.evaluate.guard import Asked, guard
from edgepers.evaluate.verdict import Verdict
from edgepers.model.language_model import LanguageModel
from edgepers.rounds.learn import learn
from edgepers.train.divergence import Ended
from edgepers.train.trainer import TrainResult, TrainStep

__all__ = ["Job", "Outcome", "Reporter", "do"]

Pair = tuple[str, str]


class Reporter(Protocol):
    """What is told of the work while it is done."""

    def stage(self, name: str) -> None:
        """Another stage than training begins: "guard"."""

    def log(self, text: str) -> None:
        """One line: the configuration that was chosen, a pause, its end."""

    def micro_batch(self, tokens: int) -> None:
        """Training begins with micro-batches of at most so many tokens."""

    def step(self, step: TrainStep) -> None:
        """An optimizer step was done."""


class Outcome(NamedTuple):
    """What the work came to."""

    result: TrainResult
    verdict: Verdict

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"result": asdict(self.result), "verdict": asdict(self.verdict)}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Outcome":
        """From `record`."""
        result = dict(record["result"])
        if result["ended"] is not None:
            result["ended"] = Ended(**{**result["ended"], "names": tuple(result["ended"]["names"])})
        return cls(TrainResult(**result), Verdict(**record["verdict"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Everything that the work needs; it opens no buffer and knows no key.

    Attributes:
        settings: of the state.
        pairs: (question, response) to train on.
        names: of the set that each of `pairs` comes from.
        rejected: (question, response) that was called wrong.
        new: so many of `pairs` are to be learned; the others `start` has learned.
        asked: what the guard asks.
        adapter: the folder to make.
        start: the folder of the adapter to go on from; None: a fresh one.
        published: the folder of the adapter that is published; None for the base model.
        memory_bytes: that the work may take, the model included.
        encode_tokens: as `LanguageModel` has it.
        threads: that torch computes with.
        micro_batch_tokens: at most, where memory ran out with more; None: as the plan says.
    """

    settings: Settings
    pairs: Sequence[Pair]
    names: Sequence[str]
    rejected: Sequence[Pair]
    new: int
    asked: Asked
    adapter: Path
    start: Path | None
    published: Path | None
    memory_bytes: int
    encode_tokens: int
    threads: int
    micro_batch_tokens: int | None = None

    def to_json(self) -> str:
        """One line."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        values |= {"settings": asdict(self.settings), "asked": asdict(self.asked)}
        values["adapter"] = str(self.adapter.absolute())
        for name in ("published", "start"):
            values[name] = None if values[name] is None else str(values[name].absolute())
        return json.dumps(values)

    @classmethod
    def from_json(cls, line: str | bytes) -> "Job":
        """From `to_json`."""
        values = json.loads(line)
        settings = values["settings"]
        settings |= {name: Size(settings[name]) for name, (kind, _) in Settings.hints().items() if kind is Size}
        values |= {"settings": Settings(**settings), "adapter": Path(values["adapter"])}
        for name in ("published", "start"):
            values[name] = None if values[name] is None else Path(values[name])
        values |= {name: _pairs(values[name]) for name in ("pairs", "rejected")}
        asked = values["asked"]
        pairs = {name: _pairs(asked[name]) for name in ("told", "reserve", "untold")}
        values["asked"] = Asked(**pairs, others=asked["others"])
        return cls(**values)


def _pairs(rows: Sequence[Sequence[str]]) -> list[Pair]:
    return [(question, response) for question, response in rows]


def do(llm: LanguageModel, job: Job, report: Reporter) -> Outcome:
    """Train the adapter, then measure it beside what is published.

    Done again after an interruption, it goes on from the checkpoint.

    What is raised: as for `train`.
    """
    result = learn(
        llm,
        job.settings,
        job.pairs,
        job.adapter,
        report.step,
        start=job.start,
        new=job.new,
        names=job.names,
        rejected=job.rejected,
        log=report.log,
        memory_bytes=job.memory_bytes,
        micro_batch_tokens=job.micro_batch_tokens,
        on_micro_batch=report.micro_batch,
    )
    report.stage("guard")
    return Outcome(result, guard(llm, job.settings, job.asked, job.published, job.adapter))
