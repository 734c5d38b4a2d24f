r"""Sets of different content that are kept, with repeats counted and without: PROTOCOL.md.

Run: python -m studies.selection.stored --data ../shared/data [--model smollm2] [--owners omar,sofia] [--orders 5]
     [--out FILE]

`--data` as for `studies.selection.asked`. Prints the table of README.md from all lines of the file; what the file has
a line of already is not done again.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.lines import append_line, lines_there
from edgepers.model.language_model import LanguageModel
from edgepers.select.repeats import wording
from edgepers.streams import DialogueSet
from studies.owners.owners import REPORT, load_owner
from studies.rouge1.study import table
from studies.selection.asked import STORAGE, TopicEncoder, correcting, stream_of, three_rounds
from studies.selection.harness import options, other_talk_of, undone

AGAIN = 1 / 3  # of what a person asks is asked in the same words again (Teevan et al. 2007, of a search engine)
POLICIES = ("typical", "random", "fifo")
OUT = Path(__file__).parent / "results" / "stored.jsonl"


def asked_again(stream: Sequence[DialogueSet], order: int) -> list[DialogueSet]:
    """A stream in which a share of `AGAIN` of the sets repeats an earlier one, and the oftener the more often it did.

    Args:
        stream: whose sets come in their order.
        order: seed.
    """
    drawn = random.Random(order)
    heard: list[DialogueSet] = []
    for one in stream:
        while heard and drawn.random() < AGAIN:
            heard.append(drawn.choice(heard))
        heard.append(one)
    return heard


def stored(encoder: TopicEncoder, stream: Sequence[DialogueSet], run: dict[str, Any]) -> dict[str, Any]:
    """The figures of one run."""
    facts_asked: set[str] = set()
    with three_rounds(encoder, stream, run, correcting(facts_asked)) as (buffer, _):
        kept = list(buffer)
        return {
            "stream_sets": len(stream),
            "kept": len(kept),
            "different": len({wording(one.question) for one in kept}),
            "counted": buffer.progress.dropped.get("repeat", 0),
            "facts_asked": len(facts_asked),
        }


def runs(owners: Sequence[str], orders: int) -> Iterator[dict[str, Any]]:
    """What is run: one dictionary a line of the file."""
    for name, order, storage, policy, counts in product(owners, range(orders), STORAGE, POLICIES, (False, True)):
        yield {
            "owner": name,
            "order": order,
            "storage": storage,
            "policy": policy,
            "ask": "coverage",
            "count_repeats": counts,
        }


def rows(lines: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The table: by budget and policy, means with repeats kept, then counted."""
    found = []
    for storage, policy in product(STORAGE, POLICIES):
        cells = []
        for counts in (False, True):
            some = [
                line
                for line in lines
                if (line["storage"], line["policy"], line["count_repeats"]) == (storage, policy, counts)
            ]
            kept, different = (fmean(line[name] for line in some) for name in ("kept", "different"))
            share = fmean(100 * line["facts_asked"] / line["facts"] for line in some)
            cells.append(f"{different:.0f} of {kept:.0f}; {share:.1f} %")
        found.append([f"{storage // 1000} KB", policy, *cells])
    return found


def main() -> None:
    """Run what is not in the file yet, and print the table."""
    args = options(__doc__, OUT, REPORT)
    encoder, others = TopicEncoder(LanguageModel.load(args.model)), other_talk_of(args.data)
    for run in undone(runs(args.owners, args.orders), args.model, args.out):
        owner = load_owner(run["owner"])
        stream = asked_again(stream_of(owner, "3", run["order"], others), run["order"])
        figures = {"facts": len(owner.facts)} | stored(encoder, stream, run)
        append_line(args.out, {"model": args.model} | run | figures)
    print(table(["storage", "policy", "repeats kept", "repeats counted"], rows(lines_there(args.out))))


if __name__ == "__main__":
    main()
