"""The cache of models that were made of GGUF files: by content, whole or not there, bounded, safe while in use."""

import gc
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edgepers.cli import main
from edgepers.errors import BusyError, ModelError, UsageError
from edgepers.model import converted
from edgepers.model.converted import converted_models, hold_model, remove_model
from edgepers.model.language_model import LanguageModel
from tests.gguf_files import write_gguf

KILLED = """
import os, signal, sys
from pathlib import Path
from edgepers.model.converted import hold_model
def make(folder):
    (folder / "half").write_bytes(b"x")
    os.kill(os.getpid(), signal.SIGKILL)
hold_model(Path(sys.argv[1]), 4, make)
"""
HELD = """
import sys
from pathlib import Path
from edgepers.model.converted import hold_model
held = hold_model(Path(sys.argv[1]), 4, None)
print(held.folder, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "edgepers" / "models"


@pytest.fixture
def file(tmp_path):
    return content(tmp_path / "one.gguf", b"one")


def content(file, data):
    file.write_bytes(data)
    return file


def of_size(size, made=None):
    def make(folder):
        (folder / "weights").write_bytes(bytes(size))
        if made is not None:
            made.append(folder)

    return make


def names():
    return [model.name.split("-")[0] for model in converted_models()]


def test_a_model_is_made_once_whatever_its_file_is_called(tmp_path, file):
    made = []
    first = hold_model(file, 4, of_size(10, made)).folder
    assert hold_model(file, 4, of_size(10, made)).folder == first
    (tmp_path / "elsewhere").mkdir()
    moved = file.rename(tmp_path / "elsewhere" / "two.gguf")
    assert hold_model(moved, 4, of_size(10, made)).folder == first
    assert hold_model(moved, 16, of_size(10, made)).folder != first
    assert len(made) == 2
    content(moved, b"other")
    hold_model(moved, 4, of_size(10, made))
    assert len(made) == 3


def test_a_file_is_read_through_once_a_path(tmp_path, file, monkeypatch):
    hold_model(file, 4, of_size(10))
    moved = file.rename(tmp_path / "two.gguf")
    hold_model(moved, 4, of_size(10))
    monkeypatch.setattr(converted.hashlib, "sha256", None)  # reading it again would fail
    assert hold_model(moved, 4, of_size(10)).folder.is_dir()


def test_the_same_content_is_the_same_model_to_a_state_and_another_is_not(tmp_path):
    write_gguf(tmp_path / "a.gguf")
    loaded = LanguageModel.load(str(tmp_path / "a.gguf"))
    (tmp_path / "a.gguf").rename(tmp_path / "b.gguf")
    again = LanguageModel.load(str(tmp_path / "b.gguf"))
    assert again.identity == loaded.identity
    assert LanguageModel.load(str(tmp_path / "b.gguf"), bits=16).identity != loaded.identity
    data = bytearray((tmp_path / "b.gguf").read_bytes())
    data[-100] ^= 1
    content(tmp_path / "c.gguf", data)
    assert LanguageModel.load(str(tmp_path / "c.gguf")).identity != loaded.identity


def test_one_that_was_killed_while_it_was_made_is_not_there_and_is_made_again(cache, file):
    done = subprocess.run([sys.executable, "-c", KILLED, str(file)], check=False)
    assert done.returncode == -9
    assert [path.name for path in cache.glob(".*.new")] and converted_models() == []
    assert sorted(path.name for path in hold_model(file, 4, of_size(1)).folder.iterdir()) == [
        "edgepers-source.json",
        "weights",
    ]
    assert not list(cache.glob(".*.new"))


def test_what_a_killed_one_left_of_another_file_goes_when_room_is_made(cache, tmp_path, file):
    subprocess.run([sys.executable, "-c", KILLED, str(content(tmp_path / "two.gguf", b"two"))], check=False)
    hold_model(file, 4, of_size(1))
    assert not list(cache.glob(".*.new"))


def test_one_that_fails_leaves_nothing(cache, file):
    def make(folder):
        (folder / "half").write_bytes(b"x")
        raise ModelError("no weights")

    with pytest.raises(ModelError, match="no weights"):
        hold_model(file, 4, make)
    assert [path.name for path in cache.iterdir() if not path.name.endswith(".lock")] == []


def test_what_was_not_used_for_longest_goes_first_and_what_is_in_use_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(converted, "MOST_BYTES", 4500)  # of three, with what each is made of
    files = [content(tmp_path / f"{name}.gguf", name.encode()) for name in "abcd"]
    held = []
    for age, name in enumerate(files[:3]):
        held.append(hold_model(name, 4, of_size(1000)))
        os.utime(held[-1].folder / converted.SOURCE_FILE, (age + 1, age + 1))
    held[1].release()
    held[2].release()
    newest = hold_model(files[3], 4, of_size(1000))
    assert sorted(names()) == ["a", "c", "d"]  # a is older than b, and in use
    newest.release()
    hold_model(files[1], 4, of_size(3000))
    assert sorted(names()) == ["a", "b"]


def test_one_in_use_by_another_process_is_not_removed(file):
    name = hold_model(file, 4, of_size(10)).folder.name
    other = subprocess.Popen([sys.executable, "-c", HELD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline().decode().strip().endswith(name)
        with pytest.raises(BusyError, match="a running program has it"):
            remove_model(name)
        assert names() == ["one"]
    finally:
        other.communicate()
    remove_model(name)
    assert names() == []


def test_a_model_holds_its_folder_as_long_as_it_is_in_memory(tmp_path):
    write_gguf(tmp_path / "a.gguf")
    llm = LanguageModel.load(str(tmp_path / "a.gguf"))
    (model,) = converted_models()
    with pytest.raises(BusyError):
        remove_model(model.name)
    llm.unload()
    gc.collect()
    remove_model(model.name)
    assert llm.answer(["Hi"], max_new_tokens=2)  # and makes it again where it is gone


def test_two_at_once_make_it_once(file):
    made, entered, go = [], threading.Event(), threading.Event()

    def make(folder):
        entered.set()
        assert go.wait(60)
        of_size(10, made)(folder)

    found = []
    threads = [threading.Thread(target=lambda: found.append(hold_model(file, 4, make).folder)) for _ in range(2)]
    threads[0].start()
    assert entered.wait(60)
    threads[1].start()
    go.set()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and found[0] == found[1]


def test_a_model_of_another_form_is_made_anew(file, monkeypatch):
    made = []
    hold_model(file, 4, of_size(10, made))
    monkeypatch.setattr(converted, "FORM", 2)
    hold_model(file, 4, of_size(10, made))
    assert len(made) == 2 and len(converted_models()) == 1


def test_a_cache_that_cannot_be_written_to_is_one_line(tmp_path, file, monkeypatch):
    (tmp_path / "full").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "full"))
    with pytest.raises(ModelError, match=r"cannot be written to \(Not a directory\); set XDG_CACHE_HOME to a folder"):
        hold_model(file, 4, of_size(10))


def test_the_command_lists_and_removes(cache, file, capsys):
    assert main(["models"]) == 0
    assert "none was made yet" in capsys.readouterr().out
    held = hold_model(file, 4, of_size(5000))
    assert main(["models", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (model,) = found["models"]
    assert model["source"] == str(file) and model["bytes"] > 5000 and found["most_bytes"] == converted.MOST_BYTES
    assert main(["models"]) == 0
    shown = capsys.readouterr().out
    assert all(part in shown for part in (model["name"], str(file), "5.", model["used"], "20.00 GB"))
    assert main(["models", "--remove", model["name"]]) == 1
    assert "a running program has it; end that first" in capsys.readouterr().err
    held.release()
    assert main(["models", "--remove", model["name"]]) == 0
    assert "removed: one-" in capsys.readouterr().out and not held.folder.exists()
    assert main(["models", "--remove", "one"]) == 2
    assert "--remove one: no such model; there are none" in capsys.readouterr().err
    with pytest.raises(UsageError):
        remove_model("../" + Path(file).name)


def test_listing_loads_no_torch():
    code = "import sys\nfrom edgepers.cli import main\nmain(['models'])\nsys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
