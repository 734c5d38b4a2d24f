"""Compile the kernels: the one place that knows the sources, the instruction sets and the flags.

Needs a compiler and nothing else.

    python csrc/build.py cpu OUT.so [--cxx g++] [--flags "-fsanitize=thread"] [--test]
    python csrc/build.py cuda OUT.so [--nvcc nvcc] [--report benchmarks/results/cuda_registers.txt]

`--test` makes csrc/tests/test_csrc.cpp a program with the kernels inside, instead of a library. `--report` writes what
each CUDA kernel takes of registers and shared memory, and fails where one spills.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
CPU_SOURCES = ("pool.cpp", "isa.cpp", "score_tokens.cpp", "similarity.cpp")
CUDA_SOURCES = ("score_tokens.cu",)

AVX512 = [*("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl"), "-mfma", "-mf16c", "-mprefer-vector-width=512"]

# Worst first; the last usable one runs. A compiler too old for one leaves it out.
ISAS = {
    "x86_64": {
        "sse2": [],
        "avx2": ["-mavx2", "-mfma", "-mf16c"],
        "avx512": AVX512,
        "avx512vnni": [*AVX512, "-mavx512vnni"],
        "avx512bf16": [*AVX512, "-mavx512vnni", "-mavx512bf16"],
    },
    "aarch64": {
        "neon": [],
        "neon_dot": ["-march=armv8.2-a+dotprod"],
        "neon_fp16": ["-march=armv8.2-a+dotprod+fp16fml"],
        "neon_bf16": ["-march=armv8.2-a+dotprod+fp16fml+bf16"],
    },
}
# -Wno-maybe-uninitialized: GCC 12 finds it in its own header of AVX-512 intrinsics.
FLAGS = [
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    "-ffp-contract=fast",
    "-Wall",
    "-Wextra",
    "-Wno-psabi",
    "-Wno-maybe-uninitialized",
    "-pthread",
]

# Orin's machine code, Hopper's, and PTX for every other chip from sm_80 on: JetPack's and servers' drivers compile it
# at load.
CUDA_FLAGS = [
    *(
        "-gencode",
        "arch=compute_87,code=sm_87",
        "-gencode",
        "arch=compute_90,code=sm_90",
        "-gencode",
        "arch=compute_80,code=compute_80",
    ),
    *("-std=c++17", "-O3", "-shared", "-cudart", "static", "-Xcompiler", "-fPIC,-fvisibility=hidden"),
]


# A wheel must not ask for the builder's C++ library, nor show one to others. What of it is never called is left out:
# GCC 12's asks for glibc 2.36 there. The unwinder is the system's libgcc_s, for GCC 12's own asks for 2.35.
LIBRARY = ("-static-libstdc++", "-Wl,--gc-sections", f"-Wl,--version-script={SOURCE / 'exports.map'}")


def find_nvcc() -> str | None:
    """Path of nvcc; JetPack installs it without putting it on PATH."""
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    return shutil.which("nvcc") or shutil.which("nvcc", path=f"{home}/bin")


def build_cpu(out: Path, cxx: str, flags: list[str], *, test: bool = False) -> None:
    """Compile and link for the machine that `cxx` compiles for.

    Raises CalledProcessError, or OSError where there is no compiler.
    """
    command = shlex.split(cxx)
    machine = _machine(command)
    with tempfile.TemporaryDirectory() as folder:
        isas = {
            name: isa for name, isa in ISAS.get(machine, {"generic": []}).items() if _takes(command, isa, Path(folder))
        }
        every = "-DEDGEPERS_ALL(F)=" + " ".join(f"F({name})" for name in isas)
        jobs = [(source, [every]) for source in (*CPU_SOURCES, *(["tests/test_csrc.cpp"] if test else []))]
        jobs += [("cpu/kernels.cpp", [*isa, f"-DEDGEPERS_ISA={name}"]) for name, isa in isas.items()]
        objects = [Path(folder) / f"{number}.o" for number in range(len(jobs))]

        def compile_one(job: tuple[str, list[str]], target: Path) -> None:
            subprocess.run(
                [*command, *FLAGS, *job[1], *flags, "-c", str(SOURCE / job[0]), "-o", str(target)], check=True
            )

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(compile_one, jobs, objects))
        shared = [] if test else ["-shared", *LIBRARY]
        _replace(out, [*command, *shared, *flags, *map(str, objects), "-pthread", "-o"])


def build_cuda(out: Path, nvcc: str, flags: list[str]) -> None:
    """Compile the CUDA library; raises as `build_cpu`."""
    # nvcc cuts what it hands on at commas.
    host = (word for flag in LIBRARY for word in ("-Xcompiler", flag.replace(",", "\\,")))
    _replace(
        out, [*shlex.split(nvcc), *CUDA_FLAGS, *flags, *host, *(str(SOURCE / name) for name in CUDA_SOURCES), "-o"]
    )


def report_registers(nvcc: str, out: Path) -> None:
    """Write a line for each kernel and machine code: registers, bytes of spills and of shared memory.

    Exit where one spills.
    """
    sources = [str(SOURCE / name) for name in CUDA_SOURCES]
    done = subprocess.run(
        [*shlex.split(nvcc), *CUDA_FLAGS, "-Xptxas", "-v", *sources, "-o", os.devnull],
        check=True,
        capture_output=True,
        text=True,
    )
    found = re.findall(
        r"Compiling entry function '(\w+)' for '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads.*?Used"
        r" (\d+) registers([^\n]*)",
        done.stderr + done.stdout,
        re.DOTALL,
    )
    names = subprocess.run(
        ["c++filt", *(row[0] for row in found)], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    lines = []
    for name, (_, code, stores, loads, registers, rest) in zip(names, found, strict=True):
        kernel = re.sub(r"\(anonymous namespace\)::|edgepers::|^void ", "", name)
        kernel = re.sub(r"(<.*>)\(.*\)$", r"\1", kernel)
        shared = re.search(r"(\d+) bytes smem", rest)
        lines.append(
            f"{code}  {kernel}: {registers} registers, {stores} + {loads} spilled, {shared[1] if shared else 0}"
            " shared\n"
        )
    out.write_text(
        "python csrc/build.py cuda OUT.so --report THIS: bytes where nothing else is said\n" + "".join(sorted(lines))
    )
    if any(" 0 + 0 spilled" not in line for line in lines):
        sys.exit(f"csrc/build.py: a kernel spills, see {out}")


def _replace(out: Path, command: list[str]) -> None:
    # Beside and renamed: a process that has the old library open keeps it.
    beside = out.with_name(out.name + ".new")
    subprocess.run([*command, str(beside)], check=True)
    beside.replace(out)


def _machine(command: list[str]) -> str:
    triple = subprocess.run([*command, "-dumpmachine"], check=True, capture_output=True, text=True).stdout
    return triple.split("-", maxsplit=1)[0]


def _takes(command: list[str], flags: list[str], folder: Path) -> bool:
    probe = folder / "probe.cpp"
    probe.write_text("int main() { return 0; }\n")
    return (
        subprocess.run(
            [*command, *flags, "-c", str(probe), "-o", os.devnull], check=False, capture_output=True
        ).returncode
        == 0
    )


def main() -> None:
    """Build what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("device", choices=["cpu", "cuda"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--cxx", default=os.environ.get("CXX", "c++"))
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--flags", default="", help="more flags for the compiler")
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--report", type=Path)
    args = parser.parse_args()
    try:
        if args.device == "cpu":
            build_cpu(args.out, args.cxx, shlex.split(args.flags), test=args.test)
        else:
            build_cuda(args.out, args.nvcc, shlex.split(args.flags))
            if args.report:
                report_registers(args.nvcc, args.report)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"csrc/build.py: {error}")


if __name__ == "__main__":
    main()
