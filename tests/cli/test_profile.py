"""What `edgepers profile` measures: one run on few sets, with a meter of two watts."""

import copy
import itertools
import json
import os
import sys
from functools import partial
from pathlib import Path

import pytest

from edgepers.cli import main
from edgepers.cli.profile import profile_text, write_profile
from edgepers.meter.energy import EnergyMeter
from tests.meters import Watts

QUICK = ["--sets", "8", "--steps", "3", "--generations", "1", "--rehearsal", "0"]
STAGES = ["select", "annotate", "synthesize", "train", "guard"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The record, and the folder that it was written to."""
    out = tmp_path_factory.mktemp("profile") / "out"
    configured = Path(os.environ["XDG_CONFIG_HOME"]) / "edgepers"
    keys = sorted(configured.rglob("*"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            EnergyMeter,
            "find",
            classmethod(lambda cls: cls([Watts()], clock=partial(next, itertools.count()), interval_seconds=0)),
        )
        assert main(["profile", *QUICK, "--out", str(out)]) == 0
    assert sorted(configured.rglob("*")) == keys  # its keys went with its folder
    return json.loads((out / "profile.json").read_text()), out


def test_latencies_are_told_in_percentiles_and_counted(measured):
    latency = measured[0]["latency_ms"]
    assert {name: each["count"] for name, each in latency.items() if name != "token"} == {
        "encode": 6, "score and decide": 6, "first token": 8, "train step": 2,
    }  # fmt: skip
    assert all(0 < each["p50"] <= each["p95"] for each in latency.values())


def test_memory_is_told_by_stage_and_over_time(measured):
    memory = measured[0]["memory"]
    assert [stage["name"] for stage in memory["stages"]] == ["load", "answer", "encode, decide", *STAGES]
    assert memory["peak_by_stage"].keys() == {"load", "answer", "encode, decide", *STAGES}
    assert all(peak["host_bytes"] > 50e6 for peak in memory["peak_by_stage"].values())
    assert memory["peak_by_stage"]["guard"]["storage_bytes"] > memory["peak_by_stage"]["select"]["storage_bytes"] > 0
    assert len({len(memory[name]) for name in ("seconds", "host_bytes", "gpu_bytes", "storage_bytes")}) == 1


def test_energy_is_told_by_stage_by_set_and_for_the_round(measured):
    found = measured[0]
    assert list(found["energy"]["stages"]) == STAGES and found["energy"]["meter"]["covers"] == "board"
    for part in (found["energy"]["load"], *found["energy"]["stages"].values()):
        assert part["joules"] == 2 * part["seconds"] > 0
    assert found["joules_per_set"] == pytest.approx(found["energy"]["stages"]["select"]["joules"] / 8, abs=0.001)
    done = found["round"]
    assert done["joules"] == pytest.approx(
        sum(found["energy"]["stages"][name]["joules"] for name in STAGES[1:]), abs=0.01
    )
    assert done["train_steps"] == 3 and done["reckoned"]["train_steps"] == 60
    step = found["latency_ms"]["train step"]["p50"] / 1000
    assert done["reckoned"]["seconds"] == pytest.approx(done["seconds"] + 57 * step, rel=1e-3)
    assert done["reckoned"]["joules"] > done["joules"]


def test_without_a_meter_joules_are_null_and_the_text_and_the_picture_say_so(measured, tmp_path):
    found = copy.deepcopy(measured[0])
    assert "at rest" in profile_text(found) and "not metered" not in profile_text(found)
    for part in (
        found["energy"]["load"],
        *found["energy"]["stages"].values(),
        found["round"],
        found["round"]["reckoned"],
    ):
        part["joules"] = part["idle_joules"] = None
    found["joules_per_set"] = None
    assert "energy was not metered; edgepers doctor says why" in profile_text(found)
    assert [file.name for file in write_profile(tmp_path, found, pytest.fail)] == ["profile.json", "profile.png"]
    assert (tmp_path / "profile.png").stat().st_size > 10_000


def test_the_picture_is_drawn_and_without_matplotlib_there_is_a_line_about_it(measured, tmp_path, monkeypatch):
    found, out = measured
    assert (out / "profile.png").stat().st_size > 10_000
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    told = []
    assert write_profile(tmp_path, found, told.append) == [tmp_path / "profile.json"]
    assert told == ["no picture: matplotlib is missing; pip install 'edgepers[plot]'"]


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["missing.jsonl"], 1, "missing.jsonl: no such file"),
        (["EMPTY"], 1, "empty.jsonl: no valid set in it"),
        (["--sets", "0"], 2, "--sets: 0 is not a positive number"),
        (["--bits", "3"], 2, "--bits is 3"),
        (["--model", "./nowhere"], 1, "no such folder"),
        (["--out", "EMPTY"], 2, "there is a file where the folder is to be"),
        (["--out", "EMPTY/below"], 2, "there is a file where the folder is to be"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_usage_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, capsys, args, code, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").touch()
    try:
        got = main(["profile", *(arg.replace("EMPTY", "empty.jsonl") for arg in args)])
    except SystemExit as stop:
        got = stop.code
    out, err = capsys.readouterr()
    assert (got, out) == (code, "")
    assert says in err and len(err.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["empty.jsonl"]
