"""Training waits while the device is busy, with everything saved, and comes to the same end."""

import time
from types import SimpleNamespace

import pytest

from edgepers.board import sensors as sensors_module
from edgepers.board.sensors import Sensors
from edgepers.config import Settings
from edgepers.errors import UsageError
from edgepers.train import pause as pause_module
from edgepers.train import trainer
from edgepers.train.layout import MemoryLayout
from edgepers.train.pause import CALM_LOOKS, LOOK_SECONDS, Pause
from edgepers.train.recipe import Recipe
from edgepers.train.trainer import train

PAIRS = [
    ("What is my dog called?", "Your dog is called Moon."),
    ("Where are my keys?", "Behind the door."),
    ("Hi", "Hello, Emily!"),
]
RECIPE = Recipe(steps=4, batch=3, learning_rate=2e-3, rank=4, seed=1)


def test_bounds_are_those_of_the_settings():
    assert Settings().busy_bounds == {"load": 0.5, "battery": 30.0, "temperature": 85.0}
    assert Settings(busy_load=0.25, busy_temperature=72.5).busy_bounds["temperature"] == 72.5


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("busy_load", 2.0, "--busy-load is 2.0; the most is 1.0"),
        ("busy_load", 0.0, "--busy-load is 0.0; the least is 0.01"),
        ("busy_load", float("nan"), "--busy-load is nan; give a number"),
        ("busy_temperature", -3.0, "--busy-temperature is -3.0; the least is 1"),
        ("busy_battery", 101.0, "--busy-battery is 101.0; the most is 100.0"),
    ],
)
def test_a_bound_that_cannot_be_is_named_with_its_limit(setting, value, says):
    with pytest.raises(UsageError) as error:
        Settings(**{setting: value})
    assert str(error.value) == says


def test_the_hottest_readable_zone_counts(tmp_path):
    for number, text in enumerate(["45000\n", "61500\n", "", "n/a\n"]):
        (tmp_path / f"thermal_zone{number}").mkdir()
        (tmp_path / f"thermal_zone{number}" / "temp").write_text(text)
    (tmp_path / "thermal_zone4" / "temp").mkdir(parents=True)  # reading it fails as that of a sleeping zone does
    (tmp_path / "cooling_device0").mkdir()
    assert Sensors(tmp_path).temperature() == 61.5
    assert Sensors(tmp_path / "nowhere").temperature() is None


@pytest.mark.parametrize(
    ("found", "percent"),
    [
        (None, None),
        (SimpleNamespace(percent=12, power_plugged=True), 100.0),
        (SimpleNamespace(percent=12, power_plugged=False), 12.0),
        (SimpleNamespace(percent=12, power_plugged=None), 12.0),
    ],
)
def test_the_battery_counts_when_it_is_not_plugged_in(monkeypatch, found, percent):
    monkeypatch.setattr(sensors_module.psutil, "sensors_battery", lambda: found, raising=False)
    assert Sensors().battery() == percent


def test_a_system_that_knows_no_batteries_has_none(monkeypatch):
    monkeypatch.delattr(sensors_module.psutil, "sensors_battery", raising=False)
    assert Sensors().battery() is None


def test_load_is_what_other_processes_take(monkeypatch):
    times = [(0.0, 0.0, 0.0, 0.0), (6.0, 1.0, 3.0, 2.0), (6.0, 1.0, 13.0, 2.0)]  # user, nice, idle, iowait of all cores
    own = [0.0, 4.0, 4.5]

    class Machine:
        def cpu_times(self):
            user, nice, idle, iowait = times[0]
            return SimpleNamespace(
                _asdict=lambda: {"user": user, "nice": nice, "idle": idle, "iowait": iowait, "guest": user}
            )

        def Process(self):
            return SimpleNamespace(cpu_times=lambda: SimpleNamespace(user=own[0], system=0.0))

    monkeypatch.setattr(sensors_module, "psutil", Machine())
    sensors = Sensors()
    del times[0], own[0]
    assert sensors.load() == pytest.approx(3 / 12)  # of 12 core seconds 7 were worked, 4 of them by this process
    del times[0], own[0]
    assert sensors.load() == 0.0
    assert sensors.load() == 0.0


class Scripted:
    """Sensors that say one value after another, the last one for ever."""

    def __init__(self, **said):
        self._said = said

    def _next(self, name):
        values = self._said.get(name)
        return None if values is None else values.pop(0) if len(values) > 1 else values[0]

    def load(self):
        return self._next("load")

    def battery(self):
        return self._next("battery")

    def temperature(self):
        return self._next("temperature")


