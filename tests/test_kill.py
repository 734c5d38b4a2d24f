"""SIGKILL at more than 300 random moments over selecting and whole rounds: nothing acknowledged is lost, and the end is the same."""

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgepers.assets import sample_stream
from edgepers.config import Settings
from edgepers.errors import StateError
from edgepers.report.report import report
from edgepers.state.buffer import Buffer
from edgepers.state.folder import State
from tests.killed import BATCHED, RUN, SELECT

KILLS = {"select": 210, "batched": 50, "run": 45}
LONGEST = {"select": 0.15, "batched": 0.15, "run": 1.2}  # seconds before a kill


@pytest.fixture(scope="module")
def killer():
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.killed"],
        stdin=-1,
        stdout=-1,
        env=env,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    assert process.stdout.readline() == "ready\n"

    def kill(kind: str, state: Path, seconds: float) -> str:
        process.stdin.write(json.dumps({"work": kind, "state": str(state), "seconds": seconds}) + "\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    yield kill
    process.stdin.close()
    process.wait()


def lasting(folder: Path, settings: dict) -> dict:
    """What must not depend on interruptions."""
    with Buffer(folder) as buffer:
        found = report(State(folder), buffer, Settings.make(settings))
        kept = [(k.position, k.question, k.response, k.reference, k.asked, k.verdict) for k in buffer]
    for name in ("state_bytes", "buffer_bytes", "buffer_peak_bytes", "energy_joules", "energy"):
        del found[name]
    for done in found["rounds"]:
        for name in ("train_seconds", "train_paused_seconds", "peak_memory_bytes", "energy_joules", "energy"):
            del done[name]
    adapters = {file.parent.name: file.read_bytes() for file in sorted((folder / "adapters").rglob("*.safetensors"))}
    return found | {"kept": kept, "weights": adapters}


class Check:
    """After each kill: the state is whole and inside its budget, and holds what was acknowledged since the last look."""

    def __init__(self, state: Path, storage: int, batch: int) -> None:
        self._state, self._storage, self._batch = state, storage, batch
        self._kept: set[int] = set()
        self._read = 0

    def __call__(self) -> None:
        assert sum(file.stat().st_size for file in self._state.glob("buffer*")) <= self._storage
        if not (self._state / "buffer.db").exists():
            return
        with (
            contextlib.suppress(StateError),
            Buffer(self._state) as buffer,
        ):  # killed before there was a schema: nothing was promised
            buffer.check()
            progress = buffer.progress
            kept = {k.position for k in buffer}
            assert len(kept) == progress.admitted - progress.evicted - progress.forgotten
            witness = self._state.with_suffix(".witness")
            lines = witness.read_text().splitlines() if witness.exists() else []
            alive = self._kept
            for line in lines[self._read :]:
                position, *evicted = map(int, line.split())
                assert position < progress.position
                alive = (alive | {position}) - set(evicted)
            unsaid = kept - alive
            assert len(unsaid) <= self._batch, "only the last commit may be durable and not yet acknowledged"
            assert unsaid or progress.rounds or alive == kept
            self._kept, self._read = kept, len(lines)


@pytest.mark.parametrize(("kind", "settings"), [("select", SELECT), ("batched", BATCHED), ("run", RUN)])
def test_killed_anywhere_and_continued_nothing_is_lost_and_the_end_is_the_same(tmp_path, killer, kind, settings):
    rows = map(json.loads, sample_stream().read_text(encoding="utf-8").splitlines()[:16])
    answered = [row | {"response": f"You said: {row['question']}"} for row in rows]  # no time goes into answering
    (tmp_path / "answered.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answered))
    began = time.monotonic()
    assert killer(kind, tmp_path / "whole", 600) == "done"
    longest = min(
        0.6 * (time.monotonic() - began), LONGEST[kind]
    )  # a kill may come anywhere, and a few continuations come to the end
    expected = lasting(tmp_path / "whole", settings)
    rng, kills, times = random.Random(kind), 0, 0
    while kills < KILLS[kind]:
        times += 1
        state, done = tmp_path / f"{times}", ""
        check = Check(state, settings["storage"], Settings.make(settings).admissions_a_commit)
        while kills < KILLS[kind] and done != "done":
            done = killer(kind, state, rng.uniform(0, longest))
            assert done in ("done", "killed")
            kills += done == "killed"
            check()
        assert killer(kind, state, 600) == "done"
        assert lasting(state, settings) == expected
