"""Why the owner is asked about a set: in a few words, for whoever shows the question."""

from collections.abc import Sequence

import numpy as np

from edgepers.annotate.coverage import MOST, similarities
from edgepers.select.verdicts import Verdicts
from edgepers.state.records import KeptSet

__all__ = ["reasons"]

ALIKE = 0.16  # a similarity from which on two questions are said to be like each other: a cosine of 0.4
_BY_ORDER = {
    "newest": "the newest that you have not judged",
    "random": "drawn among those that you have not judged",
    "quality": "it scores highest of those that you have not judged",
    "loss": "its answer is what the model expects least of those that you have not judged",
    "kcenter": "it is least like everything that you have judged",
}


def reasons(verdicts: Verdicts, asked: Sequence[KeptSet], ask: str = "coverage") -> list[str]:
    """Of each set that is asked about, why it is.

    Args:
        verdicts: of the buffer.
        asked: as `requests` lists them.
        ask: the order that they were asked for in, as in `pending`.
    """
    if ask != "coverage":
        return [_known(kept) or _BY_ORDER[ask] for kept in asked]
    buffer = verdicts.buffer
    with buffer.lock:
        here = {kept.position for kept in asked}
        others = [buffer.get(position) for position in list(buffer.marks)[-MOST:] if position not in here]
    sets = [*asked, *others]
    if not sets:
        return []
    like = similarities([kept.question for kept in sets]) >= ALIKE
    np.fill_diagonal(like, val=False)
    times = np.array([1 + kept.repeats for kept in sets])
    judged = np.array([kept.annotated for kept in sets])
    return [
        _known(kept)
        or _doubted(kept)
        or _covers(kept.repeats + int(times[alike & ~judged].sum()), known=bool(judged[alike].any()))
        for kept, alike in zip(asked, like, strict=False)
    ]


def _known(kept: KeptSet) -> str:
    if kept.rejected:
        return "you called it wrong, and have not said what is right"
    return "asked before, and not answered" if kept.asked else ""


def _doubted(kept: KeptSet) -> str:
    return "what you said next takes its answer back" if kept.doubted and not kept.annotated else ""


def _covers(more: int, *, known: bool) -> str:
    """Why it stands for so many more; `known`: something like it has a verdict."""
    if known:
        return f"it stands for {more} more like it" if more else "it is a little like what you have judged"
    if not more:
        return "nothing else that you asked is like it"
    return f"you asked about this {more + 1} times, and have judged no answer to it"
