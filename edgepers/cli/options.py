"""Options of commands, made from the settings: name, type, default and help stand in `Settings` alone."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from edgepers.config import Settings, Size, hints_of, option_name, parse_size
from edgepers.errors import UsageError

__all__ = ["PLANNED", "PROFILED", "add_options", "add_settings", "count", "size"]

# Settings that a measured round depends on, and those that decide what one takes.
PROFILED = (
    "model",
    "bits",
    "storage",
    "memory",
    "policy",
    "annotations_per_round",
    "generations",
    "batch",
    "lora_rank",
    "lora_targets",
    "lora_layers",
    "review",
    "rehearsal",
    "untold",
    "contrast",
    "lexicons",
    "scored_text",
    "format",
    "encoding",
    "me",
    "seed",
)
PLANNED = (
    "model",
    "bits",
    "storage",
    "annotations_per_round",
    "generations",
    "steps",
    "epochs",
    "batch",
    "step_tokens",
    "optimizer",
    "liger",
    "fused",
    "lora_rank",
    "lora_targets",
    "lora_layers",
    "review",
    "rehearsal",
    "untold",
    "contrast",
    "guard",
)
_UNSET = "none"  # on the command line: no value


def size(text: str) -> Size:
    """Read a size such as 281KB."""
    try:
        return parse_size(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _plain_size(size: int) -> str:
    return f"{size // 10**9}GB" if size >= 10**9 else f"{size // 1000}KB"


def count(text: str) -> int:
    """Read a number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a positive number")
    return value


def add_settings(parser: argparse.ArgumentParser) -> None:
    """All settings, as options of their own group."""
    group = parser.add_argument_group(
        "settings",
        "kept in the state's edgepers.toml; what is given again replaces what is there, and none unsets it",
    )
    add_options(group, [f.name for f in fields(Settings) if f.metadata["given"]])


def add_options(group: argparse._ActionsContainer, names: Sequence[str], cls: type = Settings) -> None:
    """One option a field of `cls`, a class of options: name, type, default and help come from there."""
    hints = hints_of(cls)
    for f in fields(cls):
        if f.name not in names:
            continue
        kind, may_be_unset = hints[f.name]
        default = _plain_size(f.default) if isinstance(f.default, Size) else f.default
        text = str(f.metadata["help"]) + ("" if default is None else f" (default {default})")
        if f.metadata["choices"]:
            text = f"{text}; one of {', '.join(f.metadata['choices'])}"
        text = text.replace("%", "%%")
        if kind is bool:
            action = argparse.BooleanOptionalAction
            group.add_argument(option_name(f.name), action=action, default=argparse.SUPPRESS, help=text)
        else:
            group.add_argument(
                option_name(f.name),
                type=_reader(size if kind is Size else kind, may_be_unset=may_be_unset),
                metavar={Size: "SIZE", int: "N", float: "X", str: "TEXT"}[kind],
                default=argparse.SUPPRESS,
                help=text,
            )


def _reader(kind: Callable[[str], Any], *, may_be_unset: bool) -> Callable[[str], Any]:
    """Read an option's value; "none" unsets what may be unset."""

    def read(text: str) -> Any:
        return None if may_be_unset and text == _UNSET else kind(text)

    read.__name__ = getattr(kind, "__name__", "value").strip("_")  # argparse names it where the text is no such value
    return read
