r"""Facts of an owner that are asked about, by policy and by order of asking: PROTOCOL.md.

Run: python -m studies.selection.asked --data ../shared/data [--model smollm2] [--owners emily,...] [--orders 5]
     [--out FILE]

`--data` is a folder with `dolly.jsonl`, of which the other talk of the longer streams is. One line a run; what the file
has a line of already is not done again.
"""

import math
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, product
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.lines import append_line
from benchmarks.recipes import other_talk
from edgepers.annotate.requests import annotate
from edgepers.annotate.sources import Answer, Source
from edgepers.model.language_model import LanguageModel
from edgepers.privacy.keyring import KeySource
from edgepers.select.scores import Encoder
from edgepers.select.selector import Selector
from edgepers.state.buffer import Buffer
from edgepers.state.records import KeptSet
from edgepers.streams import DialogueSet
from studies.owners.owners import DEVELOPMENT, REPORT, Owner, load_owner
from studies.selection.harness import offer_all, options, other_talk_of, undone

STREAMS = ("1", "3", "drift")
STORAGE = (281_000, 96_000)
WAYS = (
    ("random", "newest"), ("random", "random"), ("random", "coverage"), ("fifo", "coverage"), ("kcenter", "coverage"),
    ("typical", "newest"), ("typical", "coverage"),
)  # fmt: skip
ROUNDS, REQUESTS = 3, 16
OUT = Path(__file__).parent / "results" / "asked.jsonl"


class TopicEncoder:
    """A model's topics without its passes: hidden states that say nothing."""

    def __init__(self, llm: LanguageModel) -> None:
        self._llm = llm
        self.identity, self.hidden_size, self.topic_width = llm.identity, 1, llm.topic_width

    def topics(self, questions: Sequence[str]) -> Any:
        """As the model's."""
        return self._llm.topics(questions)

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """One row of zeros for each text."""
        return torch.zeros(len(texts), 1), torch.arange(len(texts) + 1)


def stream_of(owner: Owner, kind: str, order: int, others: Sequence[DialogueSet]) -> list[DialogueSet]:
    """An owner's questions among other talk; the id of a set about a fact is the fact's.

    Args:
        owner: whose.
        kind: of `STREAMS`.
        order: seed.
        others: other talk; the sample's comes first.
    """
    drawn = random.Random(order)
    sample = list(other_talk())
    facts = {fact.id: [DialogueSet(q, fact.reference, id=fact.id) for q in fact.asked] for fact in owner.facts}
    own = [one for sets in facts.values() for one in sets]
    count = len(own) * (1 if kind == "1" else 3)
    talk = [
        DialogueSet(one.question, one.reference)
        for one in (*drawn.sample(sample, min(count, len(sample))), *drawn.sample(others, max(count - len(sample), 0)))
    ]
    if kind != "drift":
        return _shuffled([*own, *talk], drawn)
    drawn.shuffle(talk)
    early = list(facts)[: len(facts) // 2]
    first = [one for one in own if one.id in early]
    second = [one for one in own if one.id not in early]
    half = len(talk) // 2
    return [*_shuffled([*first, *talk[:half]], drawn), *_shuffled([*second, *talk[half:]], drawn)]


def _shuffled(sets: list[DialogueSet], drawn: random.Random) -> list[DialogueSet]:
    drawn.shuffle(sets)
    return sets


@contextmanager
def three_rounds(
    encoder: Encoder, stream: Sequence[DialogueSet], run: dict[str, Any], source: Source, *, with_losses: bool = False
) -> Iterator[tuple[Buffer, Counter[str]]]:
    """A run of a stream, as `runs` has it: the buffer after its last round, and what became of the requests."""
    ends = [math.ceil(len(stream) * (i + 1) / ROUNDS) for i in range(ROUNDS)]
    with (
        tempfile.TemporaryDirectory() as made,
        Buffer(Path(made) / "state", run["storage"], keys=KeySource(Path(made) / "key"), batch=1000) as buffer,
    ):
        selector = Selector(
            buffer,
            encoder,
            policy=run["policy"],
            seed=run["order"],
            with_losses=with_losses,
            count_repeats=run.get("count_repeats", True),
        )
        outcomes: Counter[str] = Counter()
        for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False), 1):
            offer_all(selector, stream[start:end])
            outcomes.update(annotate(selector, source, number, REQUESTS, run["ask"]))
        yield buffer, outcomes


def correcting(facts_asked: set[str]) -> Source:
    """An owner who corrects what is about a fact, calls all else fine, and notes which facts were asked about."""

    def owner_says(kept: KeptSet) -> Answer:
        facts_asked.update([kept.id] if kept.id else [])
        return Answer(f"{kept.response} Yes." if kept.id else None)  # a correction is not what was said

    return owner_says


def asked_about(encoder: TopicEncoder, stream: Sequence[DialogueSet], run: dict[str, Any]) -> dict[str, Any]:
    """The figures of one run."""
    facts_asked: set[str] = set()
    with three_rounds(encoder, stream, run, correcting(facts_asked)) as (buffer, outcomes):
        again = sum(one.id in facts_asked and not one.annotated for one in buffer)
        return {
            "facts_asked": len(facts_asked),
            "asked": sum(outcomes.values()),
            "corrected": outcomes["corrected"],
            "again": again,
            "kept": len(buffer.marks),
        }


def runs(owners: Sequence[str], orders: int) -> Iterator[dict[str, Any]]:
    """What is run: one dictionary a line of the file."""
    for name, kind, order, storage, (policy, ask) in product(owners, STREAMS, range(orders), STORAGE, WAYS):
        yield {"owner": name, "stream": kind, "order": order, "storage": storage, "policy": policy, "ask": ask}


def main() -> None:
    """Run what is not in the file yet."""
    args = options(__doc__, OUT, DEVELOPMENT + REPORT)
    encoder, others = TopicEncoder(LanguageModel.load(args.model)), other_talk_of(args.data)
    left = undone(runs(args.owners, args.orders), args.model, args.out)
    for (name, kind, order), of_stream in groupby(left, itemgetter("owner", "stream", "order")):
        owner = load_owner(name)
        stream = stream_of(owner, kind, order, others)
        about = {"facts": len(owner.facts), "stream_sets": len(stream)}
        for run in of_stream:
            append_line(args.out, {"model": args.model} | run | about | asked_about(encoder, stream, run))


if __name__ == "__main__":
    main()
