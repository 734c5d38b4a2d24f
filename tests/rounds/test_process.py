"""The child process of a round, seen from its parent."""

import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from edgepers.config import Settings
from edgepers.errors import BudgetError, BusyError, ModelError, RoundError, RoundStoppedError
from edgepers.evaluate.guard import Asked
from edgepers.meter.memory import MemoryMeter
from edgepers.rounds import process
from edgepers.rounds.job import Job, Outcome, do
from edgepers.rounds.process import RoundProcess, work_in_child
from edgepers.rounds.under_way import UnderWay
from edgepers.state.buffer import Buffer
from tests.rounds.children import DONE, acting

WORD = "zyxomantic"
PAIRS = [
    (f"Where is the {WORD} house?", "It is by the river. " * 12),
    ("Who lives there?", "My sister does. " * 12),
] * 2


class Heard:
    """What the work reported; `during` is called at every step."""

    def __init__(self, during=lambda: None):
        self.stages, self.notes, self.tokens, self.steps, self.during = [], [], [], [], during

    def stage(self, name):
        self.stages.append(name)

    def log(self, text):
        self.notes.append(text)

    def micro_batch(self, tokens):
        self.tokens.append(tokens)

    def step(self, step):
        self.steps.append(step)
        self.during()


def job(folder, **changes):
    given = {
        "settings": Settings(steps=3, batch=4, rehearsal=0, guard=False, generations=0),
        "pairs": PAIRS,
        "names": ["a", "b", "c", "d"],
        "rejected": [(PAIRS[0][0], "Rex.")],
        "new": len(PAIRS),
        "asked": Asked(
            told=PAIRS,
            reserve=[],
            untold=[("What is my cat called?", "That I don't know yet.")],
            others=["Who is Anna?"],
        ),
        "adapter": folder / "adapters" / "0001",
        "start": None,
        "published": None,
        "memory_bytes": 2_000_000_000,
        "encode_tokens": 8192,
        "threads": torch.get_num_threads(),
    }
    return Job(**given | changes)


def acted(monkeypatch, tmp_path, body, heard=None, under_way=None):
    """What comes of a child that runs these lines."""
    monkeypatch.setattr(process, "COMMAND", acting(body))
    return work_in_child(job(tmp_path), tmp_path, heard or Heard(), MemoryMeter(), under_way or UnderWay())


def weights(one):
    return (one.adapter / "adapter_model.safetensors").read_bytes()


def children():
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def test_a_job_and_its_outcome_come_through_the_pipe_as_they_were(tmp_path):
    one = job(
        tmp_path, settings=Settings(learning_rate=1e-3, steps=7), published=tmp_path / "0001", micro_batch_tokens=64
    )
    assert Job.from_json(one.to_json()) == one
    assert "\n" not in one.to_json()
    ended = {"step": 3, "steps": 9, "good": 2, "why": "it was", "names": ["a"]}
    done = Outcome.of({"result": DONE["result"] | {"ended": ended}, "verdict": DONE["verdict"]})
    assert done.result.ended.names == ("a",)
    assert Outcome.of(done.record()) == done


def test_a_child_learns_the_same_and_no_text_or_secret_is_in_its_arguments_or_environment(tmp_path, llm, monkeypatch):
    monkeypatch.setenv("EDGEPERS_PASSPHRASE", "open sesame")
    seen = []

    def look():
        for pid in children():
            place = Path(f"/proc/{pid}")
            seen.append((place / "cmdline").read_bytes() + (place / "environ").read_bytes())

    heard, here = Heard(look), Heard()
    one, other = job(tmp_path / "a"), job(tmp_path / "b")
    (tmp_path / "a").mkdir()
    done = work_in_child(one, tmp_path / "a", heard, MemoryMeter(), UnderWay())
    expected = do(llm, other, here)
    assert weights(one) == weights(other)
    assert (done.result.tokens, done.result.last_loss) == (expected.result.tokens, expected.result.last_loss)
    assert (done.verdict, heard.notes, heard.tokens) == (expected.verdict, here.notes, here.tokens)
    assert [step.loss for step in heard.steps] == [step.loss for step in here.steps]
    assert all(step.memory_bytes > 30_000_000 for step in heard.steps)  # the model's, at least
    mine = [text for text in seen if b"edgepers.rounds.worker" in text]
    assert mine
    for text in mine:
        assert WORD.encode() not in text and b"sesame" not in text and b"EDGEPERS_PASSPHRASE" not in text


