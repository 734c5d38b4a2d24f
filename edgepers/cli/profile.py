"""Measure what a model takes on this machine: latency, memory and energy by stage.

The round is really done, in a folder that is deleted at the end.
"""

import contextlib
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgepers.annotate.sources import Answer, Source
from edgepers.assets import sample_stream
from edgepers.board.reading import read_board
from edgepers.config import Settings, format_size
from edgepers.device import clocks_mhz, device_name
from edgepers.errors import BudgetError, MicroBatchHalvedError, StreamError, UsageError
from edgepers.files import replace_file
from edgepers.meter.energy import EnergyMeter, Spent
from edgepers.meter.track import MemoryTrack
from edgepers.model.language_model import LanguageModel
from edgepers.personalize import Personalizer
from edgepers.privacy.keyring import key_source
from edgepers.report.pictures import profile_picture
from edgepers.report.report import versions
from edgepers.rounds.listener import Listener
from edgepers.select.lexicon import load_lexicons
from edgepers.select.selector import Selector
from edgepers.state.buffer import Buffer
from edgepers.state.records import KeptSet
from edgepers.streams import Arrival, Complaints, Cursor, DialogueSet, open_stream
from edgepers.text import table
from edgepers.train.recipe import Recipe
from edgepers.train.trainer import TrainStep

__all__ = ["check_out", "profile", "profile_text", "write_profile"]

ANSWERS = 8  # questions that are answered one by one
_WARM_UP = 2  # of what is timed, at the beginning, left out

Row = dict[str, Any]
Log = Callable[[str], None]


def profile(stream: str | Path | None, settings: Settings, *, sets: int, log: Log) -> Row:
    """Measure a model: each set encoded and decided on alone, a few answers, then one whole round over the sets.

    Args:
        stream: what `run` takes; None: the packaged sample.
        settings: model, budget, and what a round does; `steps` of them are measured.
        sets: how many of the stream are taken.
        log: gets what goes on, in a line each.

    Raises:
        StreamError: the stream has no valid set.
        BudgetError: memory does not suffice.
    """
    chosen = _first(stream or sample_stream(), settings, sets, log)
    with tempfile.TemporaryDirectory(prefix="edgepers-profile-") as name:
        folder = Path(name)
        settings = replace(settings, every=len(chosen), key_file=str(folder / "key"))
        with contextlib.closing(MemoryTrack(folder, "load")) as track:
            found = _measured(folder, chosen, settings, track, log)
        return found | {"memory": track.record()}


def _first(stream: str | Path, settings: Settings, sets: int, log: Log) -> list[DialogueSet]:
    opened = open_stream(stream, settings.format, log, encoding=settings.encoding, me=settings.me)
    complaints = Complaints()
    chosen = [arrival.dialogue for arrival in itertools.islice(opened.read(Cursor(), complaints.add), sets)]
    for line in complaints.lines():
        log(f"skipped: {line}")
    if not chosen:
        raise StreamError(
            f"stream {opened.name}: no valid set in it; give JSON Lines with 'question' (--format names other forms)"
        )
    return chosen


def _measured(folder: Path, chosen: Sequence[DialogueSet], settings: Settings, track: MemoryTrack, log: Log) -> Row:
    watch = _Watch(track, log)
    meter = EnergyMeter.find()
    with Personalizer(
        folder / "state", settings, listener=watch, source=_given(chosen), energy=meter, in_process=True
    ) as owner:
        with meter.window() as loading:
            llm = owner.llm
        watch.begin("answer", f"answering {min(ANSWERS, len(chosen))} questions one by one")
        first, following = _answer_times(llm, chosen[:ANSWERS])
        watch.begin("encode, decide", f"encoding and deciding on {len(chosen)} sets one by one")
        encoding, deciding = _selector_times(llm, chosen, folder / "alone", settings)
        watch.begin("select", f"selecting from {len(chosen)} sets")
        try:
            report = owner.run(chosen)
        except MicroBatchHalvedError as error:
            raise BudgetError(
                f"{error.what}; give a smaller --memory, so that less is planned with, or a smaller model"
            ) from None
        described = meter.describe() | {"sampling_share_of_core": meter.cost_share}
    (done,) = report["rounds"]
    stages = done["energy"]["stages"]
    return {
        "model": settings.model or "the packaged model",
        "parameters": llm.parameter_count,
        "bits": settings.bits,
        "device": device_name(),
        "power_mode": read_board().power_mode,
        "clocks_mhz": clocks_mhz(),
        "sets": len(chosen),
        "latency_ms": {
            "encode": _percentiles(encoding),
            "score and decide": _percentiles(deciding),
            "first token": _percentiles(first),
            "token": _percentiles(following),
            "train step": _percentiles(watch.step_seconds),
        },
        "energy": {"meter": described, "load": loading.spent.record(), "stages": stages},
        "joules_per_set": _each(stages["select"]["joules"], len(chosen)),
        "round": _round(done, watch.step_seconds),
        "settings": {
            name: getattr(settings, name)
            for name in ("batch", "generations", "lora_rank", "lora_targets", "rehearsal", "policy")
        },
        "versions": versions(),
    }


