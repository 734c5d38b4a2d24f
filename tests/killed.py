"""A program to be killed: imports everything and loads the model once, then forks a child for each line it reads.

A line is JSON: {"work": "select" | "batched" | "run", "state": DIR, "seconds": X}. The child goes on with the state's
work and appends what was acknowledged to DIR.witness; after X seconds it is killed with SIGKILL. The answer is "done"
or "killed".
"""

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from edgepers.assets import sample_stream
from edgepers.config import Settings
from edgepers.model.language_model import LanguageModel
from edgepers.personalize import Personalizer
from edgepers.rounds.listener import Listener
from edgepers.select.selector import Decision
from edgepers.streams import FileStream
from edgepers.train import trainer
from tests.conftest import WordEncoder

SELECT: dict[str, Any] = {"storage": 64_000, "every": 10_000}
BATCHED = SELECT | {"admissions_per_commit": 8}
RUN: dict[str, Any] = {
    "storage": 64_000,
    "every": 8,
    "annotations": "gold",
    "annotations_per_round": 4,
    "generations": 1,
    "steps": 2,
    "rehearsal": 0,
    "batch": 4,
    "guard": False,
}


class Words(WordEncoder):
    """Stands in for the model where only selecting is wanted."""

    device = torch.device("cpu")

    def use_adapter(self, _: object) -> None:
        """There is none."""

    def answer(self, questions: Sequence[str]) -> list[str]:
        """Something of its own for each question."""
        return [f"You asked: {question} I do not know it." for question in questions]


class Witness(Listener):
    """Writes what was acknowledged, by one write each: what is written survives the writer."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def decided(self, decision: Decision) -> None:
        if decision.admitted:
            os.write(self._file, f"{decision.position} {' '.join(map(str, decision.evicted))}\n".encode())


def work(kind: str, state: Path, llm: Any) -> dict[str, Any]:
    """The whole work, from wherever it was left."""
    settings = Settings.make({"select": SELECT, "batched": BATCHED, "run": RUN}[kind])
    with Personalizer(state, settings, llm=llm, listener=Witness(state.with_suffix(".witness"))) as owner:
        if kind != "run":
            return owner.select(FileStream(sample_stream()))
        return owner.run(FileStream(state.parent / "answered.jsonl"))


def main() -> None:
    trainer.CHECKPOINT_SECONDS = 0.0  # every step is saved, and may be gone on from
    torch.set_num_threads(1)  # no pool of threads that a fork would leave behind
    models = {"select": Words(), "batched": Words(), "run": LanguageModel.load()}
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            try:
                work(job["work"], Path(job["state"]), models[job["work"]])
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        until, status = time.monotonic() + job["seconds"], None
        while time.monotonic() < until and status is None:
            done, code = os.waitpid(child, os.WNOHANG)
            status = code if done else None
            time.sleep(0.0005)
        if status is None:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
        print({0: "done", signal.SIGKILL: "killed"}.get(status, f"failed {status}"), flush=True)


if __name__ == "__main__":
    main()
