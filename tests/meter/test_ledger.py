import json

import pytest

from edgepers.errors import StateError
from edgepers.meter.energy import EnergyMeter, Spent
from edgepers.meter.ledger import Ledger, energy_record, read_pending, total_energy


class Watts:
    """A source of so many watts, and the clock of its meter."""

    name, counts, totals = "watts", False, {"a": ("a",)}

    def __init__(self, watts=2.0) -> None:
        self.watts, self.now = watts, 0.0

    def read(self):
        return {"a": self.watts}

    def close(self):
        pass

    def meter(self):
        return EnergyMeter([self], clock=lambda: self.now, interval_seconds=0)


def work(ledger, source, name, seconds):
    with ledger.stage(name):
        source.now += seconds


def test_stages_are_summed_up_over_processes_until_the_round_ends(tmp_path):
    file, source = tmp_path / "rounds" / "energy.json", Watts()
    ledger = Ledger(file, source.meter(), 1)
    ledger.close()
    assert not file.exists()  # nothing was done
    ledger = Ledger(file, source.meter(), 1)
    work(ledger, source, "select", 3)
    with pytest.raises(KeyboardInterrupt), ledger.stage("train"):
        source.now += 5
        raise KeyboardInterrupt
    ledger.close()
    ledger = Ledger(file, source.meter(), 1)
    work(ledger, source, "train", 1)
    record = ledger.record()
    assert record["energy_joules"] == 18
    assert record["energy"]["stages"] == {
        "select": {"seconds": 3, "joules": 6, "idle_joules": None, "by": {"a": 6}},
        "train": {"seconds": 6, "joules": 12, "idle_joules": None, "by": {"a": 12}},
    }
    assert record["energy"]["meter"]["covers"] == "a"
    ledger.begin_round(2)
    assert ledger.record()["energy_joules"] is None and not file.exists()
    ledger.close()
    assert not file.exists()


def test_a_stage_under_way_is_written_down_so_that_a_kill_takes_little_along(tmp_path, monkeypatch):
    file, source = tmp_path / "energy.json", Watts()
    ledger = Ledger(file, source.meter(), 1)
    work(ledger, source, "select", 3)
    with ledger.stage("train"):
        source.now += 5
        ledger.keep()
        assert not file.exists()  # not yet due
        monkeypatch.setattr("edgepers.meter.ledger.KEEP_SECONDS", 0.0)
        ledger.keep()
        source.now += 2
        assert {name: spent.joules for name, spent in read_pending(file, 1)[1].items()} == {"select": 6, "train": 10}
    assert {name: spent.joules for name, spent in read_pending(file, 1)[1].items()} == {"select": 6, "train": 14}
    assert ledger.record()["energy_joules"] == 20


def test_what_was_counted_in_a_round_that_ended_is_not_counted_again(tmp_path):
    file, source = tmp_path / "energy.json", Watts()
    ledger = Ledger(file, source.meter(), 1)
    work(ledger, source, "select", 3)
    ledger.save()
    assert read_pending(file, 1)[1]["select"].joules == 6
    assert read_pending(file, 2) == (None, {})  # killed between the round's report and what follows it
    file.write_text("{")
    with pytest.raises(StateError, match=r"delete it: only what was spent"):
        read_pending(file, 1)


def test_a_state_is_the_sum_of_its_rounds_and_null_where_a_part_was_not_metered(tmp_path):
    source = Watts()
    ledger = Ledger(tmp_path / "energy.json", source.meter(), 1)
    work(ledger, source, "select", 3)
    first = json.loads(json.dumps({"train_seconds": 0.0} | ledger.record()))
    ledger.begin_round(2)
    work(ledger, source, "select", 4)
    pending = source.meter().describe(), {"select": Spent(4, 8.0, None, {"a": 8.0})}
    whole = total_energy([first], pending)
    assert (whole["energy_joules"], whole["energy"]["seconds"], whole["energy"]["meter"]["source"]) == (14, 7, "watts")
    unmetered = {"train_seconds": 2.0} | energy_record({"source": "none"}, {"train": Spent(2.0)})
    assert total_energy([first, unmetered], pending)["energy_joules"] is None
    assert total_energy([first, unmetered], pending)["energy"]["stages"]["select"]["joules"] == 14
    older = {"train_seconds": 2.0}
    assert total_energy([older, first], pending)["energy_joules"] is None
    assert total_energy([], (None, {})) == energy_record(None, {})
    assert energy_record(None, {})["energy_joules"] is None
    assert energy_record(None, {"select": Spent(1.0, 0.0)})["energy_joules"] is None  # a counter that has not moved
