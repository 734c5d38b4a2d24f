"""After a whole round nothing that was said is readable anywhere, and nothing left the machine."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgepers.cli import main
from edgepers.state.buffer import Buffer
from edgepers.state.folder import State

RARE = ("zyxomantic", "quibblefrost", "Ñandúbrillo", "雪兔子糖", "murgleflop", "plinthwort")
QUICK = [
    "--annotations",
    "gold",
    "--every",
    "12",
    "--annotations-per-round",
    "6",
    "--generations",
    "1",
    "--steps",
    "2",
    "--storage",
    "64KB",
    "--rehearsal",
    "0",
]


def said() -> list[dict[str, str]]:
    rows = []
    for i in range(12):
        word = RARE[i % len(RARE)]
        rows.append(
            {
                "id": f"{word}-id-{i}",
                "question": f"What is {word} number {i} to me?",
                "response": f"I think {word} is a {word}.",
                "reference": f"Your {word} is the dog called {word} {i}.",
            }
        )
    return rows


def edgepers(*args: object, env: dict[str, str], before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "edgepers", *map(str, args)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A machine of its own: home, configuration, temporary files, and a state after one round.

    Without a network where that can be had.
    """
    folder = tmp_path_factory.mktemp("machine")
    for name in ("home", "tmp", "state"):
        (folder / name).mkdir()
    (folder / "stream.jsonl").write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in said()), encoding="utf-8"
    )
    env = os.environ | {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"}
    env |= {"XDG_CONFIG_HOME": str(folder / "home" / "config"), "XDG_CACHE_HOME": str(folder / "home" / "cache")}
    cut = (
        ("unshare", "--net")
        if shutil.which("unshare") and not subprocess.run(["unshare", "--net", "true"], check=False).returncode
        else ()
    )
    done = edgepers("run", folder / "stream.jsonl", "--state", folder / "state", *QUICK, "--json", env=env, before=cut)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["annotated"] == 6
    assert report["rounds"][0]["train_steps"] == 2
    for command in (["status", "--json"], ["annotate", "--requests"]):
        assert edgepers(*command, "--state", folder / "state", env=env).returncode == 0
    return folder, env, cut


def test_no_rare_word_is_readable_in_any_file(home):
    folder, _, _ = home
    files = [file for part in ("home", "tmp", "state") for file in (folder / part).rglob("*") if file.is_file()]
    assert {"buffer.db", "variations.sealed", "adapter_model.safetensors", "0001.json", "0001.csv"} <= {
        file.name for file in files
    }
    for file in files:
        data = file.read_bytes()
        for word in RARE:
            for written in (word, word.lower(), json.dumps(word)[1:-1]):
                assert written.encode() not in data, (file, word)


def test_the_words_are_there_for_who_has_the_key(home, monkeypatch, capsys):
    folder, env, _ = home
    monkeypatch.setenv("XDG_CONFIG_HOME", env["XDG_CONFIG_HOME"])
    state = State(folder / "state")
    with Buffer(state.folder) as buffer:
        assert {kept.id for kept in buffer} == {row["id"] for row in said()}
        assert state.variations(buffer.sealer)
    assert main(["export-data", "--state", str(state.folder), "--out", str(folder / "mine.jsonl")]) == 0
    assert "12 sets" in capsys.readouterr().out
    mine = [json.loads(line) for line in (folder / "mine.jsonl").read_text(encoding="utf-8").splitlines()]
    assert (folder / "mine.jsonl").stat().st_mode & 0o777 == 0o600
    for row, record in zip(said(), mine, strict=True):
        assert (record["id"], record["question"], record["response"]) == (row["id"], row["question"], row["response"])
        assert record["reference"] in (None, row["reference"])
    assert sum(record["verdict"] == "corrected" for record in mine) == 6
    assert main(["export-data", "--state", str(state.folder), "--out", str(folder / "mine.jsonl")]) == 2
    assert main(["export-data", "--state", str(state.folder), "--json"]) == 0
    assert [record["id"] for record in json.loads(capsys.readouterr().out)["records"]] == [row["id"] for row in said()]


def test_a_round_needs_no_network(home):
    _, _, cut = home
    if not cut:
        pytest.skip("network namespaces cannot be made here")


def test_no_core_file_is_written(home):
    folder, env, _ = home
    code = (
        "import resource, sys\nfrom edgepers.cli import main\nresource.setrlimit(resource.RLIMIT_CORE, (4096,"
        " resource.RLIM_INFINITY))\n"
        "main(sys.argv[1:])\nprint(resource.getrlimit(resource.RLIMIT_CORE)[0])"
    )
    command = [sys.executable, "-c", code, "status", "--state", str(folder / "state")]
    assert subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.split()[-1] == "0"


def test_state_without_its_key_is_one_line(home, tmp_path, capsys, monkeypatch):
    folder, _, _ = home
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for command in ("status", "export-data", "rollback", "chat"):
        assert main([command, "--state", str(folder / "state")]) == 1
        err = capsys.readouterr().err
        assert "is missing; restore it or give --key-file" in err
        assert len(err.strip().splitlines()) == 1


def test_the_key_file_is_remembered_and_refused_inside_the_state(tmp_path, capsys, llm):
    stream = Path(tmp_path / "s.jsonl")
    stream.write_text('{"question": "Q", "response": "R"}\n')
    run = ["select", str(stream), "--state", str(tmp_path / "state")]
    assert main([*run, "--key-file", str(tmp_path / "state" / "key")]) == 1
    assert "lies inside the state folder" in capsys.readouterr().err
    assert main([*run, "--key-file", str(tmp_path / "key")]) == 0
    for command in (
        run,
        ["status", "--state", str(tmp_path / "state")],
        ["doctor", "--state", str(tmp_path / "state")],
    ):
        main(command)
        assert "is missing" not in capsys.readouterr().err
    (tmp_path / "key").rename(tmp_path / "elsewhere")
    assert main(run) == 1
    assert main([*run, "--key-file", str(tmp_path / "elsewhere")]) == 0
