"""The child process of a round.

It reads its job from standard input, does it, and writes records to standard output, a line each.

It holds no key and opens no buffer. It ends at once, wherever it is, when its parent does: what it has made is whole on
disk or not there.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import threading
import traceback
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # it looks after its parent before it loads torch
    from edgepers.meter.memory import MemoryMeter
    from edgepers.train.trainer import TrainStep

__all__ = ["Records", "main"]

_PR_SET_PDEATHSIG = 1
_ORPHANED = 3  # exit code


class Records:
    """Writes one JSON line for whatever the work reports (`job.Reporter`).

    Args:
        pipe: file descriptor that the parent reads.
        meter: of this process's memory.
    """

    def __init__(self, pipe: int, meter: "MemoryMeter") -> None:
        self._pipe = pipe
        self._meter = meter

    def write(self, kind: str, **values: Any) -> None:
        """One record, with this process's memory now and at its peak, above the interpreter's own."""
        memory = {"now_bytes": self._meter.now_bytes(), "peak_bytes": self._meter.peak_bytes()}
        line = (json.dumps({"kind": kind, **values, **memory}) + "\n").encode()
        while line:
            line = line[os.write(self._pipe, line) :]

    def stage(self, name: str) -> None:
        """A stage begins."""
        self.write("stage", name=name)

    def log(self, text: str) -> None:
        """One line for the owner."""
        self.write("log", text=text)

    def micro_batch(self, tokens: int) -> None:
        """Training begins."""
        self.write("micro_batch", tokens=tokens)

    def step(self, step: "TrainStep") -> None:
        """An optimizer step was done."""
        self.write("step", step=asdict(step))


def _end_with_parent() -> None:
    """Have the kernel end this process when the thread that started it has ended (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _read_line(pipe: int) -> bytes:
    data = bytearray()
    while not data.endswith(b"\n"):
        if not (part := os.read(pipe, 1 << 16)):
            os._exit(_ORPHANED)
        data += part
    return bytes(data)


def _watch(pipe: int) -> None:
    """End this process when nobody holds the other end of standard input any more."""
    while os.read(pipe, 4096):
        pass
    os._exit(_ORPHANED)


def _work(line: bytes, pipe: int) -> int:
    """Do the job of a line; whatever goes wrong is the last record."""
    from edgepers.model.heap import tune_malloc

    tune_malloc()  # before torch makes a tensor
    import torch

    from edgepers.device import is_out_of_memory
    from edgepers.errors import EdgepersError, MicroBatchHalvedError
    from edgepers.meter.memory import MemoryMeter
    from edgepers.model.language_model import LanguageModel
    from edgepers.model.loading import import_libraries
    from edgepers.rounds.job import Job, do

    import_libraries()
    records = Records(pipe, MemoryMeter())
    try:
        job = Job.from_json(line)
        torch.set_num_threads(job.threads)
        llm = LanguageModel.load(job.settings.model, bits=job.settings.bits)
        llm.encode_tokens = job.encode_tokens
        records.write("done", outcome=do(llm, job, records).record())
        return 0
    except BrokenPipeError:
        return _ORPHANED
    except MicroBatchHalvedError as error:
        records.write("less", what=error.what, micro_batch_tokens=error.micro_batch_tokens)
    except EdgepersError as error:
        records.write("error", name=type(error).__name__, line=str(error))
    except OSError as error:
        traceback.print_exc()
        records.write("os_error", number=error.errno, text=error.strerror, file=error.filename)
    except Exception as error:
        if is_out_of_memory(error):
            said = "the round ran out of memory; take a smaller model, or stop other programs"
            records.write("error", name="BudgetError", line=said)
        else:
            traceback.print_exc()
            what = (str(error).strip().splitlines() or [""])[0]
            records.write("fault", what=f"{type(error).__name__}: {what}" if what else type(error).__name__)
    return 1


def main() -> int:
    """Do the one job that comes on standard input: 0 done, 1 not, and then the last record says why."""
    _end_with_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    jobs, records = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what a library prints is no record
    line = _read_line(jobs)
    threading.Thread(target=_watch, args=(jobs,), name="edgepers-parent", daemon=True).start()
    return _work(line, records)


if __name__ == "__main__":
    sys.exit(main())
