"""Variations of annotated sets, written by the base model itself."""

from collections.abc import Callable, Sequence

from edgepers.hashing import hash_text, mix
from edgepers.model.language_model import LanguageModel, Sampling
from edgepers.state.records import KeptSet
from edgepers.state.variations import Variations
from edgepers.synth.check import refusal
from edgepers.synth.prompt import PROMPT, parse

__all__ = ["Check", "digest", "synthesize"]

Check = Callable[[str, str | None, Sequence[str]], str]

_TOKENS = 96  # a variation is about as long as its original; longer originals are refused as too far


def digest(kept: KeptSet, generations: int, vary: str) -> str:
    """Changes when a set's variations have to be written anew."""
    return f"{hash_text(repr((kept.question, kept.wanted, generations, vary))):016x}"


def synthesize(
    llm: LanguageModel,
    sets: Sequence[KeptSet],
    *,
    generations: int,
    vary: str,
    seed: int,
    round_number: int,
    check: Check = refusal,
) -> list[Variations]:
    """`generations` variations of each set's question, the response staying the owner's; with vary="pair", both vary.

    Draws are pure in (seed, position): the sets beside a set change nothing but rounding.
    """

    def varied(texts: Sequence[str], part: int) -> list[tuple[list[str], dict[str, int]]]:
        seeds = [mix(seed, kept.position, part, g) for kept in sets for g in range(generations)]
        return _vary(llm, texts, seeds, generations, check)

    questions = varied([kept.question for kept in sets], 0)
    responses = varied([kept.wanted for kept in sets], 1) if vary == "pair" else None
    result = []
    for i, kept in enumerate(sets):
        good, refused = questions[i]
        pairs = [(question, kept.wanted) for question in good]
        if responses is not None:
            good_responses, also_refused = responses[i]
            pairs = list(zip(good, good_responses, strict=False))
            refused = {
                reason: refused.get(reason, 0) + also_refused.get(reason, 0) for reason in {**refused, **also_refused}
            }
        result.append(Variations(kept.position, round_number, digest(kept, generations, vary), tuple(pairs), refused))
    return result


def _vary(
    llm: LanguageModel, texts: Sequence[str], seeds: Sequence[int], generations: int, check: Check
) -> list[tuple[list[str], dict[str, int]]]:
    prompts = [PROMPT + text for text in texts for _ in range(generations)]
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