class _Watch(Listener):
    """Tells the track of memory which stage it is, and times steps of training."""

    def __init__(self, track: MemoryTrack, log: Log) -> None:
        self._track = track
        self._log = log
        self._last: float | None = None
        self.step_seconds: list[float] = []

    def begin(self, name: str, text: str) -> None:
        self._log(text)
        self._track.stage(name)

    def log(self, text: str) -> None:
        self._log(text)

    def stage(self, name: str, round_number: int) -> None:
        self._track.stage(name)

    def trained(self, step: TrainStep) -> None:
        now = time.perf_counter()
        if self._last is not None:
            self.step_seconds.append(now - self._last)
        self._last = now


def _given(chosen: Sequence[DialogueSet]) -> Source:
    """An owner who wants the data's reference, or takes the response as it is."""
    wanted = {dialogue.question: dialogue.reference for dialogue in chosen}

    def source(kept: KeptSet) -> Answer:
        return Answer(wanted.get(kept.question))

    return source


def _answer_times(llm: LanguageModel, chosen: Sequence[DialogueSet]) -> tuple[list[float], list[float]]:
    """Seconds to the first token of each answer, and of each token after it."""
    llm.token_seconds(chosen[0].question, max_new_tokens=_WARM_UP)
    times = [llm.token_seconds(dialogue.question) for dialogue in chosen]
    return [each[0] for each in times], [seconds for each in times for seconds in each[1:]]


class _TimedEncoder:
    """The model as the selector uses it, with the seconds that each call of `encode` took."""

    def __init__(self, llm: LanguageModel) -> None:
        self._llm = llm
        self.identity, self.hidden_size = llm.identity, llm.hidden_size
        self.losses = llm.losses  # for policies that need the loss of a response
        self.topics, self.topic_width = llm.topics, llm.topic_width
        self.seconds: list[float] = []

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        began = time.perf_counter()
        hidden, offsets = self._llm.encode(texts)
        if hidden.is_cuda:
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - began)
        return hidden, offsets


def _selector_times(
    llm: LanguageModel, chosen: Sequence[DialogueSet], folder: Path, settings: Settings
) -> tuple[list[float], list[float]]:
    """Seconds of each set's encoding, and of all else until it is decided, durably where it is kept."""
    encoder, seconds = _TimedEncoder(llm), []
    keys = key_source(replace(settings, key_file=str(folder.with_suffix(".key"))))
    with Buffer(folder, settings.storage, keys=keys, batch=settings.admissions_per_commit) as buffer:
        selector = Selector(
            buffer,
            encoder,
            policy=settings.policy,
            entropy=settings.entropy,
            embedding=settings.embedding,
            count_repeats=settings.repeats == "counted",
            scored_text=settings.scored_text,
            lexicons=load_lexicons(None if settings.lexicons is None else Path(settings.lexicons)),
            seed=settings.seed,
        )
        for number, dialogue in enumerate(chosen):
            response = dialogue.response or dialogue.reference or dialogue.question
            arrival = Arrival(replace(dialogue, response=response), Cursor(number), Cursor(number + 1))
            began = time.perf_counter()
            selector.offer([arrival])
            seconds.append(time.perf_counter() - began)
    deciding = [whole - encoded for whole, encoded in zip(seconds, encoder.seconds, strict=True)]
    return encoder.seconds[_WARM_UP:], deciding[_WARM_UP:]


