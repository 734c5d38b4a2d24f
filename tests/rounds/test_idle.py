"""Rounds that nobody waits for: only where something is new, and the device is idle."""

import json
from types import SimpleNamespace

import pytest

from edgepers.cli import main
from edgepers.config import Settings
from edgepers.personalize import Personalizer
from edgepers.rounds import idle
from edgepers.rounds.idle import nothing_new, wait_until_idle
from edgepers.state.buffer import Buffer
from edgepers.state.folder import CHECKPOINT, State
from tests.export.test_export import ROWS
from tests.test_docs import QUICK


class Scripted:
    """Sensors whose load is one value after another, the last one for ever."""

    def __init__(self, *loads):
        self._loads = list(loads)

    def load(self):
        return self._loads.pop(0) if len(self._loads) > 1 else self._loads[0]

    def battery(self):
        return None

    def temperature(self):
        return 40.0


@pytest.fixture
def clock(monkeypatch):
    """Time that passes by sleeping alone."""
    now = SimpleNamespace(seconds=0.0)
    sleep = lambda seconds: vars(now).update(seconds=now.seconds + seconds)  # noqa: E731
    monkeypatch.setattr(idle, "time", SimpleNamespace(monotonic=lambda: now.seconds, sleep=sleep))
    return now


@pytest.mark.parametrize(
    ("loads", "reason", "seconds"),
    [
        ((0.0,), "", 6),
        ((0.9, 0.1, 0.8, 0.1), "", 12),  # calm for three looks in a row
        ((0.9,), "other programs take 90 % of the cores (at most 50 %)", 60),
        (
            (*[0.1, 0.1, 0.9] * 15, 0.1),
            "other programs take 90 % of the cores (at most 50 %)",
            60,
        ),  # never for long enough
    ],
)
def test_it_waits_for_a_calm_while_and_then_gives_up(clock, loads, reason, seconds):
    assert wait_until_idle(Settings().busy_bounds, 1, Scripted(*loads)) == reason
    assert clock.seconds == pytest.approx(seconds, abs=6)


@pytest.fixture(scope="module")
def learned(tmp_path_factory, llm):
    """A state after one round."""
    folder = tmp_path_factory.mktemp("idle")
    (folder / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS[:12]))
    with Personalizer(folder / "state", Settings.make(QUICK), llm=llm) as owner:
        owner.run(folder / "s.jsonl")
    return folder / "state"


def said(folder, **given):
    state = State(folder)
    settings = Settings.make(given, state.saved_settings())
    with Buffer(folder) as buffer:
        return nothing_new(state, buffer, settings)


def test_only_what_was_annotated_since_or_can_be_is_new(learned):
    assert said(learned, annotations="ask") == said(learned) == "nothing was annotated since round 1"
    (learned / "adapters" / CHECKPOINT).touch()
    assert said(learned, annotations="ask") == ""  # a training that was cut off goes on
    (learned / "adapters" / CHECKPOINT).unlink()
    report = learned / "rounds" / "0001.json"
    whole = report.read_text()
    trained = json.loads(whole)["trained_on"]
    report.write_text(json.dumps(json.loads(whole) | {"trained_on": trained[1:]}))
    assert said(learned, annotations="ask") == ""
    report.write_text(whole)


def test_nothing_annotated_is_nothing_new(tmp_path):
    State(tmp_path).save_settings(Settings())
    with Buffer(tmp_path, 96_000) as buffer:
        said = nothing_new(State(tmp_path), buffer, Settings(annotations="ask"))
        assert said.startswith("no annotated set to train on; correct a kept one")
        buffer.advance(buffer.progress.decided(2, 0, None, full=False))
        assert nothing_new(State(tmp_path), buffer, Settings(annotations="gold")) == ""


def test_a_round_that_is_not_due_ends_quietly_and_loads_nothing(learned, monkeypatch, capsys):
    monkeypatch.setattr("edgepers.cli.commands._open", lambda *args, **options: pytest.fail("a model was loaded"))
    assert main(["round", "--state", str(learned), "--when-idle", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"round": None, "reason": "nothing was annotated since round 1"}
    monkeypatch.setattr(idle, "nothing_new", lambda *args: "")
    monkeypatch.setattr(idle, "wait_until_idle", lambda bounds, minutes: f"{bounds['load']} for {minutes}")
    assert main(["round", "--state", str(learned), "--when-idle", "7", "--busy-load", "0.25"]) == 0
    assert capsys.readouterr().out == "no round: 0.25 for 7\n"


def test_a_state_that_is_being_worked_on_is_no_failure(learned, monkeypatch, capsys):
    monkeypatch.setattr(idle, "nothing_new", lambda *args: "")
    monkeypatch.setattr(idle, "wait_until_idle", lambda *args: "")
    with Buffer(learned, 96_000):
        assert main(["round", "--state", str(learned), "--when-idle", "1"]) == 0
        assert "another edgepers process is working on it" in capsys.readouterr().out
        assert main(["round", "--state", str(learned)]) == 1
