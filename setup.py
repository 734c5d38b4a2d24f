"""Builds csrc/ into libraries inside the package; all metadata is in pyproject.toml.

Environment, at build time only: EDGEPERS_NATIVE=0 builds nothing; EDGEPERS_CUDA=0 leaves CUDA out, EDGEPERS_CUDA=1
insists on it (without either it is built where nvcc is found); CXX is the C++ compiler, which may compile for another
machine: the wheel is then that machine's. A machine without a compiler installs without kernels: torch serves.
"""

import os
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).parent / "csrc"))
import build
import needs

PREFIX = "edgepers.ops._native_"


def extensions() -> list[Extension]:
    """Return the libraries to build."""
    if os.environ.get("EDGEPERS_NATIVE") == "0":
        return []
    cuda = os.environ.get("EDGEPERS_CUDA")
    kinds = ["cpu"]
    if cuda == "1" or (cuda != "0" and build.find_nvcc()):
        kinds.append("cuda")
    return [Extension(PREFIX + kind, [], optional=kind == "cpu" or cuda != "1") for kind in kinds]


class BuildKernels(build_ext):
    """Builds with csrc/build.py, under a name that no version of Python is part of."""

    def get_ext_filename(self, fullname: str) -> str:
        return fullname.replace(".", "/") + ".so"

    def build_extension(self, ext: Extension) -> None:
        out = Path(self.get_ext_fullpath(ext.name)).resolve()
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            if ext.name == PREFIX + "cuda":
                build.build_cuda(out, build.find_nvcc() or "nvcc", [])
            else:
                build.build_cpu(out, os.environ.get("CXX", "c++"), [])
        except (OSError, subprocess.CalledProcessError) as error:
            if not ext.optional:
                raise
            print(f"edgepers: {ext.name} is not built, torch or Triton serves in its place: {error}", file=sys.stderr)


class AnyPython(bdist_wheel):
    """The libraries call no Python: one wheel a platform serves them all, and the libraries say which."""

    def get_tag(self) -> tuple[str, str, str]:
        _, _, platform = super().get_tag()
        packed = Path(self.bdist_dir).glob("edgepers/ops/_native_*.so")
        return "py3", "none", needs.wheel_platform(packed) or platform


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildKernels, "bdist_wheel": AnyPython})
