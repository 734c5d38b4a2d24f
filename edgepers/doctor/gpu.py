"""Whether torch can use the GPU that is there: each thing that keeps it from that has its own cure."""

import contextlib
import importlib.metadata
import re

from edgepers.board.reading import Board
from edgepers.doctor.finding import Finding, Subject, nvidia_seen
from edgepers.errors import first_line

__all__ = ["check_code", "check_container", "check_torch", "torch_cure"]

_SUM = 332_833_500  # of the squares below 1000
_ORIN = (8, 7)
_NODES = ("dev/nvidia0", "dev/nvhost-gpu", "dev/nvgpu", "dev/nvmap")
_IN_CONTAINER = (".dockerenv", "run/.containerenv")
_JETSON_INDEX = (
    "https://pypi.jetson-ai-lab.io/jp6/cu126"  # as people install from it (github.com/NVIDIA/Isaac-GR00T/issues/343)
)
_LIBRARIES = {  # of torch for Jetson that JetPack does not bring
    "libcudss": "sudo apt install cudss (from NVIDIA's CUDA repository), or pip install nvidia-cudss-cu12",
    "libcusparseLt": "sudo apt install libcusparselt0 (from NVIDIA's CUDA repository), or pip install"
    " nvidia-cusparselt-cu12",
    "libcudnn": "sudo apt install nvidia-cudnn",
}


def torch_cure(board: Board) -> str:
    """Where a torch for this machine is to be had."""
    if board.l4t is not None and board.l4t[0] == 36:
        return (
            f"pip uninstall -y torch && pip install --index-url {_JETSON_INDEX} torch: a CPU wheel of PyPI comes"
            " before it otherwise"
        )
    if board.jetson:
        return "pip uninstall -y torch && pip install --index-url https://download.pytorch.org/whl/cu130 torch"
    return "install a torch with CUDA for this machine from pytorch.org"


def _wheel() -> str:
    """Tag of the wheel that torch was installed from, such as manylinux_2_28_aarch64."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        text = importlib.metadata.distribution("torch").read_text("WHEEL") or ""
        if match := re.search(r"^Tag: \S+?-\S+?-(\S+)$", text, re.MULTILINE):
            return match[1]
    return ""


def check_torch(subject: Subject) -> Finding:
    """Whether torch can use the GPU that is there, shown by a kernel that ran."""
    cure = torch_cure(subject.board)
    try:
        import torch
    except (ImportError, OSError) as error:
        text = first_line(error)
        missing = re.search(r"(lib[\w+-]+)\.so\S*: cannot open shared object", text)
        known = _LIBRARIES.get(missing[1], f"install the package that has {missing[1]}.so") if missing else cure
        return Finding("torch", "fail", f"does not import: {text}", known)
    build = f"torch {torch.__version__}, CUDA {torch.version.cuda or 'none'}"
    seen = nvidia_seen(subject.root)
    if not torch.cuda.is_available():
        if seen and torch.version.cuda is None:
            tag = _wheel()
            return Finding(
                "torch",
                "fail",
                f"{build}: a CPU build{f' ({tag})' if tag else ''} beside the NVIDIA GPU that {seen} shows",
                cure,
            )
        if seen:
            return Finding("torch", "fail", f"{build}: cannot use the NVIDIA GPU that {seen} shows", cure)
        return Finding("torch", "ok", f"{build}; no NVIDIA GPU here, the model runs on the CPU")
    return _launched(build, cure)


def _launched(build: str, cure: str) -> Finding:
    import torch

    name = torch.cuda.get_device_name(0)
    try:
        total = int(torch.arange(1000, device="cuda").square().sum())
    except RuntimeError as error:
        return Finding("torch", "fail", f"{build}: a kernel does not launch on {name} ({first_line(error)})", cure)
    if total != _SUM:
        return Finding("torch", "fail", f"{build}: a kernel on {name} summed to {total}, not {_SUM}", cure)
    return Finding("torch", "ok", f"{build}; a kernel ran on {name}")


def _kind_of(code: str, capability: tuple[int, int]) -> str:
    """What code such as `sm_80` or `compute_80` is to a GPU: "made", "near", "ptx", or "" where it cannot run.

    By NVIDIA's rules of binary compatibility (docs.nvidia.com/cuda/cuda-c-programming-guide, section 3.1): machine code
    of the same major and no greater minor version, and PTX of any that is no newer.
    """
    match = re.fullmatch(r"(sm|compute)_(\d+)(\d)[a-z]?", code)
    if match is None:
        return ""
    of = (int(match[2]), int(match[3]))
    if match[1] == "compute":
        return "ptx" if of <= capability else ""
    if of == capability:
        return "made"
    return "near" if of[0] == capability[0] and of <= capability else ""


def check_code(subject: Subject) -> Finding:
    """What the code that torch carries means for this GPU: a list warns, `check_torch`'s launched kernel decides."""
    import torch

    if not torch.cuda.is_available():
        return Finding("gpu code", "ok", "no GPU that torch sees")
    capability = torch.cuda.get_device_capability(0)
    codes = torch.cuda.get_arch_list()
    found = f"torch has code for {', '.join(codes)}; the GPU is sm_{capability[0]}{capability[1]}"
    kinds = {_kind_of(code, capability) for code in codes}
    if "made" in kinds:
        return Finding("gpu code", "ok", found)
    if "ptx" in kinds:
        return Finding("gpu code", "ok", f"{found}: the driver compiles PTX for it, once, which takes minutes")
    cure = torch_cure(subject.board)
    if "near" in kinds:
        told = (
            "reported to launch on JetPack 7 and not to on JetPack 6"
            if capability == _ORIN
            else "made for a smaller one"
        )
        return Finding("gpu code", "warn", f"{found}: what is nearest is {told}; 'torch' above decides", cure)
    return Finding("gpu code", "warn", f"{found}: by the list none of it runs; 'torch' above decides", cure)


def check_container(subject: Subject) -> Finding:
    """Whether a container was given the GPU of its machine."""
    if not any((subject.root / name).exists() for name in _IN_CONTAINER):
        return Finding("container", "ok", "none")
    if any((subject.root / name).exists() for name in _NODES):
        return Finding("container", "ok", "one with a GPU")
    if subject.board.jetson or nvidia_seen(subject.root):
        how = "--runtime nvidia" if subject.board.jetson else "--gpus all"
        return Finding("container", "fail", "one without the GPU of its machine", f"start it with docker run {how}")
    return Finding("container", "ok", "one without a GPU")
