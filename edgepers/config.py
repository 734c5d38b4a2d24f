"""Every setting once: name, default, help and check. The command line and the state's edgepers.toml are made from this."""

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, get_type_hints

from edgepers.errors import UsageError

__all__ = ["MIN_STORAGE_BYTES", "PAPER", "POLICIES", "Settings", "format_size", "parse_size"]

MIN_STORAGE_BYTES = 48_000  # below it the journal's reserve leaves no room for a record of ordinary length
POLICIES = ("quality", "aging", "density", "random", "fifo", "kcenter", "longest", "loss")
ENTROPIES = ("windowed", "collision", "spectral", "token", "histogram")
FORMATS = (
    "question", "openorca", "chatgpt", "openwebui", "messages", "sharegpt",
    "empathetic", "prosocial", "dolly", "instruction", "meddialog",
)  # fmt: skip
EXPORT_FORMATS = ("peft", "gguf", "merged")
EXPORT_ONTO = ("quantized", "original")
LORA_TARGETS = ("attention", "all-linear")
OPTIMIZERS = ("auto", "adamw", "adamw8bit")
PLAN_DEVICES = ("orin-nano-8gb", "orin-nx-16gb", "orin-agx-64gb", "this")

_UNITS = {
    "": 1,
    "B": 1,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KIB": 1024,
    "MIB": 1024**2,
    "GIB": 1024**3,
    "TIB": 1024**4,
}


class Size(int):
    """A number of bytes; on the command line `281KB`, `4GB`, `4GiB` (KB = 1000 bytes)."""


def parse_size(text: str) -> Size:
    """Bytes of a size such as `281KB`, `4GB` or `4GiB`; KB = 1000 bytes.

    Raises:
        UsageError: names the text and the units.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if not match or match[2].upper() not in _UNITS:
        raise UsageError(
            f"size {text!r} is not a number with a unit; write 281KB, 4GB or 4GiB (KB = 1000 bytes, KiB = 1024)"
        )
    return Size(math.floor(float(match[1]) * _UNITS[match[2].upper()]))


def format_size(size: float) -> str:
    """Bytes as people read them, in powers of 1000."""
    for unit in ("B", "KB", "MB"):
        if abs(size) < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"


def option(default: Any, help: str, *, choices: tuple[str, ...] | None = None, given: bool = True) -> Any:
    """A field that is a line of edgepers.toml and, where `given`, a command-line option."""
    return field(default=default, metadata={"help": help, "choices": choices, "given": given})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a state works. Written to its edgepers.toml; what is given again later replaces what is there."""

    model: str = option("", "local folder or Hub name of the base model; empty: the packaged small model")
    bits: int = option(4, "4: NF4 with double quantization; 16: none")
    storage: Size = option(Size(281_000), "most bytes on disk for everything kept, such as 281KB")
    memory: Size = option(
        Size(4_000_000_000), "most bytes of memory above the interpreter's own, GPU memory included, such as 4GB"
    )
    every: int = option(200, "valid dialogue sets between two rounds")
    policy: str = option("random", "who enters the buffer and who leaves", choices=POLICIES)
    entropy: str = option("windowed", "reading of the entropy of embedding", choices=ENTROPIES)
    lexicons: str = option("", "folder with one <domain>.txt of words per domain; empty: the packaged ones")
    scored_text: str = option("response", "text that is scored beside the question", choices=("response", "reference"))
    protect_annotated: bool = option(True, "annotated sets leave only when nothing else can")
    annotations: str = option(
        "ask", "gold (the data set's reference), ask (on the terminal), or a JSONL file of answers"
    )
    annotations_per_round: int = option(16, "most requests to the owner in one round")
    generations: int = option(3, "variations asked of the model for each annotated set; 0: none")
    synthesize: str = option("question", "what is varied", choices=("question", "pair"))
    steps: int = option(100, "optimizer steps of a round")
    epochs: int = option(0, "passes over the training sets instead of a fixed number of steps; 0: use steps")
    batch: int = option(16, "training sets in one optimizer step, at most")
    step_tokens: int = option(
        0, "tokens of the sets of one optimizer step, about, however many sets they are; 0: --batch sets"
    )
    learning_rate: float = option(0.0, "peak learning rate; 0: by the model's size")
    optimizer: str = option(
        "auto", "AdamW's moments in 32 bits, or in 8 (adamw8bit); auto: in 8 on a GPU", choices=OPTIMIZERS
    )
    liger: bool = option(False, "norms and gated products in training by Liger-Kernel's kernels: a GPU and extra liger")
    fused: bool = option(
        False,
        "products of 4-bit weights in training by a kernel that dequantizes on the way, where it is faster: a GPU",
    )
    lora_rank: int = option(8, "rank of the LoRA adapter; alpha is twice the rank")
    lora_targets: str = option(
        "attention", "layers that the adapter changes: q, k, v, o, or every linear layer", choices=LORA_TARGETS
    )
    lora_layers: str = option(
        "all", "all: the adapter is on every block; top:K: on the K uppermost, and those below run once for each set"
    )
    rehearsal: int = option(
        4, "general sets in each step on which the adapter is held to what the base model says; 0: none"
    )
    guard: bool = option(True, "keep an adapter aside that is worse on annotated sets held in reserve")
    guard_perplexity: float = option(
        0.0, "most that general perplexity may rise over the base model's, as a share; 0: by the model's size"
    )
    keep_adapters: int = option(3, "newest adapters kept on disk, the published one always among them")
    seed: int = option(0, "seed of every random choice")
    format: str = option(
        "", "form of the stream's records; empty: detected from the first of them", choices=("", *FORMATS)
    )
    key_file: str = option("", "file outside the state that holds its key; empty: in your configuration folder")
    durability: str = option(
        "every", "every: each admission is a commit of its own; batch:N: up to N of a micro-batch share one"
    )
    passphrase: bool = option(False, "wrap a new state's key with a passphrase: EDGEPERS_PASSPHRASE, or asked for")
    pause_when_busy: str = option(
        "",
        "training waits while the device is busy: on, or bounds such as load:0.5,battery:30,temperature:85 (share of"
        " the cores that other"
        " programs take, percent left unplugged, degrees Celsius)",
    )
    stream: str = option("", "stream file last read: where gold annotation looks references up", given=False)
    preset: str = option("", "paper: every choice as in Qin et al. (DAC 2024) where it is known", choices=("", "paper"))

    def __post_init__(self) -> None:
        """Refuse values that cannot be right.

        Raises:
            UsageError: names the option, its value and the limit.
        """
        for f in fields(self):
            choices = f.metadata["choices"]
            if choices and getattr(self, f.name) not in choices:
                raise UsageError(
                    f"--{f.name.replace('_', '-')} {getattr(self, f.name)!r} is unknown; choose"
                    f" {', '.join(c for c in choices if c)}"
                )
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise UsageError(f"--{name.replace('_', '-')} is {getattr(self, name)}; the least is {least}")
        if self.bits not in (4, 16):
            raise UsageError(f"--bits is {self.bits}; choose 4 (NF4) or 16 (none)")
        if self.storage < MIN_STORAGE_BYTES:
            raise UsageError(f"--storage is {format_size(self.storage)}; the least is {format_size(MIN_STORAGE_BYTES)}")
        if self.admissions_a_commit < 1:
            raise UsageError(f"--durability is {self.durability!r}; give every, or batch:N with N of at least 1")
        if self.top_layers < 0:
            raise UsageError(f"--lora-layers is {self.lora_layers!r}; give all, or top:K with K of at least 1")
        if (wrong := _wrong_bound(self.pause_when_busy)) is not None:
            raise UsageError(
                f"--pause-when-busy is {self.pause_when_busy!r}, where {wrong!r} is no bound; give on, or some of"
                " load:0.5 (above 0, at"
                f" most 1), battery:30 (percent), temperature:85 (degrees Celsius), with commas between, or nothing"
            )
        if not math.isfinite(self.learning_rate):
            raise UsageError(
                f"--learning-rate is {self.learning_rate}; give a number such as 2e-4, or 0 for the model's own"
            )

    @property
    def admissions_a_commit(self) -> int:
        """Of `durability`; 0 for what is neither "every" nor "batch:N"."""
        match = re.fullmatch(r"batch:(\d{1,6})", self.durability)
        return int(match[1]) if match else int(self.durability == "every")

    @property
    def top_layers(self) -> int:
        """Of `lora_layers`: 0 for all, -1 for what is neither "all" nor "top:K"."""
        match = re.fullmatch(r"top:([1-9]\d{0,3})", self.lora_layers)
        return int(match[1]) if match else -(self.lora_layers != "all")

    @property
    def busy_bounds(self) -> dict[str, float]:
        """Of `pause_when_busy`, by sensor; none where it is off."""
        if self.pause_when_busy == "on":
            return dict(BUSY)
        return {name: float(value) for name, _, value in map(_parted, self.pause_when_busy.split(",")) if name}

    @classmethod
    def make(cls, given: Mapping[str, Any], saved: Mapping[str, Any] | None = None) -> "Settings":
        """Defaults, then what the state has saved, then a preset that is given now, then what else is given now."""
        values = {**(saved or {}), **(PAPER if given.get("preset") == "paper" else {}), **given}
        try:
            return replace(cls(), **values)
        except TypeError as error:
            raise UsageError(f"unknown setting: {error}") from None

    @classmethod
    def hints(cls) -> dict[str, type]:
        """Name and type of each setting."""
        return get_type_hints(cls)


