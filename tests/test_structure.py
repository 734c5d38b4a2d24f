"""The tree's shape: imports point one way, no file is in a circle, and tests mirror the package path for path."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "edgepers"
MOST_ROOT_FILES = 9

# A place may import those in its own row and those of the rows below it; `cli` is the top.
FLOORS = [
    ["__main__"],
    ["cli"],
    ["service"],
    ["serve"],
    ["upstream"],
    ["chat"],
    ["personalize"],
    ["doctor", "export"],
    ["rounds"],
    ["report"],
    ["annotate", "synth"],
    ["select", "plan"],
    ["evaluate", "train"],
    ["state", "model", "meter"],
    ["assets", "board", "ops", "privacy", "streams"],
    ["config", "device", "files", "hashing", "text"],
    ["errors"],
]


def _modules() -> dict[str, Path]:
    named = {}
    for file in PACKAGE.rglob("*.py"):
        parts = file.relative_to(ROOT).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return named


def _imports(modules: dict[str, Path]) -> dict[str, set[str]]:
    """Every import of the package's own, those inside functions too."""
    graph: dict[str, set[str]] = {}
    for name, file in modules.items():
        found = graph.setdefault(name, set())
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "edgepers":
                members = (f"{node.module}.{alias.name}" for alias in node.names)
                found |= {member if member in modules else str(node.module) for member in members}
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names if alias.name in modules}
        found.discard(name)
    return graph


def _place(module: str) -> str:
    return module.split(".")[1] if "." in module else "edgepers"


def wrong_directions(graph: dict[str, set[str]]) -> list[str]:
    """Imports that go up, or across a row, or touch a place that no row names."""
    floor = {place: number for number, row in enumerate(FLOORS) for place in row}
    wrong = []
    for module, imported in graph.items():
        for other in imported:
            here, there = _place(module), _place(other)
            if here == there or "edgepers" in (here, there):
                continue
            if here not in floor or there not in floor or floor[there] <= floor[here]:
                wrong.append(f"{module} -> {other}")
    return sorted(wrong)


def cycles(graph: dict[str, set[str]]) -> list[str]:
    """Files that reach themselves."""
    reached: dict[str, set[str]] = {}
    for start, first in graph.items():
        stack, seen = list(first), set()
        while stack:
            if (module := stack.pop()) not in seen:
                seen.add(module)
                stack.extend(graph.get(module, ()))
        reached[start] = seen
    return sorted(module for module, others in reached.items() if module in others)


def test_imports_point_one_way():
    assert wrong_directions(_imports(_modules())) == []


def test_no_file_is_in_a_circle_of_imports():
    assert cycles(_imports(_modules())) == []


def test_an_import_up_and_a_circle_are_seen():
    graph = {"edgepers.state.buffer": {"edgepers.select.policy"}, "edgepers.select.policy": {"edgepers.state.buffer"}}
    assert wrong_directions(graph) == ["edgepers.state.buffer -> edgepers.select.policy"]
    assert cycles(graph) == ["edgepers.select.policy", "edgepers.state.buffer"]


def test_the_root_holds_few_files():
    assert len(list(PACKAGE.glob("*.py"))) <= MOST_ROOT_FILES


def test_tests_mirror_the_package_path_for_path():
    """A folder of tests is a folder of the package, or of the repository."""
    for folder in sorted({file.parent for file in (ROOT / "tests").rglob("test_*.py")} - {ROOT / "tests"}):
        path = folder.relative_to(ROOT / "tests")
        assert (PACKAGE / path).is_dir() or (ROOT / path).is_dir(), path


def test_what_tests_import_of_each_other_is_there():
    for file in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests"):
                path = ROOT.joinpath(*str(node.module).split("."))
                assert path.is_dir() or path.with_suffix(".py").is_file(), f"{file}: {node.module}"