SMALL = """
import sys
from edgepers.rounds import worker
from edgepers.train import trainer
real = trainer.backward
def backward(*args, micro_batch_tokens, step, **kwargs):
    if step == 1 and micro_batch_tokens > 512:
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"
            " bytes."
        )
    return real(*args, micro_batch_tokens=micro_batch_tokens, step=step, **kwargs)
trainer.backward = backward
sys.exit(worker.main())
"""


@pytest.mark.slow
def test_where_memory_runs_out_a_new_child_goes_on_with_half_the_micro_batch_and_says_so(tmp_path, llm, monkeypatch):
    monkeypatch.setattr(process, "COMMAND", (sys.executable, "-c", SMALL))
    one, other = job(tmp_path / "a"), job(tmp_path / "b", micro_batch_tokens=512)
    (tmp_path / "a").mkdir()
    heard = Heard()
    work_in_child(one, tmp_path / "a", heard, MemoryMeter(), UnderWay())
    do(llm, other, Heard())
    says = "training ran out of memory at step 2 of 3; going on by itself from there, with micro-batches of 512 tokens"
    assert heard.notes.count(says) == 1
    assert heard.tokens == [1024, 512]
    assert [step.step for step in heard.steps] == [1, 2, 3]  # from the checkpoint
    assert weights(one) == weights(other)  # these sets fit into either
    assert not (one.adapter.parent / ".checkpoint.safetensors").exists()


def test_memory_that_runs_out_with_the_least_micro_batch_is_one_line(tmp_path, monkeypatch):
    heard = Heard()
    less = (
        "say('less', what='training ran out of memory at step 1 of 3', micro_batch_tokens=(job['micro_batch_tokens']"
        " or 256) // 2)"
    )
    with pytest.raises(BudgetError, match=r"^training ran out of memory at step 1 of 3; take a smaller model, or stop"):
        acted(monkeypatch, tmp_path, less, heard)
    assert [int(re.search(r"(\d+) tokens", note)[1]) for note in heard.notes] == [128, 64]


def test_a_child_that_the_system_ends_for_memory_is_started_again_with_less(tmp_path, monkeypatch):
    """Linux counts such ends; one that nobody counted is somebody's."""
    monkeypatch.setattr(process, "_killed_for_memory", iter(range(100)).__next__)
    body = """
if job["micro_batch_tokens"] is None:
    say("micro_batch", tokens=256)
    step(1, 3)
    os.kill(os.getpid(), signal.SIGKILL)
assert job["micro_batch_tokens"] == 128
say("done", outcome=DONE)
"""
    heard = Heard()
    assert acted(monkeypatch, tmp_path, body, heard).verdict.reason == "acted"
    assert heard.notes == [
        "training ran out of memory after step 1 of 3, and the system ended it; going on by itself from there, with"
        " micro-batches of 128 tokens"
    ]


@pytest.mark.parametrize(
    ("body", "error", "line"),
    [
        ("say('error', name='ModelError', line='model x: no')", ModelError, "^model x: no$"),
        ("say('error', name='Exception', line='odd')", Exception, "^odd$"),
        ("say('fault', what='TypeError: ours')", RoundError, r"^the round's process failed \(TypeError: ours\)"),
        ("say('os_error', number=28, text='No space left on device', file='/x')", OSError, "No space left"),
        ("sys.exit(5)", RoundError, "ended with exit code 5 before its first step; nothing kept was harmed"),
        ("step(2, 9); os.kill(os.getpid(), signal.SIGSEGV)", RoundError, "was ended by SIGSEGV after step 2 of 9"),
        ("os.kill(os.getpid(), signal.SIGKILL)", RoundError, "was ended by SIGKILL before its first step"),
        ("print('{\"kind', end='', flush=True); os._exit(1)", RoundError, "ended with exit code 1"),
        ("os.kill(os.getpid(), signal.SIGTERM)", KeyboardInterrupt, "^$"),
    ],
)
def test_what_goes_wrong_in_the_child_is_the_same_error_here(tmp_path, monkeypatch, body, error, line):
    monkeypatch.setattr(process, "_killed_for_memory", lambda: 0)
    with pytest.raises(error, match=line):
        acted(monkeypatch, tmp_path, body)