BUSY = {"load": 0.5, "battery": 30.0, "temperature": 85.0}  # what `on` means
_MOST = {"load": 1.0, "battery": 100.0, "temperature": 150.0}


def _parted(bound: str) -> tuple[str, str, str]:
    name, colon, value = bound.partition(":")
    return name.strip(), colon, value.strip()


def _wrong_bound(text: str) -> str | None:
    """The part of `--pause-when-busy` that is no bound; None where all are."""
    if text in ("", "on"):
        return None
    seen = set()
    for bound in text.split(","):
        name, _, value = _parted(bound)
        if (
            name not in BUSY
            or name in seen
            or not re.fullmatch(r"\d+(\.\d+)?|\.\d+", value)
            or not 0 < float(value) <= _MOST[name]
        ):
            return bound
        seen.add(name)
    return None


_LEAST = {
    "every": 1,
    "annotations_per_round": 0,
    "generations": 0,
    "steps": 1,
    "epochs": 0,
    "batch": 1,
    "step_tokens": 0,
    "learning_rate": 0.0,
    "guard_perplexity": 0.0,
    "lora_rank": 1,
    "rehearsal": 0,
    "keep_adapters": 1,
    "memory": 100_000_000,
}

assert all(f.default is not MISSING for f in fields(Settings))

# What is known of the paper's choices: its text, figures and the first author's script. Round length, batch, epochs and
# learning rate are remembered, not seen (docs/method.md); everything kept is annotated, since bytes limit learning
# there.
PAPER: dict[str, Any] = {
    "storage": Size(2_816_000),
    "every": 800,
    "policy": "quality",
    "entropy": "histogram",
    "scored_text": "reference",
    "protect_annotated": False,
    "annotations_per_round": 128,
    "synthesize": "pair",
    "batch": 128,
    "epochs": 100,
    "learning_rate": 3e-4,
    "rehearsal": 0,
    "guard": False,
}
