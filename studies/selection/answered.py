r"""Facts of an owner that are answered after training, by the order of asking: PROTOCOL.md.

Run: python -m studies.selection.answered --data ../shared/data [--model smollm2] [--owners omar,sofia] [--orders 5]
     [--out FILE]

`--data` as for `studies.selection.asked`. One line a run, of 5 to 15 minutes; what the file has a line of already is
not done again.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.lines import append_line
from edgepers.annotate.sources import Answer
from edgepers.assets import general_sets
from edgepers.config import Settings
from edgepers.evaluate.guard import guard, pairs_of
from edgepers.evaluate.rouge import rouge1
from edgepers.evaluate.verdict import perplexity_rise
from edgepers.model.language_model import LanguageModel
from edgepers.rounds.learn import learn
from edgepers.rounds.training_data import TrainingData
from edgepers.rounds.verdicts import part
from edgepers.select.scores import Encoder
from edgepers.state.buffer import Buffer
from edgepers.state.records import KeptSet
from edgepers.streams import DialogueSet
from studies.owners.owners import REPORT, Owner, load_owner
from studies.selection.asked import TopicEncoder, stream_of, three_rounds
from studies.selection.harness import options, other_talk_of, undone

ASKS = ("coverage", "newest", "random", "loss", "kcenter", "quality")
STREAM, STORAGE, POLICY = "3", 281_000, "typical"
TOKENS = 24  # of an answer: a fact is a short sentence
OUT = Path(__file__).parent / "results" / "answered.jsonl"


class LossEncoder(TopicEncoder):
    """A model's topics and losses, without its hidden states."""

    def __init__(self, llm: LanguageModel) -> None:
        super().__init__(llm)
        self.losses = llm.losses


def encoder_for(llm: LanguageModel, ask: str) -> Encoder:
    """What an order of asking reads: hidden states by `quality` alone."""
    if ask == "quality":
        return llm
    return LossEncoder(llm) if ask == "loss" else TopicEncoder(llm)


def answers(llm: LanguageModel, owner: Owner, adapter: Path | None) -> dict[str, Any]:
    """What a model says to an owner's held-out questions, to what was never told, and to general sets."""
    llm.use_adapter(adapter)
    held_out = [(question, fact) for fact in owner.facts for question in fact.held_out]
    said = llm.answer([question for question, _ in held_out], max_new_tokens=TOKENS)
    known: dict[str, list[int]] = {}
    for (_, fact), answer in zip(held_out, said, strict=True):
        known.setdefault(fact.id, []).append(int(fact.known(answer)))
    untold = llm.answer(owner.never_told, max_new_tokens=TOKENS)
    losses = llm.losses(pairs_of(general_sets()))
    llm.use_adapter(None)
    return {
        "known": known,
        "rouge1": 100 * rouge1([fact.reference for _, fact in held_out], said),
        "leaked": sum(map(owner.gives_away, untold)),
        "losses": losses,
    }


def learned(llm: LanguageModel, buffer: Buffer, seed: int, folder: Path) -> dict[str, Any]:
    """Learn everything that a buffer has verdicts on, at once, and ask the guard; what came of it."""
    settings = Settings.make({"seed": seed})
    training, reserve, rejected, contradicted = part(buffer.annotated())
    data = TrainingData(training, reserve, {}, contradicted=contradicted, rejected=rejected)
    began = time.perf_counter()
    data = data.with_recurring(llm, buffer, settings.recurring)
    lessons = data.lessons()
    result = learn(llm, settings, lessons.pairs, folder, lambda _: None, names=lessons.names)
    verdict = guard(llm, settings, data.asked(buffer), None, folder)
    return {
        "corrections": len(training) + len(reserve),
        "again": len(data.again),
        "steps": result.steps,
        "seconds": round(time.perf_counter() - began, 1),
        "published": verdict.publish,
        "reason": verdict.reason,
        "scale": verdict.scale,
    }


def answered(llm: LanguageModel, owner: Owner, stream: Sequence[DialogueSet], run: dict[str, Any]) -> dict[str, Any]:
    """One run: three rounds of requests, everything learned at once, the guard; its figures."""
    before = answers(llm, owner, None)
    facts_told: set[str] = set()

    def owner_says(kept: KeptSet) -> Answer:
        facts_told.update([kept.id] if kept.id else [])
        return Answer(kept.response)

    with (
        three_rounds(encoder_for(llm, run["ask"]), stream, run, owner_says, with_losses=run["ask"] == "loss") as (
            buffer,
            _,
        ),
        tempfile.TemporaryDirectory() as made,
    ):
        line = learned(llm, buffer, run["order"], Path(made) / "0001")
        after = answers(llm, owner, Path(made) / "0001" if line["published"] else None)
    rise = perplexity_rise(before.pop("losses"), after.pop("losses"))
    told = {"facts": len(owner.facts), "told": sorted(facts_told)}
    return told | line | after | {"rouge1_before": before["rouge1"], "perplexity_rise": rise}


def runs(owners: Sequence[str], orders: int) -> Iterator[dict[str, Any]]:
    """What is run: one dictionary a line of the file; all orders of asking before the next order of the stream."""
    for order, ask, name in product(range(orders), ASKS, owners):
        yield {"owner": name, "stream": STREAM, "order": order, "storage": STORAGE, "policy": POLICY, "ask": ask}


def main() -> None:
    """Run what is not in the file yet."""
    args = options(__doc__, OUT, REPORT)
    llm, others = LanguageModel.load(args.model), other_talk_of(args.data)
    for run in undone(runs(args.owners, args.orders), args.model, args.out):
        owner = load_owner(run["owner"])
        stream = stream_of(owner, run["stream"], run["order"], others)
        append_line(args.out, {"model": args.model} | run | answered(llm, owner, stream, run))


if __name__ == "__main__":
    main()
