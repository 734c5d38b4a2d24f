"""A round's model work in a child process.

Started clean, told by a pipe, started again with less where memory runs out.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgepers import errors
from edgepers.errors import BudgetError, BusyError, EdgepersError, RoundError
from edgepers.meter.memory import MemoryMeter
from edgepers.rounds.job import Job, Outcome, Reporter
from edgepers.rounds.under_way import UnderWay
from edgepers.train.layout import LEAST_TOKENS, MICRO_BATCH_TOKENS
from edgepers.train.trainer import TrainStep

__all__ = ["RoundProcess", "work_in_child"]

COMMAND = (sys.executable, "-m", "edgepers.rounds.worker")
_SECRETS = ("EDGEPERS_PASSPHRASE", "CREDENTIALS_DIRECTORY")  # of the environment: what unwraps the state's key
_SAFE_FOLDER = "/"  # where the child starts: nothing that lies in the present folder is imported


class RoundProcess:
    """One child at its job. It dies with this process; the state's folder is locked until it has.

    Args:
        job: goes to it through its standard input.
        folder: of the state.

    Raises:
        BusyError: another round's child still works on the folder.
    """

    def __init__(self, job: Job, folder: Path) -> None:
        lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._child = _started(lock)
        except BlockingIOError:
            raise BusyError(f"state {folder}: another round is at work on it; wait for it, or stop it") from None
        finally:
            os.close(lock)  # the child's own copy holds the lock
        self._sent = threading.Thread(target=self._send, args=(job.to_json() + "\n",), daemon=True)
        self._sent.start()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._child.pid

    def _send(self, text: str) -> None:
        assert self._child.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it has ended; its records or its exit code say why
            self._child.stdin.write(text.encode())
            self._child.stdin.flush()

    def records(self) -> Iterator[dict[str, Any]]:
        """What it reports, until it ends; a last line that was cut off is none."""
        assert self._child.stdout is not None
        for line in self._child.stdout:
            if line.endswith(b"\n"):
                yield json.loads(line)

    def kill(self) -> None:
        """End it now; from any thread."""
        self._child.kill()

    def hold(self, still: bool) -> None:
        """Have it stand still, wherever it is, or go on; from any thread."""
        self._child.send_signal(signal.SIGSTOP if still else signal.SIGCONT)

    def close(self) -> int:
        """End it, and wait until it has; its exit code, negative for a signal."""
        self._child.kill()
        code = self._child.wait()
        self._sent.join()
        for pipe in (self._child.stdin, self._child.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        return code

    def ended(self) -> int:
        """Wait until it has ended by itself; its exit code, negative for a signal."""
        return self._child.wait()


def _started(lock: int) -> "subprocess.Popen[bytes]":
    """A fresh interpreter, which imports what this one would and hears no interrupt of the terminal.

    This process ends it.
    """
    paths = [str(Path(entry or ".").absolute()) for entry in sys.path]
    env = {name: value for name, value in os.environ.items() if name not in _SECRETS}
    env |= {"PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, cwd=_SAFE_FOLDER, pass_fds=(lock,)
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def work_in_child(job: Job, folder: Path, report: Reporter, meter: MemoryMeter, under_way: UnderWay) -> Outcome:
    """Do the job in a child process.

    Where memory runs out there, another child goes on from its checkpoint with half the micro-batch.

    Args:
        job: what is to be done.
        folder: of the state.
        report: is told what the child reports.
        meter: of this process; the child's memory is added to its peak.
        under_way: is told of each child, which a stop kills.

    Raises:
        BudgetError: memory ran out with the least micro-batch, or before there was one.
        RoundError: the child was ended by somebody, or by a fault of ours.
        EdgepersError: of the class and with the line that the child had.
        KeyboardInterrupt: the child was asked to end (SIGTERM, SIGINT), as this process will be.
    """
    while True:
        attempt = _Attempt(report, meter, job.micro_batch_tokens or MICRO_BATCH_TOKENS)
        killed_before = _killed_for_memory()
        process = RoundProcess(job, folder)
        try:
            under_way.works_in(process.kill, process.hold)
            for record in process.records():
                attempt.take(record)
            code = process.ended()
        finally:
            process.close()
        under_way.check()
        if attempt.outcome is not None:
            return attempt.outcome
        if code == -signal.SIGKILL and _killed_for_memory() > killed_before:
            attempt.what = f"training ran out of memory {attempt.where}, and the system ended it"
            attempt.less = attempt.tokens // 2
        if attempt.less is None:
            raise attempt.failure(code)
        if attempt.less < LEAST_TOKENS:
            raise BudgetError(f"{attempt.what}; take a smaller model, or stop other programs")
        report.log(f"{attempt.what}; going on by itself from there, with micro-batches of {attempt.less} tokens")
        job = replace(job, micro_batch_tokens=attempt.less)


class _Attempt:
    """What one child has reported.

    Attributes:
        outcome: of the work; None until it is done.
        tokens: of a micro-batch, at most.
        less: micro-batch of the next attempt, where memory ran out.
        what: happened then.
        where: it was last seen, in words.
    """

    def __init__(self, report: Reporter, meter: MemoryMeter, tokens: int) -> None:
        self._report = report
        self._meter = meter
        self._failed: BaseException | None = None
        self.outcome: Outcome | None = None
        self.tokens = tokens
        self.less: int | None = None
        self.what = ""
        self.where = "before its first step"

    def take(self, record: Mapping[str, Any]) -> None:
        """One record of the child's."""
        kind = record["kind"]
        self._meter.add_child(record["peak_bytes"])
        if kind == "stage":
            self._report.stage(record["name"])
        elif kind == "log":
            self._report.log(record["text"])
        elif kind == "micro_batch":
            self.tokens = record["tokens"]
            self._report.micro_batch(self.tokens)
        elif kind == "step":
            step = TrainStep(**record["step"])
            self.where = f"after step {step.step} of {step.steps}"
            self._report.step(replace(step, memory_bytes=self._meter.now_bytes() + record["now_bytes"]))
        elif kind == "done":
            self.outcome = Outcome.of(record["outcome"])
        elif kind == "less":
            self.what, self.less = record["what"], record["micro_batch_tokens"]
        else:
            self._failed = _failure(record)

    def failure(self, code: int) -> BaseException:
        """Why there is no outcome."""
        if self._failed is not None:
            return self._failed
        if code in (-signal.SIGTERM, -signal.SIGINT):
            return KeyboardInterrupt()
        try:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        except ValueError:
            how = f"was ended by signal {-code}"
        return RoundError(
            f"the round's process {how} {self.where}; nothing kept was harmed: the same command goes on from its last"
            " checkpoint"
        )


def _failure(record: Mapping[str, Any]) -> BaseException:
    """The error of a record, as it was raised in the child."""
    if record["kind"] == "os_error":
        return OSError(record["number"], record["text"], record["file"])
    if record["kind"] == "fault":
        return RoundError(f"the round's process failed ({record['what']}); its traceback is above, please report it")
    kind = getattr(errors, record["name"], EdgepersError)
    return kind(record["line"]) if issubclass(kind, EdgepersError) else EdgepersError(record["line"])


def _killed_for_memory() -> int:
    """How many processes Linux has ended for want of memory: of the whole machine and of this control group.

    0 where it does not tell.
    """
    found = 0
    for path in (Path("/proc/vmstat"), *_memory_events()):
        with contextlib.suppress(OSError, ValueError):
            for line in path.read_text().splitlines():
                name, _, value = line.partition(" ")
                found += int(value) if name == "oom_kill" else 0
    return found


def _memory_events() -> Iterator[Path]:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                yield Path("/sys/fs/cgroup") / line[3:].strip().lstrip("/") / "memory.events"
