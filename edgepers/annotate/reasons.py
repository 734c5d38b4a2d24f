"""Why the owner is asked about a set: in a few words, for whoever shows the question."""

from collections.abc import Sequence

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
    with verdicts.buffer.lock:
        here = {kept.position for kept in asked}
        others = [p for p in verdicts.buffer.marks.unjudged() if p not in here][-MOST:]
        questions = [*(kept.question for kept in asked), *(verdicts.buffer.get(p).question for p in others)]
    like = similarities(questions) if questions else None
    return [
        _known(kept) or _covers(0 if like is None else int((like[i] >= ALIKE).sum()) - 1)
        for i, kept in enumerate(asked)
    ]


def _known(kept: KeptSet) -> str:
    if kept.rejected:
        return "you called it wrong, and have not said what is right"
    return "asked before, and not answered" if kept.asked else ""


def _covers(alike: int) -> str:
    if alike < 1:
        return "nothing else that you asked is like it"
    return f"it stands for {alike} more {'question' if alike == 1 else 'questions'} like it"
