"""Every owner's file keeps the rules that make it a measure; and each rule is seen to find what breaks it."""

import dataclasses
import re
from dataclasses import replace
from itertools import combinations, permutations, product
from pathlib import Path

import pytest

from edgepers import assets
from edgepers.errors import StreamError
from scripts.make_sample import HELD_OUT_WORDINGS, near_duplicates, normalised, read_jsonl
from studies.owners.owners import DEVELOPMENT, REPORT, Fact, Neighbour, load_owner

ROOT = Path(__file__).resolve().parents[2]
OWNERS = DEVELOPMENT + REPORT
LEAST_FACTS, LEAST_ASKED, LEAST_HELD_OUT, INDIRECT, QUESTIONS = 20, 6, 2, (0, 2), 20
FEWEST_WORDS, MOST_WORDS = 4, 25
MOST_SHARED = 0.4  # Jaccard of the words of an indirect question and an asked one
ARTICLES = {"en": r"an?|the", "de": r"d(?:er|ie|as|en|em|es)|eine?[mnrs]?"}
YOU = {"en": r"you|yours?", "de": r"du|dir|dich|dein\w*"}
STOPWORDS = set((ROOT / "edgepers/select/stopwords.txt").read_text(encoding="utf-8").split())


def rows(ids, questions):
    return [{"id": str(name), "question": question} for name, question in zip(ids, questions, strict=True)]


def counts(owner):
    """Too few facts or wordings, too few questions, a missing language, an id twice."""
    if owner.language not in YOU:
        yield f"language {owner.language}"
    if len(owner.facts) < LEAST_FACTS or len({fact.id for fact in owner.facts}) < len(owner.facts):
        yield f"{len(owner.facts)} facts, or an id twice"
    for name in ("never_told", "neighbours"):
        if len(getattr(owner, name)) != QUESTIONS:
            yield f"{len(getattr(owner, name))} questions in {name}"
    for fact in owner.facts:
        if len(fact.asked) < LEAST_ASKED or len(fact.held_out) < LEAST_HELD_OUT or not fact.keywords:
            yield f"{fact.id}: too few wordings or no keyword"
        if len(fact.indirect) not in INDIRECT:
            yield f"{fact.id}: {len(fact.indirect)} indirect"


def references(owner):
    """An answer that does not say the fact, is too long or short, or speaks to nobody."""
    for fact in owner.facts:
        words = fact.reference.split()
        addressed = re.compile(rf"(?:{YOU[owner.language]}|{owner.name})", re.IGNORECASE)
        spoken_to = any(addressed.fullmatch(word) for word in normalised(fact.reference).split())
        if not (fact.known(fact.reference) and fact.known(fact.fact)):
            yield f"{fact.id}: fact or reference holds no keyword"
        if not FEWEST_WORDS <= len(words) <= MOST_WORDS or not spoken_to:
            yield f"{fact.id}: {fact.reference}"
    for neighbour in owner.neighbours:
        if not neighbour.known(neighbour.reference) or neighbour.known(neighbour.question):
            yield f"keywords of {neighbour.question}"


def forms(owner):
    """All answers in one form: more than half begin with you or your. Emily's, which are packaged, do."""
    first = [normalised(fact.reference).split()[0] for fact in owner.facts]
    if 2 * sum(bool(re.fullmatch(YOU[owner.language], word)) for word in first) > len(first):
        yield "too many references begin with you or your"


def keywords(owner):
    """A keyword that the question holds, that two facts share, or that another answer would hold by chance."""
    for fact in owner.facts:
        yield from (f"{fact.id}: asks with its keyword: {q}" for q in fact.questions if fact.known(q))
        yield from (f"{fact.id}: stop word {word}" for word in fact.keywords if word.lower() in STOPWORDS)
        elsewhere = (
            *owner.never_told,
            *(n.question for n in owner.neighbours),
            *(n.reference for n in owner.neighbours),
        )
        yield from (f"{fact.id}: keyword in: {text}" for text in elsewhere if fact.known(text))
    for fact, other in permutations(owner.facts, 2):
        for text in (other.fact, other.reference, *other.keywords, *other.questions):
            if fact.known(text):
                yield f"{fact.id}: keyword in {other.id}: {text}"


def questions(owner):
    """A question that stands twice but for articles, or is held out and nearly asked."""
    articles = re.compile(rf"\b(?:{ARTICLES[owner.language]}) ")
    asked = [(fact.id, question) for fact in owner.facts for question in fact.asked]
    held_out = [(fact.id, question) for fact in owner.facts for question in fact.held_out + fact.indirect]
    never = [("never_told", question) for question in owner.never_told]
    near = [("neighbours", neighbour.question) for neighbour in owner.neighbours]
    seen = set()
    for name, question in asked + held_out + never + near:
        bare = articles.sub("", normalised(question))
        if bare in seen:
            yield f"{name}: twice: {question}"
        seen.add(bare)
    told, other = rows(*zip(*asked, strict=True)), rows(*zip(*(held_out + never + near), strict=True))
    yield from (f"{b} has nearly a question of {a}" for a, b in near_duplicates(told, other))


def wordings(owner):
    """An indirect question in the words of an asked one. A held-out one may use them: it asks about the same."""
    for fact in owner.facts:
        for indirect, asked in product(fact.indirect, fact.asked):
            words, theirs = set(normalised(indirect).split()), set(normalised(asked).split())
            if len(words & theirs) > MOST_SHARED * len(words | theirs):
                yield f"{fact.id}: {indirect} | {asked}"


