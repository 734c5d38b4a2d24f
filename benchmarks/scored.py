"""Streams scored once with the packaged model, for studies that replay them.

The response is the data set's reference.
"""

import pickle
import tempfile
from dataclasses import replace
from itertools import islice
from pathlib import Path

from edgepers.model.language_model import LanguageModel
from edgepers.select.micro_batches import MICRO_BATCH
from edgepers.select.selector import Selector
from edgepers.state.buffer import Buffer
from edgepers.state.records import KeptSet
from edgepers.streams import Arrival, Cursor, DialogueSet, IterableStream, read_dialogue_sets

__all__ = ["scored_stream"]

_ROOMY = 1 << 30  # bytes: every set of a study fits


def scored_stream(file: Path, limit: int, cache: Path | None, llm: list[LanguageModel]) -> list[KeptSet]:
    """The first `limit` sets as a selector scores and stores them, each with its response's loss.

    `llm` is filled when it is first needed.

    The model does not answer: the data set's own answer stands for the response, so that lengths are the data's.
    """
    known = None if cache is None else cache / f"{file.stem}-{limit}.pickle"
    if known is not None and known.exists():
        return list(pickle.loads(known.read_bytes()))
    if not llm:
        llm.append(LanguageModel.load())
    dialogues = [replace(d, response=d.reference) for d in read_dialogue_sets(file)[:limit]]
    kept = _scored(dialogues, llm[0])
    if known is not None:
        known.write_bytes(pickle.dumps(kept))
    return kept


def _scored(dialogues: list[DialogueSet], llm: LanguageModel) -> list[KeptSet]:
    arrivals = IterableStream(dialogues).read(Cursor(), lambda _: None)
    kept: list[KeptSet] = []
    with tempfile.TemporaryDirectory() as folder, Buffer(folder, _ROOMY) as buffer:
        selector = Selector(buffer, llm, policy="fifo", embedding="hidden")  # as the figures were made
        losses: list[float] = []
        while batch := list(islice(arrivals, MICRO_BATCH)):
            selector.offer(batch)
            losses += llm.losses([_pair(arrival) for arrival in batch], adapter=False)
        kept = [replace(one, loss=losses[one.position]) for one in buffer]
    return kept


def _pair(arrival: Arrival) -> tuple[str, str]:
    return arrival.dialogue.question, arrival.dialogue.response or ""