def _percentiles(seconds: Sequence[float]) -> Row:
    """Summarize measurements in milliseconds: count, median and 95th percentile; null where there is none."""
    found: Row = {"count": len(seconds)}
    for share in (50, 95):
        found[f"p{share}"] = round(1e3 * float(np.percentile(seconds, share)), 3) if seconds else None
    return found


def _each(joules: float | None, count: int) -> float | None:
    return None if joules is None else round(joules / count, 3)


def _round(done: Row, step_seconds: Sequence[float]) -> Row:
    """The round without its selection, as measured, and reckoned up to as many steps as a round has by default."""
    stages = {name: Spent(**part) for name, part in done["energy"]["stages"].items() if name != "select"}
    spent = sum(stages.values(), Spent())
    row: Row = {
        name: done[name]
        for name in ("train_sets", "variations", "train_steps", "train_tokens", "peak_memory_bytes", "reason")
    }
    row |= {name: value for name, value in spent.record().items() if name != "by"}
    steps = Recipe.of(Settings(), on_cpu=True).steps_for([1] * (done["train_sets"] + done["variations"]))
    if step_seconds and "train" in stages:
        more = (steps - done["train_steps"]) * float(np.median(step_seconds))
        train = stages["train"]
        joules = (
            None
            if spent.joules is None or train.joules is None
            else round(spent.joules + more * train.joules / train.seconds, 3)
        )
        row["reckoned"] = {"train_steps": steps, "seconds": round(spent.seconds + more, 3), "joules": joules}
    return row


def check_out(out: Path) -> None:
    """Find out before the work that its result has a place.

    Raises:
        UsageError: there is a file where the folder is to be.
    """
    if next(path for path in (out, *out.absolute().parents) if path.exists()).is_file():
        raise UsageError(f"--out {out}: there is a file where the folder is to be; give another name")


def write_profile(out: Path, found: Row, log: Log) -> list[Path]:
    """Write profile.json, and profile.png where matplotlib is installed; the files.

    Raises:
        StreamError: the folder cannot be written.
    """
    files = [out / "profile.json"]
    try:
        replace_file(files[0], json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        with contextlib.suppress(ImportError):
            profile_picture(out / "profile.png", found)
            files.append(out / "profile.png")
    except OSError as error:
        raise StreamError(f"{out}: the profile could not be written ({error.strerror})") from None
    if len(files) == 1:
        log("no picture: matplotlib is missing; pip install 'edgepers[plot]'")
    return files


def profile_text(found: Row) -> str:
    """Tell a profile as text: latency, memory, energy, and the round."""
    latency = [(name, each["count"], _ms(each["p50"]), _ms(each["p95"])) for name, each in found["latency_ms"].items()]
    parts = [
        (name, *(format_size(peak[kind]) for kind in peak)) for name, peak in found["memory"]["peak_by_stage"].items()
    ]
    energy = [
        (name, f"{part['seconds']:.1f}", _joules(part["joules"]), _joules(part["idle_joules"]))
        for name, part in {"load": found["energy"]["load"], **found["energy"]["stages"]}.items()
    ]
    return "\n\n".join(
        [
            f"{found['model']}, {found['parameters']:,} parameters in {found['bits']} bits, on {found['device']}",
            table(latency, ("latency", "measured", "p50 ms", "p95 ms")),
            table(parts, ("memory, peak", "host", "GPU", "storage")),
            table(energy, ("energy", "seconds", "joules", "at rest")),
            "\n".join(_round_lines(found)),
        ]
    )


def _round_lines(found: Row) -> Iterator[str]:
    done = found["round"]
    selecting = found["energy"]["stages"]["select"]
    each = 1e3 * selecting["seconds"] / found["sets"]
    yield f"a dialogue set: {each:.0f} ms, {_joules(found['joules_per_set'])} J, in {found['sets']} selected"
    yield (
        f"the round: {done['seconds']:.1f} s, {_joules(done['joules'])} J, {done['train_steps']} steps on"
        f" {done['train_sets']} sets"
    )
    if "reckoned" in done:
        more = done["reckoned"]
        yield f"reckoned for {more['train_steps']} steps: {more['seconds']:.0f} s, {_joules(more['joules'])} J"
    if done["joules"] is None:
        yield "energy was not metered; edgepers doctor says why"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _joules(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
