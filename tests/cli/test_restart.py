"""Out of memory in training: the command goes on by itself in a fresh program, where that is safe."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from edgepers.assets import sample_stream
from edgepers.cli import demo
from edgepers.cli.parser import main
from edgepers.cli.restart import can_restart
from edgepers.errors import MicroBatchHalvedError
from edgepers.privacy.handover import handed_over
from edgepers.train import fit, trainer
from tests.test_personalize import lasting

ROOT = Path(__file__).parents[2]
SETTINGS = (
    "--every 12 --steps 3 --generations 1 --annotations-per-round 4 --storage 64KB --annotations gold --batch 4".split()
    + "--rehearsal 4 --no-guard".split()
)

# A program whose memory runs out as soon as a micro-batch may have more tokens than its first argument says.
PROGRAM = """
import os, sys
room = int(sys.argv.pop(1))
print(f"begun as {os.getpid()}", file=sys.stderr)
from edgepers.cli.parser import main
from edgepers.train import trainer
real = trainer.backward
def backward(*args, micro_batch_tokens, **kwargs):
    if micro_batch_tokens > room:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
    return real(*args, micro_batch_tokens=micro_batch_tokens, **kwargs)
trainer.backward = backward
PREPARED
sys.exit(main())
"""


def start(room, *args, prepared="", **options):
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM.replace("PREPARED", prepared), str(room), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False, **options)


@pytest.fixture(autouse=True)
def one_thread():
    """As the programs have that are compared: sums over more threads are rounded otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def stream(tmp_path):
    rows = [json.loads(line) for line in sample_stream().read_text(encoding="utf-8").splitlines()[:12]]
    path = tmp_path / "s.jsonl"
    path.write_text(
        "".join(json.dumps(row | {"response": f"You said: {row['question']}"}) + "\n" for row in rows), encoding="utf-8"
    )
    return path


