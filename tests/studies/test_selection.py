import pytest

from edgepers.streams import DialogueSet
from studies.owners.owners import load_owner
from studies.selection.asked import REQUESTS, ROUNDS, STORAGE, STREAMS, WAYS, TopicEncoder, asked_about, runs, stream_of
from studies.selection.table import difference, means

OTHERS = [DialogueSet(f"What is number {i}?", f"It is {i}.") for i in range(2000)]
EMILY = load_owner("emily")
ASKED = sum(len(fact.asked) for fact in EMILY.facts)


@pytest.mark.parametrize(("kind", "times"), [("1", 2), ("3", 4), ("drift", 4)])
def test_a_stream_is_all_that_the_owner_asks_among_other_talk(kind, times):
    stream = stream_of(EMILY, kind, 0, OTHERS)
    assert len(stream) == times * ASKED and sum(one.id is not None for one in stream) == ASKED
    assert stream == stream_of(EMILY, kind, 0, OTHERS) != stream_of(EMILY, kind, 1, OTHERS)


def test_of_a_stream_that_drifts_each_half_asks_about_its_own_facts():
    stream = stream_of(EMILY, "drift", 0, OTHERS)
    places = {one.id: i for i, one in enumerate(stream) if one.id}  # the last of each
    first = {fact.id for fact in EMILY.facts[: len(EMILY.facts) // 2]}
    assert max(places[fact] for fact in first) < min(
        i for i, one in enumerate(stream) if one.id and one.id not in first
    )


def test_forty_eight_requests_are_made_and_facts_that_were_asked_about_are_counted(llm):
    run = {"policy": "typical", "ask": "coverage", "order": 0, "storage": 96_000}
    found = asked_about(TopicEncoder(llm), stream_of(EMILY, "1", 0, OTHERS)[:300], run)
    assert found["asked"] == ROUNDS * REQUESTS and found["corrected"] <= found["asked"]
    assert 10 < found["facts_asked"] <= min(len(EMILY.facts), found["corrected"]) and found["kept"] > REQUESTS


def test_tables_hold_means_and_paired_differences():
    lines = [
        {**run, "facts": 20, "facts_asked": 10 + run["order"] + 5 * (run["ask"] == "coverage"), "again": 3, "kept": 9}
        for run in runs(("omar", "sofia"), 5)
    ]
    assert len(lines) == 2 * 5 * len(STREAMS) * len(STORAGE) * len(WAYS)
    rows = means(lines, STORAGE[0])
    assert rows[2].startswith("| random, newest | 60.0 % (3; 9) |") and rows[4].startswith(
        "| random, coverage | 85.0 %"
    )
    some = [line for line in lines if (line["storage"], line["stream"]) == (STORAGE[0], "1")]
    assert difference(some, ("random", "coverage"), ("random", "newest")) == "+25.0 [+25.0, +25.0]"
    some[0]["facts_asked"] += 1  # of Omar's first order, by newest
    low, high = difference(some, ("random", "coverage"), ("random", "newest")).split("[")[1].rstrip("]").split(", ")
    assert float(low) < 24.5 < float(high)
