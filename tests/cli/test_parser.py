import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgepers.assets import sample_stream
from edgepers.cli import build_parser, main
from tests.processes import heed_interrupts

COMMANDS = [
    "demo",
    "run",
    "select",
    "annotate",
    "synthesize",
    "train",
    "round",
    "evaluate",
    "chat",
    "serve",
    "forget",
    "export-data",
    "status",
    "rollback",
    "lexicon",
    "export",
    "guard",
    "profile",
    "plan",
    "models",
    "doctor",
    "systemd",
]
QUICK = ["--every", "20", "--steps", "2", "--generations", "1", "--annotations-per-round", "4", "--storage", "64KB"]
QUICK += ["--no-guard"]  # after so few steps nothing is learned


def subparsers() -> dict[str, argparse.ArgumentParser]:
    action = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


@pytest.fixture
def edgepers(capsys):
    """Run a command in this process, as the console script does; a process of its own costs seconds of imports."""

    def call(*args: object) -> subprocess.CompletedProcess[str]:
        capsys.readouterr()
        code = main([str(a) for a in args])
        out, err = capsys.readouterr()
        return subprocess.CompletedProcess(args, code, out, err)

    return call


@pytest.fixture
def stream(tmp_path) -> Path:
    path = tmp_path / "s.jsonl"
    path.write_text(
        "".join(sample_stream().read_text(encoding="utf-8").splitlines(keepends=True)[:20]), encoding="utf-8"
    )
    return path


def test_every_command_has_help_a_runnable_example_and_json():
    parsers = subparsers()
    assert list(parsers) == COMMANDS
    for name, parser in parsers.items():
        text = parser.format_help()
        assert "--json" in text
        example = parser.epilog.split("\n  ")[1].split()
        assert example[:2] == ["edgepers", name]
        assert build_parser().parse_args(example[1:]).command == name