def test_an_unknown_fault_keeps_its_traceback(tmp_path, monkeypatch, capfd):
    faulty = "import sys\nfrom edgepers.rounds import job, worker\njob.do = lambda *_: 1 / 0\nsys.exit(worker.main())"
    monkeypatch.setattr(process, "COMMAND", (sys.executable, "-c", faulty))
    with pytest.raises(RoundError, match=r"failed \(ZeroDivisionError: division by zero\); its traceback is above"):
        work_in_child(job(tmp_path), tmp_path, Heard(), MemoryMeter(), UnderWay())
    assert "Traceback (most recent call last)" in capfd.readouterr().err


def test_memory_of_the_child_counts_beside_this_ones(tmp_path, monkeypatch):
    meter = MemoryMeter()
    monkeypatch.setattr(meter, "now_bytes", lambda: 5_000)
    before = meter.peak_bytes()
    monkeypatch.setattr(process, "COMMAND", acting("say('log', text='', peak_bytes=10**12); say('done', outcome=DONE)"))
    work_in_child(job(tmp_path), tmp_path, Heard(), meter, UnderWay())
    assert before < meter.peak_bytes() == 10**12 + 5_000


def test_a_stop_from_another_thread_ends_the_child_at_once(tmp_path, monkeypatch):
    under_way = UnderWay()
    heard = Heard(lambda: threading.Thread(target=under_way.stop).start())
    with pytest.raises(RoundStoppedError, match="goes on from its last checkpoint"):
        acted(monkeypatch, tmp_path, "step(1, 9); time.sleep(600)", heard, under_way)
    assert not children()


def test_the_child_stands_still_while_others_go_first(tmp_path, monkeypatch):
    under_way = UnderWay()
    states = []

    def look():
        (child,) = children()
        with under_way.making_way(), under_way.making_way():
            states.append(state_of(child, "T"))
        states.append(state_of(child, "S"))

    body = "step(1, 2); time.sleep(0.5); say('done', outcome=DONE)"
    acted(monkeypatch, tmp_path, body, Heard(look), under_way)
    assert states == ["T", "S"]


def state_of(pid, wanted):
    """The state of a process, as Linux has it, once it is the wanted one; a signal takes a moment."""
    for _ in range(500):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state == wanted:
            break
        time.sleep(0.01)
    return state


def test_a_child_that_begins_while_others_go_first_waits_and_can_be_stopped(tmp_path, monkeypatch):
    under_way = UnderWay()
    with under_way.making_way():
        threading.Timer(0.5, under_way.stop).start()
        with pytest.raises(RoundStoppedError):
            acted(monkeypatch, tmp_path, "time.sleep(600)", None, under_way)
    assert not children()


def test_an_interrupt_here_ends_the_child(tmp_path, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        acted(monkeypatch, tmp_path, "step(1, 9); time.sleep(600)", Heard(interrupted))
    assert not children()


def test_the_child_does_not_hear_the_terminals_interrupt(tmp_path, monkeypatch):
    body = "os.kill(os.getpid(), signal.SIGINT); say('done', outcome=DONE)"
    assert acted(monkeypatch, tmp_path, body).verdict.reason == "acted"
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, set())


def test_a_state_waits_for_a_child_that_has_lost_its_parent(tmp_path, monkeypatch):
    """The folder's lock is the child's: a second round and a writer wait for it."""
    Buffer(tmp_path, 64_000).close()
    monkeypatch.setattr(process, "COMMAND", acting("sys.stdin.read()"))
    child = RoundProcess(job(tmp_path), tmp_path)
    with pytest.raises(BusyError, match="another round is at work"):
        RoundProcess(job(tmp_path), tmp_path)
    monkeypatch.setattr("edgepers.state.database._CHILD_SECONDS", 0.0)
    with pytest.raises(BusyError, match="has lost its parent is still ending"):
        Buffer(tmp_path, 64_000)
    Buffer(tmp_path).close()  # who only reads need not wait
    child.close()
    Buffer(tmp_path, 64_000).close()


def test_the_worker_ends_when_its_parent_lets_go_of_its_pipe(tmp_path):
    child = RoundProcess(job(tmp_path), tmp_path)
    child._sent.join()
    child._child.stdin.close()
    assert child._child.wait() == 3
    child.close()