@pytest.mark.slow
def test_run_goes_on_by_itself_to_the_report_of_a_run_that_had_the_smaller_micro_batch_from_the_start(
    tmp_path, stream, monkeypatch, capsys
):
    done = start(512, "run", stream, "--state", tmp_path / "a", *SETTINGS, "--json")
    assert done.returncode == 0, done.stderr
    begun = [line for line in done.stderr.splitlines() if line.startswith("begun as ")]
    assert len(begun) == 2
    assert len(set(begun)) == 1  # nobody who watches the process sees it end
    says = "edgepers: training ran out of memory at step 1 of 3; going on by itself from there, with micro-batches of 512 tokens"
    assert done.stderr.splitlines().count(says) == 1
    monkeypatch.setattr(fit, "MICRO_BATCH_TOKENS", 512)
    assert main(["run", str(stream), "--state", str(tmp_path / "b"), *SETTINGS, "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert lasting(json.loads(done.stdout)) == lasting(expected)
    adapters = [(tmp_path / name / "adapters" / "0001" / "adapter_model.safetensors").read_bytes() for name in "ab"]
    assert len(expected["rounds"]) == 1
    assert adapters[0] == adapters[1]
    assert not (tmp_path / "a" / "adapters" / ".checkpoint.safetensors").exists()


@pytest.mark.slow
def test_what_was_read_from_a_pipe_is_gone_so_the_error_stands_with_its_cure(tmp_path, stream, capsys):
    answers = tmp_path / "answers.jsonl"
    rows = map(json.loads, stream.read_text(encoding="utf-8").splitlines())
    answers.write_text("".join(json.dumps({"id": row["id"], "reference": row["reference"]}) + "\n" for row in rows))
    state = tmp_path / "state"
    done = start(
        512, "run", "-", "--state", state, *SETTINGS, "--annotations", answers, input=stream.read_text(encoding="utf-8")
    )
    assert done.returncode == 1
    assert done.stderr.count("begun as ") == 1
    assert done.stderr.splitlines()[-1].endswith(
        "do it again: it goes on from there with micro-batches of 512 tokens, half as many"
    )
    capsys.readouterr()
    assert main(["round", "--state", str(state), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["train_steps"] == 3


@pytest.mark.slow
def test_the_demo_goes_on_in_its_folder(tmp_path, stream, monkeypatch):
    small = f"""
from pathlib import Path
from edgepers.cli import demo
demo.SETTINGS |= {{"steps": 2, "every": 12, "generations": 0, "annotations_per_round": 4, "rehearsal": 0, "guard": False}}
tests = demo.read_dialogue_sets(demo.sample_test())
demo.read_dialogue_sets = lambda *_, **__: [next(t for t in tests if t.id.startswith(p)) for p in ("emily-", "memorybank-", "dolly-")]
demo.sample_stream = lambda: Path({str(stream)!r})
demo._draw = lambda *_: None
"""
    done = start(512, "demo", "--out", tmp_path / "a", "--json", prepared=small)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("begun as ") == 2
    report = json.loads(done.stdout)
    assert [done["train_steps"] for done in report["rounds"]] == [2]
    monkeypatch.setattr(fit, "MICRO_BATCH_TOKENS", 512)
    with monkeypatch.context() as patch:
        for name in ("SETTINGS", "read_dialogue_sets", "sample_stream", "_draw"):
            patch.setattr(demo, name, getattr(demo, name))  # so that what the script changes is undone
        patch.setattr(demo, "SETTINGS", dict(demo.SETTINGS))
        exec(compile(small, "small", "exec"), {})
        plain = demo.demo(tmp_path / "b", log=lambda _: None)
    del report["seconds"], plain["seconds"]
    assert lasting(report) == lasting(plain)


LIMITED = """
import argparse, re, resource, sys
from pathlib import Path
from edgepers.errors import MicroBatchHalvedError
from edgepers.model.language_model import LanguageModel
from edgepers.cli.restart import can_restart, restart
from edgepers.train import trainer
real = trainer.backward
def backward(*args, **kwargs):
    if resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY:  # it stays for the program that comes after
        now = 1024 * int(re.search(r"VmData:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
        resource.setrlimit(resource.RLIMIT_DATA, (now + 160_000_000, resource.RLIM_INFINITY))
    return real(*args, **kwargs)
trainer.backward = backward
words = "the cat sat on a mat and then it went away to find some food in the house of my old friend".split()
pairs = [(" ".join(words[(i + k) % 20] for k in range(70)), " ".join(words[(3 * i + k) % 20] for k in range(120))) for i in range(16)]
folder = Path(sys.argv[1])
try:
    result = trainer.train(LanguageModel.load(), pairs, folder, trainer.Recipe(steps=2), checkpoint=folder / "checkpoint")
except MicroBatchHalvedError as error:
    if can_restart(error, argparse.Namespace()):
        restart(error)
    raise
print(result.steps)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
def test_memory_that_really_runs_out_is_gone_on_from(tmp_path):
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, env=env, check=False
    )
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    assert "going on by itself from there, with micro-batches of 512 tokens" in done.stderr


def error(tokens=512, name="0001"):
    found = MicroBatchHalvedError("training ran out of memory at step 1 of 3", tokens)
    found.round = name
    return found


def test_a_command_is_given_again_only_where_what_it_reads_is_still_there(tmp_path, stream):
    os.mkfifo(tmp_path / "pipe")

    def can(**inputs):
        return can_restart(error(), argparse.Namespace(**inputs))

    assert can()
    assert can(stream=str(stream), eval=stream, annotations="gold")
    assert can(stream="owner/data", eval=None, annotations="ask")
    assert not can(stream="-")
    assert not can(stream=str(tmp_path / "pipe"))
    assert not can(stream=str(stream), eval=tmp_path / "pipe")
    assert not can(stream=str(stream), annotations=str(tmp_path / "pipe"))


def test_a_restart_that_came_no_further_is_not_repeated(monkeypatch):
    monkeypatch.setenv("EDGEPERS_RESTARTED", f"{os.getpid()}:0001:512")
    assert not can_restart(error(), argparse.Namespace())
    assert can_restart(error(256), argparse.Namespace())
    assert can_restart(error(512, "0002"), argparse.Namespace())
    monkeypatch.setenv("EDGEPERS_RESTARTED", f"{os.getpid() + 1}:0001:512")  # of the program that started this one
    assert can_restart(error(), argparse.Namespace())


def test_a_caller_with_arguments_of_its_own_gets_the_error(tmp_path, stream, monkeypatch, capsys):
    def none_left(*_, **__):
        raise MemoryError

    monkeypatch.setattr(trainer, "backward", none_left)
    assert main(["run", str(stream), "--state", str(tmp_path / "a"), *SETTINGS]) == 1
    assert capsys.readouterr().err.splitlines()[-1].endswith("with micro-batches of 512 tokens, half as many")


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs anonymous memory")
def test_a_passphrase_is_not_asked_for_twice(tmp_path):
    code = """
import os, subprocess, sys
from pathlib import Path
from edgepers.privacy.handover import handed_over
from edgepers.privacy.keyring import KeyRing, KeySource
file, folder, state = sys.argv[1:]
source = KeySource(Path(file), passphrase=True)
if state == "new":
    os.environ["EDGEPERS_PASSPHRASE"] = "open sesame"
    ring = KeyRing.create(source, Path(folder))
    del os.environ["EDGEPERS_PASSPHRASE"]
    ring.hand_over()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:-1], ring.state])
ring = KeyRing.open(source, state, Path(folder))
assert len(ring.keys) == 1
assert ring.add() == 2
assert handed_over("another") is None
child = "import sys; from edgepers.privacy.handover import handed_over; sys.exit(handed_over(sys.argv[1]) is not None)"
sys.exit(subprocess.run([sys.executable, "-c", child, state]).returncode)
"""
    env = {name: value for name, value in os.environ.items() if name != "EDGEPERS_PASSPHRASE"} | {
        "PYTHONPATH": str(ROOT)
    }
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "key"), str(tmp_path / "state"), "new"],
        capture_output=True,
        text=True,
        env=env,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    assert handed_over("any") is None