@pytest.fixture
def clock(monkeypatch):
    """Time that passes by sleeping alone."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(
        pause_module,
        "time",
        SimpleNamespace(monotonic=lambda: now.seconds, sleep=lambda s: vars(now).update(seconds=now.seconds + s)),
    )
    return now


@pytest.mark.parametrize(
    ("bounds", "said", "reason"),
    [
        ({"load": 0.5}, {"load": [0.0, 0.8, 0.1, 0.9, 0.1]}, "other programs take 80 % of the cores (at most 50 %)"),
        ({"battery": 30}, {"battery": [50, 29, 40, 20, 100]}, "the battery has 29 % (at least 30 %)"),
        ({"temperature": 85}, {"temperature": [50, 91, 80, 86, 60]}, "it is 91 °C hot (at most 85 °C)"),
    ],
)
def test_it_waits_until_it_has_been_calm_and_says_why_once(clock, bounds, said, reason):
    notes, saved = [], []
    wait = Pause(bounds, notes.append, Scripted(**said))
    assert wait(lambda: saved.append(1)) == 0.0  # too early to look
    clock.seconds += LOOK_SECONDS
    waited = wait(lambda: saved.append(1))
    assert waited == LOOK_SECONDS * (2 + CALM_LOOKS)  # calm, busy, and then calm for good
    assert (len(saved), notes) == (1, [f"training pauses: {reason}", f"training goes on after {waited:.0f} s"])
    clock.seconds += LOOK_SECONDS
    assert wait(lambda: saved.append(1)) == 0.0


def test_what_cannot_be_measured_is_said_once_and_not_heeded(clock):
    notes = []
    wait = Pause({"load": 0.5, "battery": 30, "temperature": 85}, notes.append, Scripted(load=[0.1]))
    clock.seconds += LOOK_SECONDS
    assert wait(lambda: None) == 0.0
    assert notes == [
        "--pause-when-busy: this device does not tell its battery or temperature; training does not heed it"
    ]


def test_pauses_between_micro_batches_change_nothing_but_are_counted(llm, tmp_path, monkeypatch):
    one = MemoryLayout(micro_batch_tokens=1)  # each set is a micro-batch
    (tmp_path / "a").mkdir()
    plain = train(llm, PAIRS, tmp_path / "a", RECIPE, configuration=one)
    real, offset, waits = time.monotonic, [0.0], []
    monkeypatch.setattr(trainer, "time", SimpleNamespace(monotonic=lambda: real() + offset[0]))

    def pause(before):
        before()
        assert (tmp_path / "c").exists()
        waits.append(1e6)
        offset[0] += 1e6
        return 1e6

    (tmp_path / "b").mkdir()
    told = []
    paused = train(
        llm,
        PAIRS,
        tmp_path / "b",
        RECIPE,
        configuration=one,
        checkpoint=tmp_path / "c",
        pause=pause,
        on_step=told.append,
    )
    assert len(waits) == 4 * 3
    assert paused.paused_seconds == 12e6
    assert 0 < paused.seconds < 1e6
    assert all(step.tokens_per_second > 1e-3 for step in told)
    assert (paused.last_loss, paused.tokens) == (plain.last_loss, plain.tokens)
    assert (tmp_path / "a" / "adapter_model.safetensors").read_bytes() == (
        tmp_path / "b" / "adapter_model.safetensors"
    ).read_bytes()


@pytest.mark.parametrize("stop_at", [1, 5, 12])
def test_stopped_in_a_pause_it_goes_on_to_the_same_weights(llm, tmp_path, monkeypatch, stop_at):
    one = MemoryLayout(micro_batch_tokens=1)
    calls = []

    def pause(before):
        calls.append(1)
        if len(calls) == stop_at:
            before()
            raise KeyboardInterrupt
        return 0.0

    for name in "ab":
        (tmp_path / name).mkdir()
    whole = train(llm, PAIRS, tmp_path / "a", RECIPE, configuration=one)
    with pytest.raises(KeyboardInterrupt):
        train(llm, PAIRS, tmp_path / "b", RECIPE, configuration=one, checkpoint=tmp_path / "c", pause=pause)
    told = []
    again = train(llm, PAIRS, tmp_path / "b", RECIPE, configuration=one, checkpoint=tmp_path / "c", on_step=told.append)
    assert len(told) == 4 - (stop_at - 1) // 3
    assert (again.last_loss, again.first_loss, again.tokens) == (whole.last_loss, whole.first_loss, whole.tokens)
    assert (tmp_path / "a" / "adapter_model.safetensors").read_bytes() == (
        tmp_path / "b" / "adapter_model.safetensors"
    ).read_bytes()
