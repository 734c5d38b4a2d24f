"""A GGUF file, the format of llama.cpp: its header, and its weights one at a time.

Of a file's weights only those that are asked for are read, by the rows: a model never stands in memory whole.
"""

import math
import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepers.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["READ_ARCHITECTURES", "GgufFile", "GgufTensor"]

READ_ARCHITECTURES = ("gemma2", "gemma3", "llama", "phi3", "qwen2", "qwen3")
READ_TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K")

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9  # types of a field's value
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_MOST_DIMENSIONS = 4
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)
_CHUNK = 1 << 23  # weights that are dequantized at once: 32 MB as float32, and two or three times that on the way


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """Where a weight lies and how it is stored.

    Attributes:
        name: such as `blk.0.ffn_up.weight`.
        shape: as torch has it: rows first.
        kind: GGML's number of its type.
        type: its name, such as "Q4_K"; "type 99" where the `gguf` package has none.
        start: bytes before it in the file.
        size: its bytes.
    """

    name: str
    shape: tuple[int, ...]
    kind: int
    type: str
    start: int
    size: int


class GgufFile:
    """A GGUF file that can be read here: little-endian, whole, a text model of a known architecture and known types.

    Args:
        path: of the file.

    Attributes:
        path: of the file.
        fields: of the header, by key. Of arrays those of numbers and texts are kept, in order.
        tensors: by name, in the file's order.

    Raises:
        ModelError: it cannot be read here; says in one line why, and what to give instead.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fields: dict[str, Any] = {}
        self.tensors: dict[str, GgufTensor] = {}
        self._spans: dict[str, tuple[int, int]] = {}
        self._check_alone()
        try:
            size = path.stat().st_size
            with path.open("rb") as opened:
                self._check_kind(opened.read(128), size)
                with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as header:
                    self._read(header)
        except OSError as error:
            raise self._refused(error.strerror or "cannot be read", "check the path and its permissions") from None
        except (struct.error, IndexError, OverflowError):
            raise self._refused(f"is cut in its header: {size:,} bytes", "download it again") from None
        except (UnicodeDecodeError, ValueError) as error:
            raise self._refused(f"is damaged ({error})", "download it again") from None
        self._check_fields()
        self._check_tensors(size)

    @property
    def architecture(self) -> str:
        """As llama.cpp calls it."""
        return str(self.fields["general.architecture"])

    def field(self, name: str, default: Any = None) -> Any:
        """A field of the architecture, such as `attention.head_count`; `default` where there is none."""
        return self.fields.get(f"{self.architecture}.{name}", default)

    def header_alone(self, *, without: str | None = None, extra: dict[str, int] | None = None) -> bytes:
        """The same file without its weights, for what reads only fields.

        Args:
            without: fields whose key begins so and that hold an array are left out.
            extra: numbers that are added where there is no such field.
        """
        with self.path.open("rb") as opened:
            header = opened.read(max(end for _, end in self._spans.values()))
        kept = [
            header[begin:end]
            for key, (begin, end) in self._spans.items()
            if without is None or not (key.startswith(without) and isinstance(self.fields[key], list))
        ]
        kept += [
            struct.pack("<Q", len(key)) + key.encode() + struct.pack("<II", 4, value)
            for key, value in (extra or {}).items()
            if key not in self.fields
        ]
        return _MAGIC + struct.pack("<IQQ", 3, 0, len(kept)) + b"".join(kept)

    def weight_bytes(self, bits: int) -> float:
        """About how many bytes of memory its weights take: NF4 but the embedding and the head, or 16 bits each."""
        nf4 = 0.516  # bytes of a weight with its scales
        total = 0.0
        for tensor in self.tensors.values():
            quantized = bits == 4 and len(tensor.shape) == 2 and tensor.name.startswith("blk.")
            total += math.prod(tensor.shape) * (nf4 if quantized else 2)
        return total

    def read(self, tensor: GgufTensor) -> Iterator["Tensor"]:
        """A weight in float32, some rows at a time: [rows, ...] until all have come.

        Raises:
            ModelError: the file has changed.
        """
        import gguf
        import numpy as np
        import torch

        rows = tensor.shape[0] if len(tensor.shape) > 1 else 1
        row_bytes, row_weights = tensor.size // rows, math.prod(tensor.shape) // rows
        at_once = max(_CHUNK // row_weights, 1)
        kind = gguf.GGMLQuantizationType(tensor.kind)
        with self.path.open("rb") as opened:
            opened.seek(tensor.start)
            for first in range(0, rows, at_once):
                count = min(at_once, rows - first)
                data = np.fromfile(opened, dtype=np.uint8, count=count * row_bytes)
                if data.size != count * row_bytes:
                    raise self._refused("has changed while it was read", "try again")
                values = gguf.quants.dequantize(data.reshape(count, row_bytes), kind).astype(np.float32, copy=False)
                shape = (count, *tensor.shape[1:]) if len(tensor.shape) > 1 else tensor.shape
                yield torch.from_numpy(np.ascontiguousarray(values)).view(shape)

    def _refused(self, why: str, cure: str) -> ModelError:
        return ModelError(f"--model {self.path}: {why}; {cure}")

    def _check_alone(self) -> None:
        """Refuse one of several files of a model, by its name."""
        if (shard := _SHARD.search(self.path.name)) and shard[2] != "00001":
            raise self._split(int(shard[2]))

    def _split(self, count: int) -> ModelError:
        return self._refused(
            f"one of {count} files of a split model",
            "join them with 'llama-gguf-split --merge' and give the file that it writes",
        )

    def _check_kind(self, header: bytes, size: int) -> None:
        """Refuse what is no GGUF, of another byte order or version."""
        if header.startswith(b"version https://git-lfs"):
            raise self._refused("is a pointer of Git LFS, not the file", "fetch it with 'git lfs pull'")
        if not header.startswith(_MAGIC):
            raise self._refused("is not a GGUF file", "give one, or a folder in Hugging Face format")
        if size < 24:
            raise self._refused(f"is cut in its header: {size} bytes", "download it again")
        version = int.from_bytes(header[4:8], "little")
        if version & 0xFFFF == 0:
            raise self._refused("is big-endian", "convert it with gguf's 'gguf-convert-endian FILE little'")
        if version not in _VERSIONS:
            raise self._refused(f"is GGUF version {version}, and 2 and 3 are read", "take a newer file of the model")

    def _read(self, header: mmap.mmap) -> None:
        """Fields and places of the weights."""
        count, number_of_fields = struct.unpack_from("<QQ", header, 8)
        at = 24
        for _ in range(number_of_fields):
            begin = at
            key, at = _text(header, at)
            (kind,) = struct.unpack_from("<I", header, at)
            self.fields[key], at = _value(header, at + 4, kind)
            self._spans[key] = begin, at
        places = []
        for _ in range(count):
            name, at = _text(header, at)
            (dimensions,) = struct.unpack_from("<I", header, at)
            if dimensions > _MOST_DIMENSIONS:
                raise ValueError(f"{name} of {dimensions} dimensions")
            sizes = struct.unpack_from(f"<{dimensions}Q", header, at + 4)
            kind, start = struct.unpack_from("<IQ", header, at + 4 + 8 * dimensions)
            at += 16 + 8 * dimensions
            places.append((name, tuple(reversed(sizes)), kind, start))
        alignment = self.fields.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise ValueError(f"alignment {alignment}")
        data = -(-at // alignment) * alignment
        for name, shape, kind, start in places:
            if name in self.tensors:
                raise ValueError(f"two weights {name}")
            size, called = _stored(shape, kind)
            self.tensors[name] = GgufTensor(name, shape, kind, called, data + start, size)

    def _check_fields(self) -> None:
        """Refuse what is no text model, of which this is only a part, or whose architecture is not read here."""
        architecture = self.fields.get("general.architecture")
        kind = str(self.fields.get("general.type", "model"))
        if kind == "adapter":
            raise self._refused("is a LoRA adapter, not a model", "give the GGUF file of its base model")
        if kind == "mmproj" or architecture == "clip":
            raise self._refused("is a vision projector, not a text model", "give the model's other file")
        if (count := int(self.fields.get("split.count", 1))) > 1:
            raise self._split(count)
        if architecture not in READ_ARCHITECTURES:
            known = ", ".join(READ_ARCHITECTURES)
            raise self._refused(
                f"is of the architecture {str(architecture)!r}, and {known} are read",
                "give one of these, or the model's folder in Hugging Face format",
            )
        if int(self.field("expert_count", 0)) > 0:
            raise self._refused("is a mixture of experts", "take a model without experts")
        if "tokenizer.ggml.tokens" not in self.fields:
            raise self._refused("has no tokenizer", "take a file that was made with its vocabulary")

    def _check_tensors(self, size: int) -> None:
        """Refuse types that are not read here, and a file that ends before its weights do."""
        other = [tensor for tensor in self.tensors.values() if tensor.type not in READ_TYPES]
        if other:
            raise self._refused(
                f"{other[0].name} is stored as {other[0].type}, and {', '.join(READ_TYPES)} are read",
                "take a file in Q4_K_M or Q8_0",
            )
        if "token_embd.weight" not in self.tensors:
            raise self._refused("has no weight token_embd.weight", "download it again")
        needs = max(tensor.start + tensor.size for tensor in self.tensors.values())
        if size < needs:
            raise self._refused(f"is cut: {size:,} bytes of {needs:,}", "download it again")


def _text(header: mmap.mmap, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", header, at)
    end = at + 8 + length
    if end > len(header):
        raise IndexError(end)
    return header[at + 8 : end].decode("utf-8"), end


def _value(header: mmap.mmap, at: int, kind: int) -> tuple[Any, int]:
    """A field's value, and where it ends."""
    if kind == _STRING:
        return _text(header, at)
    if kind == _ARRAY:
        element, count = struct.unpack_from("<IQ", header, at)
        at += 12
        if element == _STRING:
            values: list[Any] = []
            for _ in range(count):
                text, at = _text(header, at)
                values.append(text)
            return values, at
        form = f"<{count}{_FORMATS[element]}" if element in _FORMATS else ""
        if not form:
            raise ValueError(f"an array of type {element}")
        if count > len(header):
            raise IndexError(count)
        return list(struct.unpack_from(form, header, at)), at + struct.calcsize(form)
    if kind not in _FORMATS:
        raise ValueError(f"a field of type {kind}")
    form = f"<{_FORMATS[kind]}"
    return struct.unpack_from(form, header, at)[0], at + struct.calcsize(form)


def _stored(shape: tuple[int, ...], kind: int) -> tuple[int, str]:
    """Bytes of a weight, and the name of its type; 0 bytes where the type is not known."""
    import gguf

    try:
        known = gguf.GGMLQuantizationType(kind)
    except ValueError:
        return 0, f"type {kind}"
    block, block_bytes = gguf.GGML_QUANT_SIZES[known]
    if not shape or shape[-1] % block:
        raise ValueError(f"rows of {shape[-1] if shape else 0} weights in blocks of {block}")
    return math.prod(shape) // block * block_bytes, known.name
