import copy
import itertools
import json
import random
import re
import shutil
from pathlib import Path

import pytest
from peft import PeftModel
from transformers import AutoModelForCausalLM

from edgepers import DialogueSet, Personalizer
from edgepers.annotate.sources import Answer
from edgepers.assets import sample_stream, sample_test
from edgepers.cli import main
from edgepers.config import Settings
from edgepers.errors import EdgepersError, ModelError, StateError, StreamError, UsageError
from edgepers.meter.energy import EnergyMeter
from edgepers.model.language_model import LanguageModel
from edgepers.privacy.keyring import key_source
from edgepers.report.report import report as state_report
from edgepers.report.summary import run_summary
from edgepers.rounds.listener import Listener
from edgepers.state.buffer import Buffer
from edgepers.state.folder import State
from edgepers.state.forget import find
from edgepers.state.rollback import roll_back
from edgepers.streams import IterableStream
from edgepers.train import trainer
from tests.meters import Watts

QUICK = {
    "annotations": "gold",
    "every": 24,
    "annotations_per_round": 6,
    "generations": 1,
    "steps": 3,
    "storage": 64_000,
    "seed": 3,
    "guard": False,  # after so few steps nothing is learned
}
VOLATILE = (
    "train_seconds",
    "train_paused_seconds",
    "peak_memory_bytes",
    "state_bytes",
    "buffer_bytes",
    "buffer_peak_bytes",
    "energy_joules",
    "energy",
)


def head(source: Path, target: Path, n: int) -> Path:
    target.write_text("".join(source.read_text(encoding="utf-8").splitlines(keepends=True)[:n]), encoding="utf-8")
    return target


def mostly_answered(target: Path) -> Path:
    """60 sets of the sample, every tenth without a response: most of a run's time would go into answering them."""
    rows = [json.loads(line) for line in sample_stream().read_text(encoding="utf-8").splitlines()[:60]]
    answered = [
        row if i % 10 == 0 else row | {"response": f"You said: {row['question']}"} for i, row in enumerate(rows)
    ]
    target.write_text("".join(json.dumps(row) + "\n" for row in answered), encoding="utf-8")
    return target


@pytest.fixture
def stream(tmp_path):
    return mostly_answered(tmp_path / "stream.jsonl")


@pytest.fixture
def test_set(tmp_path):
    return head(sample_test(), tmp_path / "test.jsonl", 4)


def lasting(report):
    """A report without times, memory and energy."""
    if isinstance(report, dict):
        return {key: lasting(value) for key, value in report.items() if key not in VOLATILE}
    return [lasting(value) for value in report] if isinstance(report, list) else report


