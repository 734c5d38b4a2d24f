"""Every command and every Python block of the documentation is run, or says beside it why not.

Links and paths lead somewhere.
"""

import contextlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgepers.assets import sample_stream, sample_test
from edgepers.cli import build_parser, main
from edgepers.config import Settings
from edgepers.personalize import Personalizer
from edgepers.state.folder import State

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
PROSE = [
    *ROOT.glob("*.md"),
    *DOCS,
    *(page for name in ("csrc", "docker", "benchmarks", "studies") for page in sorted((ROOT / name).rglob("*.md"))),
    *sorted(ROOT.glob("edgepers/**/README.md")),
]
FENCE = re.compile(r"(?:<!-- not run: ([^>]+) -->\n)?```(\w*)\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
MOST_COLUMNS = 120
QUICK = {
    "annotations": "gold",
    "every": 12,
    "annotations_per_round": 4,
    "generations": 1,
    "steps": 2,
    "storage": 96_000,
    "rehearsal": 0,
    "guard": False,
}


def text_of(page):
    return page.read_text(encoding="utf-8")


def runnable(page, *kinds):
    """The page's blocks of these languages that are not marked as not run, in the order in which they stand."""
    return [(found[2], found[3]) for found in FENCE.finditer(text_of(page)) if found[2] in kinds and not found[1]]


def blocks(kind):
    return [
        pytest.param(code, id=f"{page.stem}-{number}")
        for page in DOCS
        for number, (_, code) in enumerate(runnable(page, kind))
    ]


def lay_out(folder):
    """What a reader has before the first command: a stream, a test set and a chat export."""
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


def run_shell(script):
    """Run each command of a block; edgepers' own in this process, where there is no pipe."""
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words and words[0] == "edgepers" and not {"|", ">", "<", "&&"} & set(words):
            assert main(words[1:]) == 0, line
        elif words:
            env = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
            done = subprocess.run(["bash", "-ec", line], capture_output=True, text=True, check=False, env=env)
            assert done.returncode == 0, (line, done.stderr)


def run_python(code, capsys):
    capsys.readouterr()
    exec(compile(code, "example", "exec"), {"__name__": "example"})
    assert capsys.readouterr().out


@pytest.fixture(scope="session")
def desk(llm, tmp_path_factory):
    """What a reader of docs/ has.

    A stream, a test set, a chat export, and a state with two rounds and quick settings.
    """
    folder = tmp_path_factory.mktemp("desk")
    lay_out(folder)
    with Personalizer(folder / "my-state", Settings.make(QUICK), llm=llm) as owner:
        owner.run(folder / "stream.jsonl", test=folder / "test.jsonl")
    return folder


@contextlib.contextmanager
def nobody_types(folder, monkeypatch):
    """Standard input is an empty file."""
    with (folder / "empty").open("w+") as empty, monkeypatch.context() as patch:
        patch.setattr("sys.stdin", empty)
        yield


@pytest.fixture
def reader(desk, tmp_path, monkeypatch, own_keys):
    """A copy of it to work in; the state's stream lies there, too."""
    shutil.copytree(desk, tmp_path / "desk")
    monkeypatch.chdir(tmp_path / "desk")
    settings = tmp_path / "desk" / "my-state" / "edgepers.toml"
    settings.write_text(settings.read_text().replace(str(desk), str(tmp_path / "desk")))
    with nobody_types(tmp_path, monkeypatch):
        yield tmp_path / "desk"


@pytest.mark.parametrize("script", blocks("sh"))
def test_commands_run(script, reader):
    run_shell(script)


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs(code, reader, capsys):
    run_python(code, capsys)


def test_the_readme_runs_from_its_first_block_to_its_last_in_one_folder(tmp_path, monkeypatch, own_keys, capsys):
    """A reader who types it all in starts with a stream of their own and no state.

    Only the round's length is shortened.
    """
    lay_out(tmp_path)
    State(tmp_path / "my-state").save_settings(Settings.make({**QUICK, "annotations": "ask"}))
    monkeypatch.chdir(tmp_path)
    found = runnable(ROOT / "README.md", "sh", "python")
    assert {kind for kind, _ in found} == {"sh", "python"}
    with nobody_types(tmp_path, monkeypatch):
        for kind, code in found:
            run_shell(code) if kind == "sh" else run_python(code, capsys)


def test_what_is_not_run_says_why():
    for page in PROSE:
        for found in FENCE.finditer(text_of(page)):
            assert found[1] is None or len(found[1].split()) >= 2, page


def test_the_page_of_commands_is_what_the_parser_says():
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import write_commands
    finally:
        sys.path.pop(0)
    assert text_of(ROOT / "docs" / "commands.md") == write_commands.page(build_parser()), (
        "run: python scripts/write_commands.py"
    )


def anchors(text):
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(FENCE, "", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(page, text):
    """Links of a page whose file or whose anchor in it does not exist."""
    dead = []
    for target, anchor in LINK.findall(re.sub(FENCE, "", text)):
        if "://" in target:
            continue
        file = (page.parent / target) if target else page
        there = text if file == page else text_of(file) if file.is_file() and file.suffix == ".md" else ""
        if not file.exists() or (anchor and anchor not in anchors(there)):
            dead.append(f"{target}#{anchor}" if anchor else target)
    return dead


def test_a_link_that_reads_as_a_file_leads_to_that_file():
    labels = {
        (page.name, label, target)
        for page in PROSE
        for label, target in re.findall(r"\[([\w./-]+\.(?:py|md|jsonl))\]\(([^)#]+)", text_of(page))
    }
    assert {found for found in labels if not found[2].endswith(found[1])} == set()


def test_links_and_anchors_lead_somewhere():
    assert {
        page.relative_to(ROOT).as_posix(): dead for page in PROSE if (dead := dead_links(page, text_of(page)))
    } == {}


def test_a_dead_link_and_a_dead_anchor_are_seen():
    page = ROOT / "README.md"
    text = (
        "# One `two`, three\n[a](docs/none.md) [b](#one-two-three) [c](#four) [d](docs/plan.md#doctor)"
        " [e](docs/plan.md#none)"
    )
    assert dead_links(page, text) == ["docs/none.md", "#four", "docs/plan.md#none"]


def too_long(text):
    """Lines of prose beyond the limit: tables, code and what a link's address takes are not counted."""
    prose = re.sub(FENCE, "", text)
    return [
        line
        for line in prose.splitlines()
        if not line.lstrip().startswith("|") and len(re.sub(r"\]\([^)]*\)|https?://\S+", "", line)) > MOST_COLUMNS
    ]


def test_prose_is_wrapped():
    assert {page.relative_to(ROOT).as_posix(): long for page in PROSE if (long := too_long(text_of(page)))} == {}


def test_a_long_line_of_prose_is_seen_and_a_table_is_not():
    long = "words " * 30
    assert too_long(f"| {long} |\n\n```\n{long}\n```\n{long}\n[short](https://{'x' * 150})") == [long]


def unknown(text, folder=ROOT):
    """Files of the package and dotted names in it that a page speaks of, and that do not exist."""
    missing = [
        path
        for path in re.findall(r"(?<![\w/])(?:edgepers|csrc|scripts|tests|studies|benchmarks|docker)/[\w/.-]*\w", text)
        if not (ROOT / path).exists()
        and not (folder / path).exists()
        and not (path.startswith(("csrc", "edgepers")) and path.endswith(".so"))
    ]
    for name in re.findall(r"(?<![\w./-])(?:edgepers|studies|benchmarks)(?:\.[a-z_]\w*)+", text):
        parts, last = name.split("."), None
        while len(parts) > 1 and not last:  # a name in a module counts as found with its module
            last = importlib.util.find_spec(".".join(parts)) if _is_module(parts) else None
            parts = parts[:-1] if not last else parts
        if not last or len(name.split(".")) - len(parts) > 1:
            missing.append(name)
    return missing


def _is_module(parts):
    path = ROOT.joinpath(*parts)
    return path.is_dir() or path.with_suffix(".py").is_file()


NOT_THE_PACKAGE = {"edgepers.toml", "edgepers.h", "edgepers/state", "edgepers/keys"}  # files, and folders of a service


def test_paths_and_modules_that_pages_name_exist():
    named = {
        page.relative_to(ROOT).as_posix(): sorted(set(unknown(text_of(page), page.parent)) - NOT_THE_PACKAGE)
        for page in PROSE
    }
    assert {page: missing for page, missing in named.items() if missing} == {}


def test_a_path_and_a_module_that_do_not_exist_are_seen():
    text = "`edgepers/select/buffer.py`, `edgepers/state/buffer.py`, edgepers.llm.answer, edgepers.state.buffer.Buffer"
    assert unknown(text) == ["edgepers/select/buffer.py", "edgepers.llm.answer"]


def test_the_index_names_every_page_and_every_folder_of_the_package():
    index = text_of(ROOT / "docs" / "README.md")
    pages = {page.name for page in DOCS} - {"README.md"}
    folders = {file.parent.name for file in (ROOT / "edgepers").glob("*/__init__.py")}
    assert {page for page in pages if f"({page}" not in index} == set()
    assert set(re.findall(r"^\| `edgepers/(\w+)/` \|", index, re.MULTILINE)) == folders
