"""Wheels and the source archive.

What is in them, what they are called, and what is said where a compiler is missing.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ARM = "aarch64-linux-gnu-g++"
cross = pytest.mark.skipif(shutil.which(ARM) is None, reason=f"no {ARM}")
compiler = pytest.mark.skipif(shutil.which("c++") is None or shutil.which("readelf") is None, reason="no C++ compiler")


def load(name: str, folder: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


needs, build_wheels, test_wheel = load("needs", "csrc"), load("build_wheels", "scripts"), load("test_wheel", "scripts")


def library(folder: Path, cxx: str, source: str, *flags: str) -> Path:
    """A small library of its own."""
    (folder / "small.cpp").write_text(source)
    out = folder / f"{cxx}.so"
    subprocess.run([cxx, "-shared", "-fPIC", str(folder / "small.cpp"), *flags, "-o", str(out)], check=True)
    return out


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return build_wheels.build_source(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def packed(source):
    """Names of the files in the source archive."""
    with tarfile.open(source) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def kept(*folders: str) -> set[str]:
    """Files that git keeps in these folders."""
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return set(listed.splitlines())


def test_source_archive_holds_all_that_a_build_and_the_package_need(packed):
    assert kept("edgepers", "csrc", "setup.py", "pyproject.toml", "README.md", "LICENSE", "NOTICE") <= packed
    assert not [name for name in packed if name.startswith(("tests", "benchmarks")) or name.endswith((".so", ".o"))]


@cross
def test_wheel_for_arm_is_built_from_the_source_archive(source, tmp_path):
    wheel = build_wheels.build_wheel(source, "aarch64", None, tmp_path, isolated=False)
    glibc = wheel.stem.removeprefix("edgepers-0.1.0-py3-none-manylinux_2_").removesuffix("_aarch64")
    assert int(glibc) <= 35, f"{wheel.name} does not load on JetPack 6, which has glibc 2.35"
    with zipfile.ZipFile(wheel) as inside:
        for name in ("LICENSE", "NOTICE"):
            assert inside.read(f"edgepers-0.1.0.dist-info/licenses/{name}") == (ROOT / name).read_bytes()
        metadata = inside.read("edgepers-0.1.0.dist-info/METADATA").decode()
        assert "License-Expression: Apache-2.0" in metadata
        names = {name for name in inside.namelist() if ".dist-info/" not in name}
        assert f"Tag: py3-none-manylinux_2_{glibc}_aarch64" in inside.read("edgepers-0.1.0.dist-info/WHEEL").decode()
    assert names == kept("edgepers") | {"edgepers/ops/_native_cpu.so"}


@compiler
def test_platform_is_the_newest_glibc_that_is_asked_for(tmp_path):
    machine = os.uname().machine
    plain = library(tmp_path, "c++", "int one() { return 1; }", "-nostdlib")
    assert needs.wheel_platform([plain]) == f"manylinux_2_{needs.OLDEST}_{machine}"
    newer = library(
        tmp_path,
        "c++",
        "#include <cmath>\ndouble one(double x) { return std::exp(x); }",
        "-nodefaultlibs",
        "-lm",
        "-lc",
    )
    assert needs.wheel_platform([newer]) == f"manylinux_2_29_{machine}"  # exp was renewed in 2.29
    cxx = library(tmp_path, "c++", "#include <new>\nvoid one() { throw std::bad_alloc(); }")
    assert needs.wheel_platform([cxx, plain]) == f"linux_{machine}"  # the builder's C++ library


@cross
@compiler
def test_platform_of_two_machines_or_of_no_library_is_not_said(tmp_path):
    both = [library(tmp_path, cxx, "int one() { return 1; }", "-nostdlib") for cxx in ("c++", ARM)]
    assert needs.wheel_platform(both) is None
    assert needs.wheel_platform([]) is None
    assert needs.wheel_platform([ROOT / "setup.py"]) is None


def test_missing_compiler_is_one_line_with_the_package_and_the_other_wheel_is_built(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(build_wheels.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(build_wheels.shutil, "which", lambda name, **_: None if name == ARM else f"/usr/bin/{name}")
    monkeypatch.setattr(build_wheels, "build_source", lambda out: out / "source")
    monkeypatch.setattr(build_wheels, "MACHINES", ("aarch64",))
    monkeypatch.setattr(sys, "argv", ["build_wheels.py", "--out", str(tmp_path)])
    assert build_wheels.main() == 1
    cure = (
        "edgepers: no wheel for aarch64: aarch64-linux-gnu-g++ is missing (Debian, Ubuntu: apt install"
        " g++-aarch64-linux-gnu)"
    )
    assert capsys.readouterr().err.splitlines() == [cure]
    right = build_wheels.build_wheel
    monkeypatch.setattr(build_wheels, "MACHINES", ("aarch64", "x86_64"))
    monkeypatch.setattr(
        build_wheels, "build_wheel", lambda *a, **_: right(*a) if a[1] == "aarch64" else tmp_path / "x86_64.whl"
    )
    assert build_wheels.main() == 0
    said = capsys.readouterr()
    assert said.err.splitlines() == [cure]
    assert said.out.splitlines()[-1].endswith("x86_64.whl")


def test_a_tree_with_a_compiler_is_refused(monkeypatch, tmp_path):
    (tmp_path / "tree" / "usr" / "bin").mkdir(parents=True)
    (tmp_path / "tree" / "usr" / "bin" / "gcc").touch()
    (tmp_path / "wheels").mkdir()
    monkeypatch.setattr(test_wheel.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(sys, "argv", ["test_wheel.py", "some.whl", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"has gcc: this is no test of a machine without a compiler"):
        test_wheel.main()