@pytest.fixture(scope="module")
def uninterrupted(llm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    stream, test_set = mostly_answered(folder / "stream.jsonl"), head(sample_test(), folder / "test.jsonl", 4)
    with Personalizer(folder / "whole", Settings(**QUICK), llm=llm) as owner:
        return folder / "whole", owner.run(stream, test=test_set)


@pytest.fixture
def whole(uninterrupted, tmp_path):
    """The report of an uninterrupted run; a copy of its state lies in tmp_path / "whole"."""
    folder, report = uninterrupted
    shutil.copytree(folder, tmp_path / "whole")
    return copy.deepcopy(report)


def test_run_reports_every_field_and_obeys_its_laws(whole, tmp_path):
    needed = (
        "seen invalid admitted evicted dropped buffer_sets buffer_bytes buffer_peak_bytes storage_budget_bytes"
        " state_bytes annotated "
        "synthesized refused rounds rouge1_before rouge1_after energy_joules seed versions"
    )
    assert not [key for key in needed.split() if key not in whole]
    assert whole["seen"] == whole["admitted"] + whole["dropped"] == 60
    assert whole["buffer_sets"] == whole["admitted"] - whole["evicted"] - whole["forgotten"]
    assert whole["buffer_bytes"] <= whole["buffer_peak_bytes"] <= whole["storage_budget_bytes"]
    assert [done["seen"] for done in whole["rounds"]] == [24, 48, 60]
    per_round = (
        "seen train_sets train_steps train_tokens train_seconds peak_memory_bytes guard_loss_before guard_loss_after "
        "rouge1 published reason adapter"
    )
    for done in whole["rounds"]:
        assert not [key for key in per_round.split() if key not in done]
    assert whole["annotated"] == 18
    stages = {"select", "annotate", "synthesize", "train", "guard", "evaluate"}
    for done in (whole, *whole["rounds"]):  # joules: where this machine has a meter that may be read
        assert done["energy_joules"] is None or done["energy_joules"] > 0
        assert set(done["energy"]["stages"]) == stages and all(
            part["seconds"] >= 0 for part in done["energy"]["stages"].values()
        )
    assert whole["energy"]["seconds"] == pytest.approx(
        sum(done["energy"]["seconds"] for done in whole["rounds"]), abs=0.1
    )
    assert json.loads(json.dumps(whole, allow_nan=False)) == whole


def test_the_same_seed_gives_the_same_report_and_running_again_changes_nothing(whole, tmp_path, llm, stream, test_set):
    with Personalizer(tmp_path / "again", Settings(**QUICK), llm=llm) as owner:
        assert lasting(owner.run(stream, test=test_set)) == lasting(whole)
    with Personalizer(tmp_path / "again", llm=llm) as owner:
        assert lasting(owner.run(stream, test=test_set)) == lasting(whole)
    with Personalizer(
        tmp_path / "again", llm=llm
    ) as owner:  # another question about the same state: only what was measured differs
        assert owner.run(stream)["seen"] == 60


def test_energy_is_told_by_stage_and_by_round_and_lasts(tmp_path, llm, stream):
    ticks = itertools.count()
    for limit in (30, None):
        energy = EnergyMeter([Watts()], clock=lambda: next(ticks), interval_seconds=0)
        with Personalizer(tmp_path / "metered", Settings(**QUICK), llm=llm, energy=energy) as owner:
            report = owner.run(stream, limit=limit)
    parts = [report, *report["rounds"]]
    assert all(part["energy_joules"] == 2 * part["energy"]["seconds"] > 0 for part in parts)
    assert report["energy_joules"] == sum(done["energy_joules"] for done in report["rounds"])
    assert (
        report["energy"]["meter"]["covers"] == "board"
        and not (tmp_path / "metered" / "rounds" / "energy.json").exists()
    )
    with Personalizer(tmp_path / "metered", llm=llm, energy=EnergyMeter([])) as owner:
        owner.run(stream)  # nothing is left to do
    with Buffer(tmp_path / "metered", keys=key_source(owner.settings)) as buffer:
        again = state_report(owner.state, buffer, owner.settings)
    assert again["energy"] == report["energy"]
    assert "J in" in run_summary(again)


class Stop(Listener):
    """Interrupts at the n-th thing that is said."""

    def __init__(self, n: int) -> None:
        self.left = n

    def _count(self, *_: object) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    decided = stage = trained = _count


def test_interrupted_anywhere_and_continued_the_report_is_the_same(whole, tmp_path, llm, stream, test_set):
    rng, attempts = random.Random(4), 0
    while True:
        attempts += 1
        try:
            with Personalizer(
                tmp_path / "pieces", Settings(**QUICK), llm=llm, listener=Stop(rng.randrange(2, 45))
            ) as owner:
                report = owner.run(stream, test=test_set)
            break
        except KeyboardInterrupt:
            assert attempts < 40
    assert attempts > 2
    assert lasting(report) == lasting(whole)


def test_the_published_adapter_loads_with_plain_peft(whole, tmp_path):
    state = State(tmp_path / "whole")
    name = (state.adapters / "current").read_text().strip()
    assert name == whole["published"]
    base = json.loads((state.adapters / name / "adapter_config.json").read_text())["base_model_name_or_path"]
    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), state.adapters / name)


