"""Build dist/: the source archive and, from nothing but it, a wheel for each machine with a compiler here.

`make wheel` calls it.

CXX is the compiler for this machine. CUDA goes in where nvcc is found. For the other machine nvcc wants that machine's
libcudart_static.a: from the toolkit, where it holds one, or else from NVIDIA's package nvidia-cuda-runtime, fetched by
pip.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "csrc"))
try:
    from build import find_nvcc
finally:
    sys.path.pop(0)
MACHINES = ("x86_64", "aarch64")


class MissingError(Exception):
    """Something that this machine lacks; the message names the cure."""


def compiler(machine: str) -> str:
    """The C++ compiler for `machine`.

    Raises:
        MissingError: there is none.
    """
    here = platform.machine() == machine
    found = os.environ.get("CXX", "c++") if here else f"{machine}-linux-gnu-g++"
    if not shutil.which(shlex.split(found)[0]):
        package = "g++" if here else f"g++-{machine.replace('_', '-')}-linux-gnu"
        raise MissingError(f"no wheel for {machine}: {found} is missing (Debian, Ubuntu: apt install {package})")
    return found


def nvcc_flags(nvcc: str, cxx: str, machine: str, folder: Path) -> list[str]:
    """What nvcc needs to compile for another machine's host; what must be fetched goes into `folder`.

    Raises:
        MissingError: there is no CUDA runtime library for it.
    """
    asked = subprocess.run(
        [nvcc, "-ccbin", cxx, "--dryrun", "-E", "-x", "cu", os.devnull], check=True, capture_output=True, text=True
    )
    told = dict(re.findall(r"^#\$ (TOP|_TARGET_DIR_)=(.+)$", asked.stderr, re.MULTILINE))
    top = Path(told["TOP"])
    if list((top / told["_TARGET_DIR_"]).glob("lib/libcudart_static.a")):
        return ["-ccbin", cxx]
    release = subprocess.run([nvcc, "--version"], check=True, capture_output=True, text=True).stdout
    major, minor = re.findall(r"release (\d+)\.(\d+)", release)[0]
    package = f"nvidia-cuda-runtime{'' if int(major) > 12 else f'-cu{major}'}=={major}.{minor}.*"
    fetch = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        str(folder),
    ]
    fetch += [f"--platform={name}_{machine}" for name in ("manylinux2014", "manylinux_2_17", "manylinux_2_28")]
    if subprocess.run([*fetch, package], check=False, capture_output=True).returncode:
        raise MissingError(
            f"the wheel for {machine} goes without CUDA: no libcudart_static.a in {top}, and pip finds no {package}"
        )
    with zipfile.ZipFile(next(folder.glob("nvidia_cuda_runtime*.whl"))) as wheel:
        libraries = [name for name in wheel.namelist() if name.endswith(".a")]
        wheel.extractall(folder, libraries)
    # Headers of CUDA are the same for all machines.
    return ["-ccbin", cxx, f"-I{top / 'include'}", f"-L{(folder / libraries[0]).parent}"]


def build_wheel(source: Path, machine: str, nvcc: str | None, out: Path, *, isolated: bool = True) -> Path:
    """Build the wheel of one machine from the source archive; a part that fails ends it.

    Args:
        source: the archive.
        machine: one of MACHINES.
        nvcc: the CUDA compiler; None leaves CUDA out.
        out: the folder for the wheel.
        isolated: whether pip fetches what builds it; otherwise the setuptools of this environment does.

    Raises:
        MissingError: there is no compiler for it.
    """
    cxx = compiler(machine)
    environment = {**os.environ, "CXX": cxx, "EDGEPERS_CUDA": "0"}
    with tempfile.TemporaryDirectory() as folder:
        if nvcc:
            try:
                flags = [] if machine == platform.machine() else nvcc_flags(nvcc, cxx, machine, Path(folder))
                environment |= {"EDGEPERS_CUDA": "1", "NVCC_PREPEND_FLAGS": shlex.join(flags)}
            except MissingError as missing:
                print(f"edgepers: {missing}", file=sys.stderr)
        made = Path(folder) / "made"
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(made), str(source)]
        command += [] if isolated else ["--no-build-isolation"]
        if subprocess.run(command, check=False, env=environment).returncode:
            raise SystemExit(f"edgepers: the wheel for {machine} does not build, see above")
        wheel = next(made.glob("*.whl"))
        with zipfile.ZipFile(wheel) as inside:
            if "edgepers/ops/_native_cpu.so" not in inside.namelist() or not wheel.stem.endswith(machine):
                raise SystemExit(
                    f"edgepers: {wheel.name} has no kernels for {machine}: {cxx} fails on csrc, as csrc/build.py cpu"
                    " shows"
                )
        return Path(shutil.move(wheel, out / wheel.name))


def build_source(out: Path) -> Path:
    """Pack the source archive, without what an earlier build remembers."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "setup.py",
            "--quiet",
            "egg_info",
            "--egg-base",
            folder,
            "sdist",
            "--dist-dir",
            folder,
        ]
        subprocess.run(command, check=True, cwd=ROOT)
        source = next(Path(folder).glob("*.tar.gz"))
        return Path(shutil.move(source, out / source.name))


def main() -> int:
    """Build what can be built; 1 where no wheel could."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--machine", action="append", choices=MACHINES, help="only this one's wheel")
    parser.add_argument("--cuda", action=argparse.BooleanOptionalAction, default=True, help="leave CUDA out")
    given = parser.parse_args()
    nvcc = find_nvcc() if given.cuda else None
    given.out.mkdir(parents=True, exist_ok=True)
    source = build_source(given.out)
    print(source)
    wheels = 0
    for machine in given.machine or MACHINES:
        try:
            print(build_wheel(source, machine, nvcc, given.out))
            wheels += 1
        except MissingError as missing:
            print(f"edgepers: {missing}", file=sys.stderr)
    return 0 if wheels else 1


if __name__ == "__main__":
    sys.exit(main())
