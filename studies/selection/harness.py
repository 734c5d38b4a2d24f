"""What the parts of the study share: options, runs that are not done yet, and a selector that is offered a stream."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.lines import lines_there
from edgepers.select.micro_batches import MICRO_BATCH
from edgepers.select.selector import Selector
from edgepers.streams import Arrival, Cursor, DialogueSet, read_dialogue_sets

__all__ = ["offer_all", "options", "other_talk_of", "undone"]

Run = dict[str, Any]


def options(doc: str | None, out: Path, owners: Sequence[str]) -> argparse.Namespace:
    """The command line of a part that is about owners: data, model, owners, orders, out."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with dolly.jsonl")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--owners", default=",".join(owners))
    parser.add_argument("--orders", type=int, default=5)
    parser.add_argument("--out", type=Path, default=out)
    args = parser.parse_args()
    args.owners = args.owners.split(",")
    return args


def undone(runs: Iterable[Run], model: str, out: Path) -> list[Run]:
    """The runs of which the file has no line by this model."""
    lines = lines_there(out)
    return [run for run in runs if not any(({"model": model} | run).items() <= line.items() for line in lines)]


def other_talk_of(data: Path) -> list[DialogueSet]:
    """DOLLY's sets, which are about nobody's facts."""
    return list(read_dialogue_sets(data / "dolly.jsonl", need_reference=True))


def offer_all(selector: Selector, sets: Sequence[DialogueSet]) -> None:
    """Have a selector decide on sets, a micro-batch after the other."""
    for first in range(0, len(sets), MICRO_BATCH):
        selector.offer([Arrival(one, Cursor(0), Cursor(0)) for one in sets[first : first + MICRO_BATCH]])
