"""Suggested domains: planted words come out on top, in any script; little or nothing to read is one line."""

import random
from pathlib import Path

import pytest

from edgepers.errors import StreamError, UsageError
from edgepers.select import suggest as module
from edgepers.select.lexicon import Lexicon, Lexicons, load_lexicons
from edgepers.select.suggest import suggest, write_suggestions
from edgepers.streams import DialogueSet, IterableStream

KNOWN = Lexicons((Lexicon("food", frozenset({"soup", "bread", "суп", "хлеб", "汤"})),))
PLANTED = {
    "latin": "apiary propolis varroa brood nectar waxcomb smoker drone beekeeper swarming".split(),
    "cyrillic": "пасека прополис варроа расплод нектар соты дымарь трутень пчеловод роение".split(),
    "chinese": "养蜂 蜂胶 蜂螨 蜂房 花蜜 蜂蜡 蜂箱 雄蜂 蜂农 分蜂".split(),
}
COMMON = {
    "latin": "the of to and in is you that it for my do on with".split(),
    "cyrillic": "и в не на я что он с как это а по но к".split(),
    "chinese": "的 是 不 了 在 有 我 他 这 中 大 来 上 国".split(),
}


def planted(script: str, sets: int = 600, share: float = 0.08, seed: int = 0) -> IterableStream:
    """Texts of function words and rarer words drawn without regard to each other.

    In some, words of the planted domain.
    """
    rng = random.Random(seed)
    letters = {"latin": "bcdfgklmnprst", "cyrillic": "бвгджклмнпрст", "chinese": "山水火木金土日月人口手足"}[script]
    rare = ["".join(rng.choice(letters) for _ in range(4)) for _ in range(400)]

    def text() -> str:
        found = rng.choices(COMMON[script], k=14) + rng.choices(rare, k=6)
        if rng.random() < share:
            found += rng.sample(PLANTED[script], 4)
        elif rng.random() < 0.3:
            found += rng.choices(sorted(KNOWN.lexicons[0].words), k=3)
        rng.shuffle(found)
        return " ".join(found)

    return IterableStream([DialogueSet(text(), text() if rng.random() < 0.5 else None) for _ in range(sets)])


@pytest.mark.parametrize("script", PLANTED)
def test_planted_words_come_out_on_top_and_nothing_else_does(script):
    found = suggest(planted(script), KNOWN)
    assert found.sets == 600
    assert len(found.domains) == 1
    assert set(found.domains[0].words[:10]) == set(PLANTED[script])
    assert len(found.domains[0].words) <= 12
    assert 30 <= found.domains[0].sets <= 120
    assert set(PLANTED[script]) & set(found.domains[0].example.split())


def test_the_same_stream_gives_the_same_suggestions_and_limits_hold():
    first = suggest(planted("latin"), KNOWN, words_each=6, domains=1)
    assert first == suggest(planted("latin"), KNOWN, words_each=6, domains=1)
    assert len(first.domains[0].words) == 6
    assert suggest(planted("latin"), KNOWN, limit=50).sets == 50


def test_words_of_a_lexicon_are_not_suggested_again():
    bees = Lexicons((*KNOWN.lexicons, Lexicon("bees", frozenset(PLANTED["latin"]))))
    assert suggest(planted("latin"), bees).domains == ()


def test_english_function_words_are_not_suggested():
    sets = [
        DialogueSet(f"what would you have done with number{i} if they had told you about it then") for i in range(40)
    ]
    assert suggest(IterableStream(sets), load_lexicons()).domains == ()


def test_repetitions_are_no_evidence():
    sets = [DialogueSet("apiary propolis varroa brood nectar")] * 50 + [DialogueSet(f"word{i}") for i in range(50)]
    assert suggest(IterableStream(sets), KNOWN).domains == ()


def test_references_are_read_only_where_asked_for():
    spoken = [s.question for s in planted("latin")._dialogues]
    stream = IterableStream([DialogueSet(f"question{i}", None, text) for i, text in enumerate(spoken)])
    assert suggest(stream, KNOWN).domains == ()
    assert set(suggest(stream, KNOWN, references=True).domains[0].words[:8]) <= set(PLANTED["latin"])


def test_a_long_stream_is_sampled_evenly_and_counts_are_scaled(monkeypatch):
    whole = suggest(planted("latin", 2000), KNOWN)
    monkeypatch.setattr(module, "MAX_SETS", 700)
    kept, seen = module._read(planted("latin", 2000), KNOWN, None, False, print)
    assert seen == 2000
    assert 200 <= len(kept) <= 700
    part = suggest(planted("latin", 2000), KNOWN)
    assert part.sets == whole.sets
    assert part.domains[0].sets == pytest.approx(whole.domains[0].sets, rel=0.4)
    assert set(part.domains[0].words[:10]) == set(PLANTED["latin"])


@pytest.mark.parametrize("sets", [0, 19])
def test_too_small_a_stream_is_one_line(sets):
    with pytest.raises(StreamError) as caught:
        suggest(IterableStream([DialogueSet(f"word{i}") for i in range(sets)], "s.jsonl"), KNOWN)
    assert str(caught.value) == f"stream s.jsonl: {sets} valid sets; suggestions need 20 or more"


def test_written_suggestions_load_as_lexicons_and_overwrite_nothing(tmp_path):
    beside = tmp_path / "mine"
    beside.mkdir()
    (beside / "food.txt").write_text("# dishes\nsoup\nbread\nсуп\nхлеб\n汤\n", encoding="utf-8")
    found = suggest(planted("cyrillic"), load_lexicons(beside))
    out = tmp_path / "new" / "lexicons"
    files = write_suggestions(out, found, "s.jsonl", beside)
    assert [file.name for file in files] == ["food.txt", "suggested-1.txt"]
    assert load_lexicons(out).names == ("food", "suggested-1")
    assert load_lexicons(out).lexicons[1].words == set(found.domains[0].words)
    assert "such as: " in files[1].read_text(encoding="utf-8")
    with pytest.raises(UsageError, match=r"food\.txt exists already; rename it"):
        write_suggestions(out, found, "s.jsonl", beside)


def test_stop_words_are_words_each_once():
    found = Path(module.__file__).with_name("stopwords.txt").read_text(encoding="utf-8").split("\n", 1)[1].split()
    assert len(found) == len(set(found))
    assert sorted(found) == found
