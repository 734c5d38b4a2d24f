"""Find, check and call the compiled kernels.

Not built is quiet; built but broken or stale is an error that says how to rebuild.

`csrc/` speaks plain C, so one library serves every Python and every torch; what ATen would do (device guard, stream,
error codes) is done here and in the `native_kernel.py` of each op. No torch is loaded before a GPU's function is
called.
"""

import ctypes
from ctypes import c_char_p, c_int, c_int64, c_void_p
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgepers.errors import EdgepersError
from edgepers.ops.windowed import WINDOW

if TYPE_CHECKING:
    from torch import Tensor

ABI = 2  # of csrc/edgepers.h
FOLDER = Path(__file__).parent
DTYPES = {"float32": 0, "float16": 1, "bfloat16": 2}
OK, BAD_DTYPE, BAD_OFFSETS, TOO_WIDE, NO_MEMORY = range(5)

_WHERE = (
    "csrc: pip install --force-reinstall --no-deps from the source folder does it, deleting the file goes on without"
)

# What a library must say of itself before it is used: function, value, what a mismatch is called.
_FACTS = (
    ("edgepers_abi", ABI, "are of interface {found} where {needed} is needed"),
    ("edgepers_window", WINDOW, "cut windows of {found} rows where {needed} are meant"),
)

# Every other function of csrc/edgepers.h: library, result, arguments.
SIGNATURES: dict[str, tuple[str, Any, list[Any]]] = {
    "edgepers_isa": ("cpu", c_char_p, []),
    "edgepers_limit_isa": ("cpu", c_int, [c_char_p]),
    "edgepers_score_tokens": (
        "cpu",
        c_int,
        [c_void_p, c_int, c_void_p, c_void_p, c_int64, c_int64, c_int64, c_void_p, c_void_p, c_int],
    ),
    "edgepers_similarity": ("cpu", c_int, [c_void_p, c_void_p, c_int64, c_int64, c_int64, c_void_p]),
    "edgepers_cuda_error": ("cuda", c_char_p, [c_int]),
    "edgepers_cuda_task_rows": ("cuda", c_int, []),
    "edgepers_score_tokens_cuda": (
        "cuda",
        c_int,
        [c_void_p, c_int, *[c_void_p] * 3, *[c_int64] * 3, *[c_void_p] * 6, c_void_p],
    ),
}


@cache
def library(kind: str, folder: Path = FOLDER) -> ctypes.CDLL | None:
    """The library of "cpu" or "cuda" with its signatures declared; None where it is not built.

    Raises:
        EdgepersError: it is there but does not load, is of another version, has another window, or lacks a function.
    """
    path = folder / f"_native_{kind}.so"
    if not path.exists():
        return None
    try:
        loaded = ctypes.CDLL(str(path))
        for name, needed, mismatch in _FACTS:
            if (found := getattr(loaded, name)()) != needed:
                raise EdgepersError(f"kernels {path} {mismatch.format(found=found, needed=needed)}; rebuild {_WHERE}")
    except (OSError, AttributeError) as error:
        raise EdgepersError(f"kernels {path} do not load ({error}); rebuild {_WHERE}") from error
    for name, (of_kind, result, arguments) in SIGNATURES.items():
        if of_kind != kind:
            continue
        try:
            function = getattr(loaded, name)
        except AttributeError as error:
            raise EdgepersError(f"kernels {path} lack {name}; rebuild {_WHERE}") from error
        function.restype, function.argtypes = result, arguments
    return loaded


def has(kind: str) -> bool:
    """Whether the library of `kind` is built; loads it."""
    return library(kind) is not None


def dtype_code(tensor: "Tensor") -> int:
    """Code of a tensor's float dtype in csrc/edgepers.h."""
    return DTYPES[str(tensor.dtype).removeprefix("torch.")]


def call(name: str, *arguments: Any) -> int:
    """Call one function of the table and return its code.

    Tensors and arrays go as pointers, None as null; memory that ran out raises here.
    """
    loaded = library(SIGNATURES[name][0])
    assert loaded is not None, f"{name} is called without its library"
    code: int = getattr(loaded, name)(*map(_pointer, arguments))
    if code == NO_MEMORY and SIGNATURES[name][0] == "cpu":
        raise MemoryError(f"{name}: no memory for its working arrays; use smaller batches")
    return code


def _pointer(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.__array_interface__["data"][0]  # value.ctypes.data takes three times as long
    return value.data_ptr() if hasattr(value, "data_ptr") else value


def launch(name: str, first: "Tensor", *arguments: Any) -> None:
    """Call one CUDA function of the table on the device of `first` and its current stream.

    Raises:
        RuntimeError: CUDA refused the launch, with its reason.
    """
    import torch

    with torch.cuda.device_of(first):
        code = call(name, first, *arguments, torch.cuda.current_stream().cuda_stream)
    if code != OK:
        loaded = library("cuda")
        assert loaded is not None
        raise RuntimeError(f"{name}: {loaded.edgepers_cuda_error(code).decode()}")


def isa() -> str:
    """Instruction set that the C++ kernels use on this machine, such as "avx512bf16" or "neon"."""
    loaded = library("cpu")
    assert loaded is not None, "there are no C++ kernels to ask"
    return str(loaded.edgepers_isa().decode())
