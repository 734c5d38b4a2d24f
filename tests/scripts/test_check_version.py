"""The check that the changelog, the build's metadata and the package name one version."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_version.py"


@pytest.fixture
def check_version():
    spec = importlib.util.spec_from_file_location("check_version", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tree_names_one_version(check_version):
    assert check_version.main() == 0


@pytest.mark.parametrize("wrong", ["CHANGELOG.md", "pyproject.toml", "edgepers/__init__.py"])
def test_a_file_with_another_version_is_named(check_version, monkeypatch, tmp_path, capsys, wrong):
    files = {
        "CHANGELOG.md": "# Changelog\n\n## {}\n",
        "pyproject.toml": 'version = "{}"\n',
        "edgepers/__init__.py": '__version__ = "{}"\n',
    }
    (tmp_path / "edgepers").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text.format("0.2.0" if name == wrong else "0.1.0"))
    monkeypatch.setattr(check_version, "ROOT", tmp_path)
    assert check_version.main() == 1
    assert f"{Path(wrong).name}': '0.2.0'" in capsys.readouterr().err
