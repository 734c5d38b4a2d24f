"""A program to be killed: imports everything and loads the model once, then forks a process for each line it reads.

A line is JSON: {"work": "select" | "batched" | "run" | "round", "state": DIR, "seconds": X, "whom": "parent" |
"child"}. The process goes on with the state's work and appends what was acknowledged to DIR.witness; a "round" is
trained in a child of it, as the product does, but for being forked with the model loaded instead of started clean.
After X seconds the process is killed with SIGKILL, or X seconds after its child began, the child. The answer is "done"
or "killed".

Run: python -m tests.killed --kills 100, to kill parent and child of rounds a hundred times each and check what is left.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from edgepers.assets import sample_stream
from edgepers.config import Settings
from edgepers.errors import RoundError
from edgepers.evaluate import guard
from edgepers.model.language_model import LanguageModel
from edgepers.personalize import Personalizer
from edgepers.rounds import process, training_data, worker
from edgepers.rounds.listener import Listener
from edgepers.select.decision import Decision
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
ROUND = RUN | {"generations": 0, "guard": True, "guard_perplexity": 10.0}
SETTINGS = {"select": SELECT, "batched": BATCHED, "run": RUN, "round": ROUND}
CHILD_KILLED = 7  # exit code of a process whose child was
ENDS_SECONDS = 30.0  # in which a child must have ended after its parent


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


class Forked:
    """A round's child that is forked with everything loaded; what `subprocess.Popen` is to the product."""

    def __init__(self, lock: int) -> None:
        jobs, records = os.pipe(), os.pipe()
        self._code: int | None = None
        self.pid = os.fork()
        if not self.pid:
            os.dup2(jobs[0], 0)
            os.dup2(records[1], 1)
            kept = os.dup(lock)
            for fd in range(3, 256):
                if fd != kept:
                    try:
                        os.close(fd)
                    except OSError:
                        continue
            os._exit(worker.main())
        os.close(jobs[0])
        os.close(records[1])
        self.stdin, self.stdout = os.fdopen(jobs[1], "wb"), os.fdopen(records[0], "rb")

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def poll(self, flags: int = os.WNOHANG) -> int | None:
        if self._code is None:
            done, status = os.waitpid(self.pid, flags)
            self._code = os.waitstatus_to_exitcode(status) if done else None
        return self._code

    def wait(self) -> int | None:
        return self.poll(0)


def work(kind: str, state: Path, llm: Any) -> dict[str, Any]:
    """The whole work, from wherever it was left."""
    settings = Settings.make(SETTINGS[kind])
    with Personalizer(state, settings, llm=llm, listener=Witness(state.with_suffix(".witness"))) as owner:
        if kind in ("select", "batched"):
            return owner.select(FileStream(sample_stream()))
        owner._in_process = kind == "run"
        return owner.run(FileStream(state.parent / "answered.jsonl"))


def children(pid: int) -> list[int]:
    """Of a process that may have ended."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def alive(pid: int) -> bool:
    """Whether a process can still do something."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def killed(job: dict[str, Any], pid: int) -> str:
    """Kill whom the job says, at its time; what became of it."""
    whom, began, born = job.get("whom", "parent"), time.monotonic(), None
    last: list[int] = []
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return {0: "done", CHILD_KILLED: "killed"}.get(code, f"failed {code}")
        last = children(pid) or last
        born = born or (time.monotonic() if last else None)
        if whom == "parent" and time.monotonic() - began > job["seconds"]:
            break
        if whom == "child" and born and children(pid) and time.monotonic() - born > job["seconds"]:
            for child in children(pid):
                os.kill(child, signal.SIGKILL)
            whom = "nobody"
        time.sleep(0.0005)
    last = children(pid) or last
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    until = time.monotonic() + ENDS_SECONDS
    while any(map(alive, last)):
        if time.monotonic() > until:
            return "orphaned"
        time.sleep(0.001)
    return "killed"


def serve() -> None:
    """Answer lines of standard input."""
    trainer.CHECKPOINT_SECONDS = 0.0  # every step is saved, and may be gone on from
    torch.set_num_threads(1)  # no pool of threads that a fork would leave behind
    loaded = LanguageModel.load()
    models = {"select": Words(), "batched": Words(), "run": loaded, "round": loaded}
    process._started = Forked  # type: ignore[assignment]
    LanguageModel.load = classmethod(lambda *_, **__: loaded)  # type: ignore[method-assign, assignment]
    pairs = guard.pairs_of
    guard.pairs_of = lambda path: pairs(path)[:2]  # type: ignore[assignment]
    training_data.untold_asked = lambda _: []  # type: ignore[assignment]
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            try:
                work(job["work"], Path(job["state"]), models[job["work"]])
            except RoundError as error:
                os._exit(CHILD_KILLED if "SIGKILL" in str(error) else 1)
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        print(killed(job, child), flush=True)


def main() -> None:
    """Without --kills, be killed; with it, kill, and say how often."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=0, help="of the parent, and as many of the child")
    parser.add_argument("--seed", default="rounds")
    args = parser.parse_args()
    if not args.kills:
        serve()
        return
    from tests.killing import Killer, kill_rounds

    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CONFIG_HOME"] = folder  # before the program starts that makes the keys
        with Killer() as killer:
            for whom in ("parent", "child"):
                place = Path(folder) / whom
                place.mkdir()
                counts = kill_rounds(place, killer, "round", args.kills, random.Random(args.seed + whom), whom)
                print(whom, dict(counts), flush=True)


if __name__ == "__main__":
    main()
