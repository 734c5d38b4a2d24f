"""Every command and every Python block of the documentation is run, or says beside it why not."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgepers.assets import sample_stream, sample_test
from edgepers.cli.parser import build_parser, main
from edgepers.config import Settings
from edgepers.personalize import Personalizer

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"(?:<!-- not run: ([^>]+) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)
QUICK = {
    "annotations": "gold",
    "every": 12,
    "annotations_per_round": 4,
    "generations": 1,
    "steps": 2,
    "storage": 96_000,
    "rehearsal": 0,
}


def blocks(kind):
    return [
        pytest.param(found[3], id=f"{page.stem}-{number}")
        for page in PAGES
        for number, found in enumerate(FENCE.finditer(page.read_text(encoding="utf-8")))
        if found[2] == kind and not found[1]
    ]


@pytest.fixture(scope="session")
def desk(llm, tmp_path_factory):
    """What a reader of the documentation has: a stream, a test set, a chat export, and a state with two rounds and quick settings."""
    folder = tmp_path_factory.mktemp("desk")
    lines = sample_stream().read_text(encoding="utf-8").splitlines(keepends=True)
    about_a_dog = [line for line in lines if "dog" in line.lower()][:3]
    (folder / "stream.jsonl").write_text("".join([*about_a_dog, *lines[:21]]), encoding="utf-8")
    (folder / "test.jsonl").write_text(
        "".join(sample_test().read_text(encoding="utf-8").splitlines(keepends=True)[:4]), encoding="utf-8"
    )
    chat = (
        '[{"messages": [{"role": "user", "content": "Name a river."}, {"role": "assistant", "content": "The Elbe."}]}]'
    )
    (folder / "conversations.json").write_text(chat)
    rows = (
        '{"instruction": "Who baked?", "context": "Ada baked a cake.", "response": "Ada.", "category": "closed_qa"}\n'
    )
    (folder / "rows.jsonl").write_text(rows)
    with Personalizer(folder / "my-state", Settings.make(QUICK), llm=llm) as owner:
        owner.run(folder / "stream.jsonl", test=folder / "test.jsonl")
    return folder


@pytest.fixture
def reader(desk, tmp_path, monkeypatch, own_keys):
    """A copy of it to work in; the state's stream lies there, too."""
    shutil.copytree(desk, tmp_path / "desk")
    monkeypatch.chdir(tmp_path / "desk")
    settings = tmp_path / "desk" / "my-state" / "edgepers.toml"
    settings.write_text(settings.read_text().replace(str(desk), str(tmp_path / "desk")))
    return tmp_path / "desk"


@pytest.mark.parametrize("script", blocks("sh"))
def test_commands_run(script, reader, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", (reader / "empty").open("w+"))
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words and words[0] == "edgepers" and not {"|", ">", "<", "&&"} & set(words):
            assert main(words[1:]) == 0, (line, capsys.readouterr().err)
        elif words:
            env = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
            done = subprocess.run(["bash", "-ec", line], capture_output=True, text=True, check=False, env=env)
            assert done.returncode == 0, (line, done.stderr)


@pytest.mark.parametrize("code", [block for block in blocks("python") if not block.id.startswith("README")])
def test_python_runs(code, reader, capsys):
    exec(compile(code, "example", "exec"), {"__name__": "example"})
    assert capsys.readouterr().out


def test_what_is_not_run_says_why():
    for page in PAGES:
        for found in FENCE.finditer(page.read_text(encoding="utf-8")):
            assert found[1] is None or len(found[1].split()) >= 2, page


def test_the_page_of_commands_is_what_the_parser_says():
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import write_commands
    finally:
        sys.path.pop(0)
    assert (ROOT / "docs" / "commands.md").read_text(encoding="utf-8") == write_commands.page(build_parser()), (
        "run: python scripts/write_commands.py"
    )


def test_links_between_pages_lead_somewhere():
    for page in [
        *PAGES,
        ROOT / "csrc" / "README.md",
        ROOT / "docker" / "README.md",
        *ROOT.glob("edgepers/assets/*/README.md"),
    ]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert "://" in target or (page.parent / target).exists(), (page.name, target)
