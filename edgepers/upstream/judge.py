"""The guard once more, through the server that people talk to.

Its weights are others (quantized in another way, or with the adapter in them), its template may be, and its owner may
have given it a system prompt. Only its answers can be asked for, so there is no perplexity in this verdict.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from edgepers.assets import general_sets, rehearsal_sets
from edgepers.errors import UpstreamError
from edgepers.evaluate.guard import GENERAL_ASKED, SHORT_TOKENS, Asked, pairs_of
from edgepers.evaluate.repeats import ANSWER_TOKENS, repeats
from edgepers.evaluate.verdict import Evidence, Limits, Repeats, Verdict, judge
from edgepers.streams.words import unicode_words
from edgepers.upstream.server import Upstream

__all__ = ["judge_served"]

MOST_RECALLED = 32  # responses that are asked for, the newest
_TOKENS_A_WORD = 4  # at most, in the scripts that put spaces between words


def judge_served(
    upstream: Upstream, asked: Asked, limits: Limits, stopped: Callable[[], bool] = lambda: False
) -> Verdict:
    """Ask a server, with what it was given and without, what a round's guard asks, and judge its answers.

    Args:
        upstream: the server.
        asked: as for a round's guard; of `told` only what is short enough to be said word for word.
        limits: by the model's size; that of perplexity has no part in it.
        stopped: is asked before each question.

    Returns:
        The verdict; its reason quotes nothing that was said.

    Raises:
        UpstreamError: it does not answer, or it was stopped.
    """

    def answer(question: str, *, adapter: bool, tokens: int) -> str:
        if stopped():
            raise UpstreamError("the server ends; it is judged when it is back")
        return upstream.answer(question, adapter=adapter, max_tokens=tokens)

    short = [pair for pair in asked.told if 0 < len(unicode_words(pair[1])) <= SHORT_TOKENS][-MOST_RECALLED:]
    recalled = [
        unicode_words(answer(question, adapter=True, tokens=_TOKENS_A_WORD * SHORT_TOKENS)) == unicode_words(response)
        for question, response in short
    ]
    general = pairs_of(general_sets())
    usual = [text for pair in (*general, *pairs_of(rehearsal_sets()), *asked.untold) for text in pair]
    told = [response for _, response in asked.told]

    def repeated(questions: Sequence[str], responses: Sequence[str]) -> Repeats:
        def answers(*, adapter: bool) -> list[str]:
            return [answer(one, adapter=adapter, tokens=ANSWER_TOKENS) for one in questions]

        return Repeats(
            repeats(questions, answers(adapter=True), answers(adapter=False), responses, usual), len(questions)
        )

    evidence = Evidence(
        base=(),
        before=(),
        after=(),
        rise=0.0,
        recalled=recalled,
        untold=repeated([question for question, _ in asked.untold], told),
        general=repeated(
            [question for question, _ in general[:GENERAL_ASKED]],
            [*told, *(response for _, response in asked.untold)],
        ),
    )
    verdict = judge(evidence, limits)
    return replace(verdict, reason=verdict.reason.partition(",")[0])  # behind it stands what was said