def test_help_loads_no_torch():
    code = "import sys, contextlib\nfrom edgepers.cli import main\n"
    code += "with contextlib.suppress(SystemExit): main(['--help'])\nsys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["run", "missing.jsonl", "--state", "S"], 1, "missing.jsonl: no such file"),
        (["run", "STREAM", "--state", "S", "--storage", "12 parsecs"], 2, "write 281KB"),
        (["run", "STREAM", "--state", "S", "--storage", "1KB"], 2, "--storage is 1.0 KB; the least is"),
        (["run", "STREAM", "--state", "S", "--policy", "best"], 2, "--policy 'best' is unknown; choose quality"),
        (["run", "STREAM", "--state", "S", "--every", "0"], 2, "--every is 0; the least is 1"),
        (["run", "STREAM", "--state", "S", "--every", "x"], 2, "argument --every: invalid int value: 'x'"),
        (
            ["run", "STREAM", "--state", "S", "--lexicons", "nowhere"],
            2,
            "nowhere does not exist; give a folder with one <domain>.txt",
        ),
        (["select", "STREAM", "--state", "S", "--lexicons", "EMPTY"], 2, "empty has no .txt file"),
        (["run", "STREAM", "--state", "S", "--limit", "0"], 2, "argument --limit: 0 is not a positive number"),
        (["run", "STREAM", "--state", "S", "--model", "EMPTY"], 1, "no config.json"),
        (
            ["run", "STREAM", "--state", "S", "--model", "llama3:8b"],
            1,
            "Ollama tag, whose file is not on this machine; pull it there, or give meta-llama/Meta",
        ),
        (
            ["run", "STREAM", "--state", "S", "--model", "qwen2.5:7b-instruct-q4_K_M"],
            1,
            "give Qwen/Qwen2.5-7B-Instruct",
        ),
        (["run", "STREAM", "--state", "S", "--model", "llama3.2"], 1, "give meta-llama/Llama-3.2-3B-Instruct"),
        (["run", "STREAM", "--state", "S", "--model", "mine:1b"], 1, "give the Hub name of the same model"),
        (
            ["run", "STREAM", "--state", "S", "--model", "a/Llama-3.2-1B-Instruct-Q4_K_M.gguf"],
            1,
            "give meta-llama/Llama-3.2-1B-Instruct",
        ),
        (
            ["run", "STREAM", "--state", "S", "--model", "mine.GGUF"],
            1,
            "mine.GGUF: no such file; check the path",
        ),
        (
            ["run", "STREAM", "--state", "S", "--model", "ADAPTER"],
            1,
            "a PEFT adapter, not a model; give its base model, owner/base",
        ),
        (["run", "STREAM", "--state", "S", "--model", "NAMELESS"], 1, "which adapter_config.json does not name"),
        (["run", "STREAM", "--state", "S", "--model", "./nowhere"], 1, "no such folder"),
        (["run", "STREAM", "--state", "S", "--model", "/no/where/at/all"], 1, "no such folder"),
        (["run", "STREAM", "--state", "S", "--model", "STREAM"], 1, "not a GGUF file; give one, a folder"),
        (["run", "STREAM", "--state", "S", "--format", "xml"], 2, "--format 'xml' is unknown; choose question"),
        (
            ["run", "STREAM", "--state", "S", "--annotations", "missing.jsonl"],
            1,
            "annotations missing.jsonl: No such file",
        ),
        (["run", "STREAM", "--state", "S", "--eval", "missing.jsonl"], 1, "missing.jsonl: no such file"),
        (["run", "-", "--state", "S", "--annotations", "gold"], 2, "standard input"),
        (["run", "STREAM", "--state", "S", "--memory", "100MB", "--bits", "3"], 2, "--bits is 3"),
        (
            ["run", "STREAM", "--state", "S", "--busy-load", "3"],
            2,
            "--busy-load is 3.0; the most is 1.0",
        ),
        (["run", "STREAM"], 2, "--state"),
        (["status", "--state", "S"], 1, "nothing there yet; make it with"),
        (["rollback", "--state", "S"], 1, "nothing there yet"),
        (["round", "--state", "S"], 1, "nothing there yet"),
        (["evaluate", "--state", "S"], 2, "--eval"),
        (["frobnicate"], 2, "invalid choice: 'frobnicate'"),
        ([], 2, "COMMAND"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else None,
)
def test_bad_usage_is_one_line_with_its_code_and_makes_nothing(tmp_path, stream, monkeypatch, capsys, args, code, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name, config in (("adapter", {"base_model_name_or_path": "owner/base"}), ("nameless", {})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_config.json").write_text(json.dumps(config))
    folders = {name.upper(): str(tmp_path / name) for name in ("empty", "adapter", "nameless")}
    given = [({"STREAM": str(stream)} | folders).get(a, a) for a in args]
    try:
        got = main(given)
    except SystemExit as stop:
        got = stop.code
    out, err = capsys.readouterr()
    assert (got, out) == (code, "")
    assert says in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "S" / "edgepers.toml").exists()


def test_run_prints_one_json_object_and_the_stages_follow_on_the_same_state(tmp_path, stream, edgepers):
    state = tmp_path / "state"
    done = edgepers("select", stream, "--state", state, *QUICK, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["seen"], report["rounds"]) == (20, [])
    requests = [json.loads(line) for line in edgepers("annotate", "--state", state, "--requests").stdout.splitlines()]
    assert len(requests) == 4 and all("asked" in request["why"] or "like it" in request["why"] for request in requests)
    answers = tmp_path / "answers.jsonl"
    answers.write_text(
        "".join(json.dumps(request | {"reference": "Your dog is called Moon, Emily."}) + "\n" for request in requests)
    )
    assert json.loads(edgepers("annotate", "--state", state, "--annotations", answers, "--json").stdout)[
        "outcomes"
    ] == {"corrected": 4}
    assert json.loads(edgepers("synthesize", "--state", state, "--json").stdout)["sets"] >= 1
    trained = json.loads(edgepers("train", "--state", state, "--json").stdout)
    assert (trained["round"], trained["published"]) == (1, True)
    test = tmp_path / "test.jsonl"
    test.write_text('{"question": "What is my dog called?", "reference": "Moon"}\n')
    assert json.loads(edgepers("evaluate", "--state", state, "--eval", test, "--json").stdout)["adapter"] == "0001"
    status = json.loads(edgepers("status", "--state", state, "--json").stdout)
    assert (status["annotated"], status["published"], status["next_round_at"]) == (4, "0001", 40)
    assert "0001" in edgepers("status", "--state", state).stdout
    assert json.loads(edgepers("rollback", "--state", state, "--json").stdout) == {
        "withdrawn": "0001",
        "published": None,
    }


def test_a_broken_line_is_named_and_skipped_and_a_huge_response_is_dropped(tmp_path, edgepers):
    path = tmp_path / "s.jsonl"
    huge = json.dumps({"question": "Q3", "response": " ".join(str(i) for i in range(300_000))})
    path.write_text('{"question": "Q1", "response": "R"}\n{oops\n' + huge + '\n{"question": "Q4", "response": "R"}\n')
    done = edgepers("select", path, "--state", tmp_path / "state", "--json")
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert (report["seen"], report["invalid"], report["dropped_by_reason"]) == (3, 1, {"too_big": 1})
    assert f"{path}:2: not JSON at column 2" in done.stderr
    strict = edgepers("select", path, "--state", tmp_path / "strict", "--strict")
    assert (strict.returncode, len(strict.stderr.strip().splitlines())) == (1, 1)


def test_a_second_process_is_refused_and_ctrl_c_is_one_line_that_says_how_to_go_on(tmp_path, stream, edgepers):
    state = tmp_path / "state"
    command = [sys.executable, "-m", "edgepers", "run", "-", "--state", str(state), *QUICK]
    pipe = subprocess.PIPE
    first = subprocess.Popen(command, stdin=pipe, stderr=pipe, stdout=pipe, text=True, preexec_fn=heed_interrupts)  # noqa: PLW1509 - sets one handler, takes no lock
    assert first.stdin is not None
    first.stdin.write(stream.read_text(encoding="utf-8").splitlines()[0] + "\n")
    first.stdin.flush()
    for _ in range(600):
        if (state / "edgepers.toml").exists():
            break
        time.sleep(0.1)
    second = edgepers("run", stream, "--state", state)
    assert second.returncode == 1
    assert second.stderr.startswith("edgepers: state") and "another edgepers process" in second.stderr
    assert len(second.stderr.strip().splitlines()) == 1
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=60)
    assert first.returncode == 1
    assert err.strip().splitlines()[-1].startswith("edgepers: stopped; everything decided so far is kept")
    assert edgepers("status", "--state", state, "--json").returncode == 0


