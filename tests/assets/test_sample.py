"""The packaged sample measures what it says: nothing of the test set or of the fact questions is in the stream."""

import importlib.util
import json
import re
from collections import Counter
from itertools import combinations, product
from pathlib import Path

import pytest

from edgepers import assets

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
NEAR_DUPLICATE = 0.7
MAX_WORDS = 45


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


STREAM = rows_of(assets.sample_stream())
TEST = rows_of(assets.sample_test())
FACTS = rows_of(assets.sample_facts())
GENERAL = rows_of(assets.general_sets())
REHEARSAL = rows_of(assets.rehearsal_sets())
PARTS = {"stream": STREAM, "test": TEST, "facts": FACTS, "general": GENERAL, "rehearsal": REHEARSAL}
LEARNED, HELD_OUT = ("stream", "rehearsal"), ("test", "facts", "general")


def normalised(text):
    return " ".join(re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower().replace("\u2019", "'")))


def grams(units):
    return {tuple(units[i : i + 5]) for i in range(max(1, len(units) - 4))}


def near_duplicates(first, second):
    prepared = [
        [
            (row["question"], grams(normalised(row["question"]).split()), grams(normalised(row["question"])))
            for row in rows
        ]
        for rows in (first, second)
    ]
    return [
        (question, other)
        for question, words, characters in prepared[0]
        for other, their_words, their_characters in prepared[1]
        if len(words & their_words) >= NEAR_DUPLICATE * len(words | their_words)
        or len(characters & their_characters) >= NEAR_DUPLICATE * len(characters | their_characters)
    ]


def has_word(text, word):
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


def fact_of(row):
    return row["id"].split("-")[1]


def test_near_duplicates_finds_what_it_should():
    first = [{"question": "What is my dog called?"}, {"question": "Where do I live?"}]
    assert near_duplicates(first, [{"question": "what is my DOG called"}]) == [
        ("What is my dog called?", "what is my DOG called")
    ]
    assert near_duplicates(first, [{"question": "So, what is my dog called?"}])
    assert not near_duplicates(first, [{"question": "Who teaches me the piano?"}])


def test_sample_has_the_promised_counts():
    assert {name: len(rows) for name, rows in PARTS.items()} == {
        "stream": 600,
        "test": 101,
        "facts": 20,
        "general": 64,
        "rehearsal": 128,
    }
    assert Counter(row["source"] for row in STREAM) == {
        "MemoryBank-SiliconFriend": 166,
        "databricks-dolly-15k": 174,
        "edgepers": 260,
    }
    assert Counter(row["source"] for row in TEST) == {
        "MemoryBank-SiliconFriend": 31,
        "databricks-dolly-15k": 30,
        "edgepers": 40,
    }
    assert {row["source"] for row in GENERAL + REHEARSAL} == {"databricks-dolly-15k"}


@pytest.mark.parametrize("name", ["stream", "test", "general", "rehearsal"])
def test_sets_have_valid_fields(name):
    prefix = {"MemoryBank-SiliconFriend": "memorybank-", "databricks-dolly-15k": "dolly-", "edgepers": "emily-"}
    for row in PARTS[name]:
        expected = {"id", "question", "reference", "source", "dialogue_id"}
        expected |= {"date"} if name == "stream" else set()
        expected |= {"turn"} if row["source"] == "MemoryBank-SiliconFriend" else set()
        assert set(row) == expected, row["id"]
        assert row["id"].startswith(prefix[row["source"]])
        texts = [value for key, value in row.items() if key != "turn"]
        assert all(isinstance(text, str) and text and text == " ".join(text.split()) for text in texts), row["id"]


def test_facts_have_valid_fields():
    for fact in FACTS:
        assert set(fact) == {"id", "fact", "question", "reference", "keywords"}
        assert fact["keywords"] and all(isinstance(keyword, str) and keyword for keyword in fact["keywords"])


@pytest.mark.parametrize("name", PARTS)
def test_references_stay_within_what_the_model_can_write(name):
    assert [row["id"] for row in PARTS[name] if not 3 < len(row["reference"].split()) <= MAX_WORDS] == []