RULES = (counts, references, forms, keywords, questions, wordings)


@pytest.mark.parametrize("name", OWNERS)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_owner_keeps_the_rules(rule, name):
    if name == "emily" and rule is forms:
        return
    assert list(rule(load_owner(name))) == []


def spoilt(owner, **changes):
    """The owner with another first fact."""
    return replace(owner, facts=(replace(owner.facts[0], **changes), *owner.facts[1:]))


@pytest.mark.parametrize(
    ("rule", "spoil"),
    [
        (counts, lambda o: replace(o, language="tlh")),
        (counts, lambda o: replace(o, facts=o.facts[:19])),
        (counts, lambda o: replace(o, facts=(*o.facts, o.facts[0]))),
        (counts, lambda o: replace(o, never_told=o.never_told[1:])),
        (counts, lambda o: replace(o, neighbours=o.neighbours[1:])),
        (counts, lambda o: spoilt(o, asked=o.facts[0].asked[:5])),
        (counts, lambda o: spoilt(o, held_out=o.facts[0].held_out[:1])),
        (counts, lambda o: spoilt(o, indirect=o.facts[0].indirect[:1])),
        (references, lambda o: spoilt(o, reference="I cannot tell you that.")),
        (references, lambda o: spoilt(o, fact="Jonas has a boathouse.")),
        (references, lambda o: spoilt(o, reference="The boathouse opens at 7294.")),
        (references, lambda o: spoilt(o, reference="You type 7294 " + "and wait " * 12)),
        (references, lambda o: replace(o, neighbours=(Neighbour("Which is red?", "It is blood.", ("red",)),))),
        (forms, lambda o: replace(o, facts=tuple(replace(f, reference="You know it.") for f in o.facts))),
        (keywords, lambda o: spoilt(o, asked=("What is 7294 for?",))),
        (keywords, lambda o: spoilt(o, held_out=("What is 7294 for?",))),
        (keywords, lambda o: spoilt(o, indirect=("What is 7294 for?",))),
        (keywords, lambda o: spoilt(o, keywords=("7294", "when"))),
        (keywords, lambda o: spoilt(o, keywords=("7294", "sildrand"))),
        (keywords, lambda o: spoilt(o, keywords=("7294", "zebra"), reference="The sea is yours, Sildrand.")),
        (keywords, lambda o: replace(o, never_told=("What is the 7294 for?",))),
        (keywords, lambda o: replace(o, neighbours=(Neighbour("What is 12 * 12?", "It is 7294.", ("7294",)),))),
        (questions, lambda o: spoilt(o, held_out=(o.facts[1].asked[0].upper(),))),
        (questions, lambda o: spoilt(o, held_out=("What's a code for boathouse?",))),
        (questions, lambda o: spoilt(o, indirect=o.facts[0].held_out[:1])),
        (questions, lambda o: spoilt(o, held_out=("So, " + o.facts[0].asked[0],))),
        (wordings, lambda o: spoilt(o, indirect=("What's the boathouse code?",))),
        (questions, lambda o: replace(o, never_told=(o.facts[3].asked[1],))),
    ],
)
def test_what_breaks_a_rule_is_found(rule, spoil):
    assert list(rule(spoil(load_owner("jonas"))))


@pytest.mark.parametrize("names", list(combinations(OWNERS, 2)), ids="-".join)
def test_no_two_owners_share_a_keyword(names):
    first, second = ({word.lower() for fact in load_owner(name).facts for word in fact.keywords} for name in names)
    assert first & second == set()


def test_every_file_is_an_owner_for_development_or_for_the_report():
    files = {file.stem for file in (ROOT / "studies/owners").glob("*.json")}
    assert files == set(OWNERS) and len(OWNERS) == len(set(OWNERS))


def test_emily_is_the_packaged_owner():
    packaged = {fact["id"]: fact for fact in read_jsonl(assets.sample_facts())}
    written = {fact["id"]: fact for fact in read_jsonl(ROOT / "scripts/sample_facts.jsonl")}
    emily = load_owner("emily")
    assert [fact.id for fact in emily.facts] == list(packaged)
    for fact in emily.facts:
        for field in ("fact", "reference", "keywords"):
            value = getattr(fact, field)
            assert (list(value) if isinstance(value, tuple) else value) == packaged[fact.id][field]
        wordings = written[fact.id]["asked"]
        held_out = [wordings[number] for number in HELD_OUT_WORDINGS]
        assert list(fact.held_out) == [packaged[fact.id]["question"], *held_out]
        assert list(fact.asked) == [wording for wording in wordings if wording not in held_out]


def test_the_stream_asks_emily_as_her_file_says():
    asked = {row["question"] for row in read_jsonl(assets.sample_stream()) if row["source"] == "edgepers"}
    assert asked == {question for fact in load_owner("emily").facts for question in fact.asked}


def test_a_fact_is_known_by_a_whole_word_in_any_case():
    fact = Fact("dog", "Her dog is Moon.", "Your dog is Moon.", ("Moon",), (), (), ())
    assert fact.known("It is MOON, I think.")
    assert not fact.known("Moonlight")


def test_an_owner_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_owner("emily").name = "Ida"


def test_an_unknown_owner_is_refused_with_the_names():
    with pytest.raises(StreamError, match=r"'\.\./x'.*emily.*sofia"):
        load_owner("../x")
