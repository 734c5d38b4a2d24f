"""Install the aarch64 wheel in an emulated Debian for Arm without a compiler, and test its ops there.

As root: python scripts/test_wheel.py dist/*aarch64.whl WORK. Needs debootstrap, qemu-user-static and, for torch, a
package registry.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RELEASE, PYTHON = "bookworm", "3.11"
EMULATOR = "/usr/bin/qemu-aarch64-static"
COMPILERS = re.compile(r"(.+-)?(cc|cc1plus|gcc|[gc]\+\+|clang(\+\+)?|tcc|as|ld|nvcc)(-\d+)?")

# From 2.11 on, torch comes to Arm with gigabytes of CUDA, which it does not load without; the rest is what it and the
# tests import.
PACKAGES = (
    "torch==2.9.1",
    "filelock",
    "fsspec",
    "jinja2",
    "markupsafe",
    "mpmath<1.4",
    "networkx",
    "sympy",
    "typing-extensions",
    "numpy",
)
PACKAGES += ("pytest", "hypothesis", "iniconfig", "packaging", "pluggy", "pygments", "sortedcontainers", "pip")

# What is installed, what it loads, and what it answers, before any test.
SHOWN = """
import platform, edgepers
from edgepers import ops
from edgepers.ops import native
print("wheel:", platform.machine(), "Python", platform.python_version(), edgepers.__file__)
print("wheel: instruction set", native.isa(), ops.backends("cpu"))
print("wheel: CUDA library", "loads" if native.has("cuda") else "is not in it")
"""


def make_tree(tree: Path) -> None:
    """Unpack a small Debian for Arm with Python.

    None of its packages is configured, but Python runs by chroot under the emulator.
    """
    command = ["debootstrap", "--foreign", "--arch=arm64", "--variant=minbase", "--include=python3", RELEASE, str(tree)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    for package in sorted((tree / "var/cache/apt/archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", str(package), str(tree)], check=True)
    (tree / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")  # torch's compiler asks who runs it
    shutil.copy2(shutil.which(Path(EMULATOR).name) or EMULATOR, tree / EMULATOR[1:])


def fetch(folder: Path) -> None:
    """Download what torch and the tests need for Arm."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        f"--python-version={PYTHON}",
    ]
    command += [
        f"--platform={name}_aarch64" for name in ("manylinux_2_17", "manylinux2014", "manylinux_2_27", "manylinux_2_28")
    ]
    subprocess.run([*command, "--dest", str(folder), *PACKAGES], check=True)


def emulate(tree: Path, *arguments: str) -> None:
    """Run the tree's Python inside it; a failure ends the script."""
    settings = (
        word
        for pair in ("HOME=/root", "PYTHONPATH=/site:/checked", "OMP_NUM_THREADS=1", "PYTHONDONTWRITEBYTECODE=1")
        for word in ("-E", pair)
    )
    done = subprocess.run(
        ["chroot", str(tree), EMULATOR, *settings, f"/usr/bin/python{PYTHON}", *arguments],
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    if done.returncode:
        sys.exit(f"scripts/test_wheel.py: python {' '.join(arguments)[:60]} ended with {done.returncode} in {tree}")


def refuse_compilers(tree: Path) -> None:
    """End the script where the tree could compile: then it would show nothing."""
    files = [path.name for path in tree.glob("usr/**/*") if path.is_file()]
    if found := sorted(set(filter(COMPILERS.fullmatch, files))):
        sys.exit(
            f"scripts/test_wheel.py: {tree} has {', '.join(found)}: this is no test of a machine without a compiler"
        )
    print(f"wheel: no compiler, assembler or linker among {len(files)} files of {tree / 'usr'}", flush=True)


def install(tree: Path, wheel: Path, others: Path) -> None:
    """Let the tree's own pip install the wheel, beside the others, which are what the ops and their tests need."""
    inside = tree / "wheels"
    for folder in (inside, tree / "site"):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(others, inside)
    shutil.copy2(wheel, inside)
    pip = next(inside.glob("pip-*.whl"))
    options = ("--quiet", "--no-index", "--no-deps", "--no-compile", "--root-user-action=ignore", "--target=/site")
    names = (f"/wheels/{path.name}" for path in sorted(inside.glob("*.whl")) if path != pip)
    emulate(tree, f"/wheels/{pip.name}/pip", "install", *options, *names)


def main() -> int:
    """Make the tree, install, test."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("work", type=Path, help="where the tree is made; what is there already is used again")
    given = parser.parse_args()
    for program, package in (("debootstrap", "debootstrap"), (Path(EMULATOR).name, "qemu-user-static")):
        if not shutil.which(program):
            sys.exit(f"scripts/test_wheel.py: {program} is missing (Debian, Ubuntu: apt install {package})")
    tree, others = given.work / "tree", given.work / "wheels"
    unfinished = given.work / "unfinished"
    if not tree.exists():
        make_tree(unfinished)
        unfinished.rename(tree)
    if not others.exists():
        fetch(unfinished)
        unfinished.rename(others)
    refuse_compilers(tree)
    install(tree, given.wheel, others)
    shutil.rmtree(tree / "checked", ignore_errors=True)
    shutil.copytree(ROOT / "tests" / "ops", tree / "checked" / "tests" / "ops")
    for name in ("tests/numerics.py", "csrc/edgepers.h", "pyproject.toml"):
        (tree / "checked" / name).parent.mkdir(exist_ok=True)
        shutil.copy2(ROOT / name, tree / "checked" / name)
    emulate(tree, "-c", SHOWN)
    options = ("--config-file=/checked/pyproject.toml", "-p", "no:cacheprovider", "-m", "not slow", "--durations=5")
    emulate(
        tree, "-m", "pytest", *options, "--hypothesis-profile=ci", "/checked/tests/ops"
    )  # without a deadline: emulated, all is slow
    return 0


if __name__ == "__main__":
    sys.exit(main())