@pytest.mark.parametrize("name", PARTS)
def test_no_id_and_no_question_comes_twice(name):
    assert len({row["id"] for row in PARTS[name]}) == len(PARTS[name])
    assert len({normalised(row["question"]) for row in PARTS[name]}) == len(PARTS[name])


@pytest.mark.parametrize(("first", "second"), list(combinations(("stream", "test", "general", "rehearsal"), 2)))
def test_parts_share_no_id_and_no_dialogue(first, second):
    for key in ("id", "dialogue_id"):
        assert {row[key] for row in PARTS[first]} & {row[key] for row in PARTS[second]} == set()


@pytest.mark.parametrize(("first", "second"), [*product(LEARNED, HELD_OUT), *combinations(HELD_OUT, 2), LEARNED])
def test_parts_share_no_question_and_no_near_duplicate(first, second):
    assert near_duplicates(PARTS[first], PARTS[second]) == []


def test_stream_arrives_in_order():
    assert [row["date"] for row in STREAM] == sorted(row["date"] for row in STREAM)
    days = Counter(row["date"] for row in STREAM)
    assert len(days) == 30 and all(15 <= sets <= 25 for sets in days.values()), days
    turns = {}
    for row in STREAM:
        if "turn" in row:
            turns.setdefault(row["dialogue_id"], []).append((row["turn"], row["date"]))
    for name, seen in turns.items():
        assert seen == sorted(seen), name
        assert len({day for _, day in seen}) == 1, name


def test_kinds_are_mixed():
    for start in range(0, len(STREAM), 50):
        counts = Counter(row["source"] for row in STREAM[start : start + 50])
        assert len(counts) == 3 and min(counts.values()) >= 9, (start, counts)


@pytest.mark.parametrize("third", range(3))
def test_every_fact_is_asked_several_times_in_each_third(third):
    asked = Counter(fact_of(row) for row in STREAM[200 * third : 200 * (third + 1)] if row["source"] == "edgepers")
    assert set(asked) == {fact["id"] for fact in FACTS}
    assert min(asked.values()) >= 3, asked


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact["id"])
def test_keywords_tell_who_knows_the_fact(fact):
    asked = [row for row in STREAM if row["source"] == "edgepers" and fact_of(row) == fact["id"]]
    assert len(asked) == 13
    for keyword in fact["keywords"]:
        assert not has_word(fact["question"], keyword)
        assert not any(has_word(other["reference"], keyword) for other in FACTS if other is not fact)
        assert not any(has_word(row["question"], keyword) for row in asked)
    for answer in [fact["reference"], *(row["reference"] for row in asked)]:
        assert any(has_word(answer, keyword) for keyword in fact["keywords"])
        assert answer.startswith(fact["reference"])
        assert "Emily" in answer


def test_only_emily_speaks():
    others = re.compile(r"\b(Frank|Gary|Henry|Ivy|Jack|Jason|Leo|Linda|Lucy|Lulu|Luna|Roland|Sunny|Susan)\b")
    for row in STREAM + TEST:
        if row["source"] == "MemoryBank-SiliconFriend":
            assert not others.search(row["question"] + " " + row["reference"]), row["id"]


def test_model_folder_holds_the_model_and_its_card():
    names = {path.name for path in assets.model_folder().iterdir()}
    assert {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "README.md",
    } <= names
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in names)


@pytest.mark.data
@pytest.mark.skipif(
    not (DATA / "dolly.jsonl").exists(),
    reason=f"the sample is rebuilt from DOLLY and MemoryBank; no {DATA.name} folder in ../shared",
)
def test_sample_rebuilds_identically(tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("make_sample", ROOT / "scripts" / "make_sample.py")
    make_sample = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_sample)
    monkeypatch.setattr("sys.argv", ["make_sample.py", "--data", str(DATA), "--out", str(tmp_path)])
    assert make_sample.main() == 0, capsys.readouterr().err
    for path in (assets.sample_stream(), assets.sample_test(), assets.sample_facts(), assets.general_sets()):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name