class Notes(Listener):
    """Keeps what is noted."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def log(self, text: str) -> None:
        self.notes.append(text)


def spoil_step(monkeypatch, number):
    """The loss of this step, from 0, is not a number."""
    real = trainer.backward

    def backward(*args, step, **kwargs):
        loss = real(*args, step=step, **kwargs)
        return loss * float("nan") if step == number else loss

    monkeypatch.setattr(trainer, "backward", backward)


@pytest.mark.usefixtures("own_keys")
def test_training_that_ends_early_is_published_and_reported_with_sets_that_can_be_forgotten(
    whole, tmp_path, llm, monkeypatch
):
    spoil_step(monkeypatch, 2)
    listener = Notes()
    with Personalizer(tmp_path / "whole", llm=llm, listener=listener) as owner:
        done = owner.train()
        assert (done["train_steps"], done["published"]) == (2, True)
        assert re.match(r"training ended at step 3 of 3: the loss is not a finite number \(sets? ", done["train_ended"])
        assert listener.notes == ["training in micro-batches of 1024 tokens", f"round 4: {done['train_ended']}"]
        assert json.loads(json.dumps(done, allow_nan=False)) == done
        named = re.search(r"\(sets? (.*?)( and \d+ more)?\)", done["train_ended"])[1].split(", ")
        trained_on = {kept.name for kept in owner.buffer if kept.position in done["trained_on"]}
        assert set(named) <= trained_on  # a variation goes by the name of its set
        assert find(owner.buffer, name=named[0])


@pytest.mark.usefixtures("own_keys")
def test_training_without_a_good_step_is_one_line_and_leaves_what_is_published(whole, tmp_path, llm, monkeypatch):
    spoil_step(monkeypatch, 0)
    with Personalizer(tmp_path / "whole", llm=llm) as owner:
        with pytest.raises(
            ModelError,
            match=r"diverged at step 1 of 3, before any step was good: .*; lower --learning-rate .*, or forget sets? ",
        ):
            owner.train()
        assert owner.buffer.progress.published == whole["published"]
        assert owner.answer(["Hi"], max_new_tokens=2)
        assert owner.report(None)["rounds"] == whole["rounds"]


def test_rollback_goes_back_one_at_a_time_to_the_base_model(whole, tmp_path, llm):
    state = State(tmp_path / "whole")
    with Buffer(state.folder, QUICK["storage"]) as buffer:
        names = [roll_back(state, buffer)["published"] for _ in range(3)]
        assert names == ["0002", "0001", None]
        assert not (state.adapters / "current").exists()
        with pytest.raises(StateError, match="nothing to go back from"):
            roll_back(state, buffer)
    with Personalizer(state.folder, llm=llm) as owner:
        assert owner.answer(["Hi"]) == owner.answer(["Hi"], adapter=False)


@pytest.mark.usefixtures("whole")
def test_a_published_adapter_that_is_gone_is_one_line_with_its_cure_and_rollback_is_one(tmp_path, llm):
    state = State(tmp_path / "whole")
    shutil.rmtree(state.adapters / "0003")
    with Personalizer(state.folder, llm=llm) as owner:
        with pytest.raises(
            StateError, match=rf"0003: the published adapter is gone; .* 'edgepers rollback --state {state.folder}'"
        ):
            owner.answer(["Hi"])
        owner.rollback()
        assert owner.answer(["Hi"])


def test_the_reference_is_seen_by_annotation_alone(tmp_path, llm):
    sets = [
        DialogueSet(f"What is the name of thing {i}?", f"It is thing {i}.", f"SECRET{i} indeed", str(i))
        for i in range(40)
    ]
    without = [DialogueSet(s.question, s.response, None, s.id) for s in sets]
    for name, given in (("with", sets), ("without", without)):
        with Personalizer(tmp_path / name, Settings(**QUICK), llm=llm) as owner:
            owner.select(given)
            kept = {
                k.position: (k.entropy, k.domain, k.domain_score, k.embedding.tobytes(), k.question, k.response)
                for k in owner.buffer
            }
            if name == "with":
                expected = kept
                asked = owner.annotate(IterableStream(sets))
                revealed = [k for k in owner.buffer if k.annotated]
                assert sum(asked.values()) == len(revealed) == 6
                assert owner.report(None)["annotated"] == 6
    assert kept == expected
    data = (tmp_path / "without" / "buffer.db").read_bytes()
    assert b"SECRET" not in data


def test_an_owner_who_answers_nothing_blocks_nothing(tmp_path, llm, stream):
    with Personalizer(tmp_path / "s", Settings(**QUICK), llm=llm, source=lambda kept: None) as owner:
        report = owner.run(stream, limit=30)
    assert [(done["published"], done["reason"], done["adapter"]) for done in report["rounds"]] == [
        (False, "no annotated set to train on; correct a kept one, or say that it is fine", None)
    ] * 2
    assert report["published"] is None


def test_a_missing_response_is_answered_by_the_published_model(tmp_path, llm):
    with Personalizer(tmp_path / "s", Settings(**QUICK), llm=llm) as owner:
        owner.select(head(sample_stream(), tmp_path / "stream.jsonl", 16))
        kept = list(owner.buffer)
        assert [k.response for k in kept] == llm.answer([k.question for k in kept])


@pytest.mark.usefixtures("own_keys")
def test_what_needs_no_model_loads_none(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(LanguageModel, "load", lambda *args, **options: pytest.fail("a model was loaded"))
    with Personalizer(tmp_path / "whole", source=lambda kept: Answer(None)) as owner:
        asked = owner.requests()
        assert len(asked) == QUICK["annotations_per_round"]
        assert owner.annotate() == {"good": len(asked)}
        assert all(owner.buffer.get(kept.position).verdict == "good" for kept in asked)
        assert owner.rollback()["published"] == "0002"
        assert owner.report(None)["annotated"] == whole["annotated"] + len(asked)
        with pytest.raises(pytest.fail.Exception, match="a model was loaded"):
            owner.answer(["Hi"])


def test_files_that_cannot_be_read_are_said_before_anything_is_made(tmp_path, stream, capsys):
    state, bad = tmp_path / "new", tmp_path / "bad.jsonl"
    bad.write_text("oops\n")
    for arguments in (
        [str(tmp_path / "missing.jsonl")],
        [str(stream), "--eval", str(bad)],
        [str(stream), "--annotations", str(bad)],
        ["-", "--annotations", "gold"],
    ):
        assert main(["run", "--state", str(state), *arguments]) != 0
        assert len(capsys.readouterr().err.strip().splitlines()) == 1
        assert not state.exists()


def test_a_new_states_settings_are_saved_with_its_model_and_an_old_ones_when_it_opens(tmp_path, llm, stream):
    state = State(tmp_path / "s")
    with Personalizer(state.folder, Settings(**QUICK | {"model": "nowhere/at-all"})):
        pass
    assert not state.exists(), "nothing says yet that there is such a model"
    with Personalizer(state.folder, Settings(**QUICK), llm=llm) as owner:
        owner.select(stream, limit=16)
    with Personalizer(state.folder, {"every": 30}) as owner:
        assert (owner.settings.every, owner.settings.seed) == (30, QUICK["seed"])
    assert state.saved_settings()["every"] == 30


def test_before_it_is_opened_a_personalizer_has_touched_nothing_and_says_so(tmp_path):
    owner = Personalizer(tmp_path / "s", Settings(**QUICK))
    assert not (tmp_path / "s").exists()
    with pytest.raises(StateError, match="not open; write 'with Personalizer"):
        owner.requests()


def test_old_adapters_are_deleted_but_never_the_published_one_nor_the_one_before(tmp_path):
    state = State(tmp_path)
    for name in ("0001", "0002", "0003", "0004", "0005"):
        (state.adapters / name).mkdir(parents=True)
    state.prune_adapters(3, "0002", ["", "0001"])
    assert sorted(p.name for p in state.adapters.iterdir()) == ["0001", "0002", "0005"]
    state.prune_adapters(1, "0002", ["", "0001"])
    assert sorted(p.name for p in state.adapters.iterdir()) == ["0001", "0002"]


def test_another_stream_model_or_seed_is_refused_before_anything_is_harmed(whole, tmp_path, llm):
    state = tmp_path / "whole"
    before = {f: f.read_bytes() for f in state.rglob("*") if f.is_file() and f.name != "buffer.lock"}
    other = tmp_path / "other.jsonl"
    other.write_text('{"question": "Another stream?"}\n')
    for settings, source, says in (
        (QUICK, other, "made with another stream"),
        (QUICK | {"seed": 4}, other, "made with seed 3, now 4"),
        (QUICK | {"model": "elsewhere"}, other, "made with model the packaged one, now elsewhere"),
    ):
        with pytest.raises(StateError, match=says), Personalizer(state, Settings(**settings), llm=llm) as owner:
            owner.run(source)
    after = {f: f.read_bytes() for f in before}
    assert {f.name for f in before if before[f] != after[f]} <= {"buffer.db"}  # a clean exit notes the position again


def test_lexicons_of_ones_own_are_kept_by_their_absolute_path_and_no_others_are_taken_later(
    stream, tmp_path, llm, monkeypatch
):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "names.txt").write_text("emily\nmoon\ndog\n")
    monkeypatch.chdir(tmp_path)
    with Personalizer("s", Settings(**QUICK, lexicons="mine"), llm=llm) as owner:
        owner.select(stream)
        assert {kept.domain for kept in owner.buffer} <= {"names", "general"}
    assert State("s").saved_settings()["lexicons"] == str(folder.resolve())
    monkeypatch.chdir(folder)
    with Personalizer(tmp_path / "s", llm=llm) as owner:
        assert owner.selector.holds(0)
    with pytest.raises(StateError, match=r"made with other lexicons .* give --lexicons"):
        Personalizer(tmp_path / "s", Settings(**QUICK), llm=llm).open()
    (folder / "names.txt").write_text("emily\nmoon\n")
    with pytest.raises(StateError, match=r"made with other lexicons than these \(names\)"):
        Personalizer(tmp_path / "s", llm=llm).open()


def test_streams_without_a_valid_set_are_one_line(tmp_path, llm):
    empty, bad = tmp_path / "empty.jsonl", tmp_path / "bad.jsonl"
    empty.write_text("")
    bad.write_text("oops\n{}\n")
    for path, says in ((empty, "empty; give JSON Lines"), (bad, "2 malformed lines and no valid one")):
        with pytest.raises(StreamError, match=says), Personalizer(tmp_path / "s", Settings(**QUICK), llm=llm) as owner:
            owner.run(path)
    with (
        pytest.raises(StreamError, match="--strict"),
        Personalizer(tmp_path / "s", Settings(**QUICK), llm=llm) as owner,
    ):
        owner.run(bad, strict=True)
    with (
        pytest.raises(UsageError, match="has read none"),
        Personalizer(tmp_path / "new", Settings(**QUICK), llm=llm) as owner,
    ):
        owner.round()


def test_the_memory_budget_stops_a_run_in_one_line(tmp_path, llm, stream):
    with (
        pytest.raises(EdgepersError, match=r"over --memory 100\.0 MB"),
        Personalizer(tmp_path / "s", Settings(**QUICK | {"memory": 100_000_000}), llm=llm) as owner,
    ):
        owner.meter.peak_bytes = lambda: 200_000_000  # type: ignore[method-assign]
        owner.run(stream)
