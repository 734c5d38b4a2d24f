"""Variations of annotated sets, written by the base model itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgepers.llm import LanguageModel, Sampling
from edgepers.select.hashing import mix
from edgepers.select.records import KeptSet
from edgepers.synth.check import refusal
from edgepers.synth.prompt import PROMPT, parse

__all__ = ["Check", "Variations", "synthesize"]

Check = Callable[[str, str | None, Sequence[str]], str]

_TOKENS = 96  # a variation is about as long as its original; longer originals are refused as too far


@dataclass(frozen=True, slots=True)
class Variations:
    """What came of one set: (question, response) pairs to train on, and refusals by reason."""

    position: int
    pairs: tuple[tuple[str, str], ...]
    refused: dict[str, int]


def synthesize(
    llm: LanguageModel, sets: Sequence[KeptSet], *, generations: int, vary: str, seed: int, check: Check = refusal
) -> list[Variations]:
    """`generations` variations of each set's question, the response staying the owner's; with vary="pair", both vary.

    Draws are pure in (seed, position): the sets beside a set change nothing but rounding.
    """
    if not generations:
        return [Variations(kept.position, (), {}) for kept in sets]
    questions = _vary(llm, sets, [kept.question for kept in sets], generations, seed, 0, check)
    responses = None
    if vary == "pair":
        responses = _vary(llm, sets, [kept.wanted for kept in sets], generations, seed, 1, check)
    result = []
    for i, kept in enumerate(sets):
        good, refused = questions[i]
        pairs = [(question, kept.wanted) for question in good]
        if responses is not None:
            good_responses, also_refused = responses[i]
            pairs = list(zip(good, good_responses, strict=False))
            refused = {reason: refused.get(reason, 0) + also_refused.get(reason, 0) for reason in {**refused, **also_refused}}
        result.append(Variations(kept.position, tuple(pairs), refused))
    return result


def _vary(
    llm: LanguageModel, sets: Sequence[KeptSet], texts: Sequence[str], generations: int, seed: int, part: int, check: Check
) -> list[tuple[list[str], dict[str, int]]]:
    prompts = [PROMPT + text for text in texts for _ in range(generations)]
    seeds = [mix(seed, kept.position, part, g) for kept in sets for g in range(generations)]
    answers = llm.answer(prompts, adapter=False, max_new_tokens=_TOKENS, sampling=Sampling(seeds))
    result = []
    for i, text in enumerate(texts):
        good: list[str] = []
        refused: dict[str, int] = {}
        for answer in answers[i * generations : (i + 1) * generations]:
            variation = parse(answer)
            reason = check(text, variation, good)
            if reason or variation is None:
                refused[reason] = refused.get(reason, 0) + 1
            else:
                good.append(variation)
        result.append((good, refused))
    return result