def test_lexicon_suggest_prints_writes_and_loads_no_torch(tmp_path, edgepers):
    bees = "apiary propolis varroa broods waxcomb beekeeper".split()
    rows = [{"question": f"what about other{i}"} for i in range(200)]
    for i in range(0, 200, 10):
        rows[i] = {"question": f"question{i} about {' '.join(bees[(i // 10 + k) % 6] for k in range(4))}"}
    stream = tmp_path / "s.jsonl"
    stream.write_text("oops\n" + "".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out"
    done = edgepers("lexicon", "suggest", stream, "--json", "--out", out, "--with-packaged")
    found = json.loads(done.stdout)
    assert (found["sets"], found["invalid"], len(found["domains"])) == (200, 1, 1)
    assert set(found["domains"][0]["words"]) == set(bees)
    assert (out / "suggested-1.txt").exists()
    assert (out / "food.txt").exists()
    assert f"skipped: {stream}:1: not JSON" in done.stderr
    assert "1. 20 sets: " in edgepers("lexicon", "suggest", stream).stdout
    again = edgepers("lexicon", "suggest", stream, "--out", out)
    assert (again.returncode, len(again.stderr.splitlines())) == (2, 1)
    assert edgepers("lexicon", "suggest", stream, "--with-packaged").returncode == 2
    code = (
        "import sys\nfrom edgepers.cli import main\nmain(['lexicon', 'suggest',"
        f" {str(stream)!r}])\nsys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_a_forced_form_is_kept_and_a_wrong_one_is_one_line(tmp_path, edgepers):
    path = tmp_path / "s.jsonl"
    rows = [
        {"instruction": f"Name thing {i}.", "context": "", "response": f"Thing {i}.", "category": "x"} for i in range(4)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    wrong = edgepers("select", path, "--state", tmp_path / "wrong", "--format", "messages")
    assert (wrong.returncode, len(wrong.stderr.strip().splitlines())) == (1, 1)
    assert (
        f"{path}:1: 'messages' is missing, which --format messages needs; the record has the form dolly" in wrong.stderr
    )
    found = edgepers("select", path, "--state", tmp_path / "found", "--json")
    assert json.loads(found.stdout)["seen"] == 4
    assert found.stderr.count("read as dolly (") == 1
    state = tmp_path / "forced"
    assert edgepers("select", path, "--state", state, "--format", "dolly", "--json").returncode == 0
    asked = edgepers("annotate", "--state", state, "--annotations", "gold", "--json")
    assert json.loads(asked.stdout)["outcomes"] == {"corrected": 4}


def test_a_stream_that_is_no_file_is_told_apart_from_a_hub_name(tmp_path, monkeypatch, edgepers):
    from edgepers.streams import hub

    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    done = edgepers("run", "some-owner/some-data", "--state", tmp_path / "state")
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (1, 1)
    assert "pip install 'edgepers[hub]'" in done.stderr


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("GatedRepoError", "accept its licence at https://huggingface.co/owner/name, then log in with 'hf auth login'"),
        (
            "RepositoryNotFoundError",
            "no such name on the Hub, or private; check the spelling, or log in with 'hf auth login'",
        ),
        ("LocalEntryNotFoundError", "the Hub cannot be reached; once online, fetch it with 'hf download owner/name'"),
        ("OfflineModeIsEnabled", "the Hub cannot be reached; once online, fetch it with 'hf download owner/name'"),
    ],
)
def test_a_gated_missing_or_unreachable_hub_model_says_how_to_get_it(
    tmp_path, stream, monkeypatch, edgepers, kind, says
):
    import huggingface_hub.errors
    from transformers import AutoConfig

    def refuse(*args, **options):  # as transformers reports it: its own error of two lines, raised from the Hub's
        error = getattr(huggingface_hub.errors, kind)
        raise OSError("You are trying to access a gated repo.\nMake sure to have access to it.") from error.__new__(
            error
        )

    monkeypatch.setattr(AutoConfig, "from_pretrained", refuse)
    done = edgepers("run", stream, "--state", tmp_path / "state", "--model", "owner/name")
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (1, 1)
    assert "--model owner/name: " in done.stderr
    assert says in done.stderr


def test_a_path_that_cannot_be_made_is_one_line_and_an_unknown_trouble_keeps_its_traceback(
    tmp_path, stream, monkeypatch, capsys
):
    (tmp_path / "file").write_text("no folder")
    assert main(["select", str(stream), "--state", str(tmp_path / "file" / "deep" / "state")]) == 1
    assert "check that path and its permissions" in capsys.readouterr().err

    def troubled(_):
        raise OSError(5, "Input/output error", "/var/lib/elsewhere")

    monkeypatch.setattr("edgepers.cli.commands.status", troubled)
    with pytest.raises(OSError, match="elsewhere"):
        main(["status", "--state", str(tmp_path)])
    monkeypatch.setattr("edgepers.cli.commands.status", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    assert main(["status", "--state", str(tmp_path)]) == 1
    assert "free some space" in capsys.readouterr().err
