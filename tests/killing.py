"""Kills at random moments, and what must hold after each."""

import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from safetensors import safe_open

from edgepers.assets import sample_stream
from edgepers.config import Settings
from edgepers.report.report import report
from edgepers.state.buffer import Buffer
from edgepers.state.folder import State
from tests.killed import SETTINGS

LONGEST = {"select": 0.15, "batched": 0.15, "run": 1.2, "round": 60.0}  # seconds before a kill


class Killer:
    """The program of `tests.killed`, told what to do and whom to kill."""

    def __enter__(self) -> "Killer":
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.killed"],
            stdin=-1,
            stdout=-1,
            env=env,
            text=True,
            cwd=Path(__file__).parent.parent,
        )
        assert self._process.stdout is not None and self._process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __call__(self, kind: str, state: Path, seconds: float, whom: str = "parent") -> str:
        """The answer, and then nobody works on the state any more."""
        assert self._process.stdin is not None and self._process.stdout is not None
        job = {"work": kind, "state": str(state), "seconds": seconds, "whom": whom}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


def lasting(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
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


def has_schema(file: Path) -> bool:
    """Whether a buffer was ever made in it: the schema comes in one commit, before anything is promised."""
    if not file.exists():
        return False
    connection = sqlite3.connect(file)
    try:
        return bool(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    finally:
        connection.close()


class Check:
    """What is checked after each kill: the state is whole, in its budget, and holds what was acknowledged."""

    def __init__(self, state: Path, storage: int, batch: int) -> None:
        self._state, self._storage, self._batch = state, storage, batch
        self._kept: set[int] = set()
        self._read = self._evicted = 0

    def __call__(self) -> None:
        assert sum(file.stat().st_size for file in self._state.glob("buffer*")) <= self._storage
        witness = self._state.with_suffix(".witness")
        lines = witness.read_text().splitlines() if witness.exists() else []
        if not has_schema(self._state / "buffer.db"):
            assert not lines, "something was acknowledged"
            return
        with Buffer(self._state) as buffer:
            buffer.check()
            progress = buffer.progress
            kept = {k.position for k in buffer}
        assert len(kept) == progress.admitted - progress.evicted - progress.forgotten
        self._published_is_whole(progress.published)
        there, gone = self._kept, 0
        for line in lines[self._read :]:
            position, *evicted = map(int, line.split())
            assert position < progress.position
            there = (there | {position}) - set(evicted)
            gone += len(evicted)
        assert len(kept - there) <= self._batch, "only the last commit may be durable and not yet acknowledged"
        unsaid = progress.evicted - self._evicted - gone
        assert len(there - kept) <= unsaid, "an acknowledged set is missing, and nothing was evicted for it"
        self._kept, self._read, self._evicted = kept, len(lines), progress.evicted

    def _published_is_whole(self, name: str) -> None:
        if not name:
            return
        folder = self._state / "adapters" / name
        json.loads((folder / "adapter_config.json").read_text())
        with safe_open(folder / "adapter_model.safetensors", "pt") as weights:
            assert all(weights.get_tensor(key).isfinite().all() for key in weights.keys())  # noqa: SIM118


def kill_rounds(
    folder: Path, killer: Killer, kind: str, kills: int, rng: random.Random, whom: str = "parent"
) -> "Counter[str]":
    """Kill that often, checking after each kill, and return how often each process was killed.

    Every state that came to its end is compared with an uninterrupted one.
    """
    settings = SETTINGS[kind]
    rows = map(json.loads, sample_stream().read_text(encoding="utf-8").splitlines()[:16])
    answered = [row | {"response": f"You said: {row['question']}"} for row in rows]  # no time goes into answering
    (folder / "answered.jsonl").write_text("".join(json.dumps(row) + "\n" for row in answered))
    began = time.monotonic()
    assert killer(kind, folder / "whole", 600) == "done"
    share = 0.6 if whom == "parent" else 0.4  # a run has two rounds, and as many children
    longest = min(share * (time.monotonic() - began), LONGEST[kind])
    expected = lasting(folder / "whole", settings)
    counts: Counter[str] = Counter()
    states = 0
    while counts[f"{whom} killed"] < kills:
        states += 1
        state, done = folder / f"{states}", ""
        check = Check(state, settings["storage"], Settings.make(settings).admissions_per_commit)
        while counts[f"{whom} killed"] < kills and done != "done":
            done = killer(kind, state, rng.uniform(0, longest), whom)
            assert done in ("done", "killed"), done
            counts[f"{whom} {done}"] += 1
            check()
        assert killer(kind, state, 600) == "done"
        check()
        assert lasting(state, settings) == expected
        counts["ends compared"] += 1
    return counts
