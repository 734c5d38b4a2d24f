from types import SimpleNamespace

import pytest

from benchmarks.lines import append_line
from edgepers.config import Settings
from edgepers.streams import DialogueSet
from studies.owners.owners import load_owner
from studies.selection import answered, answered_table, harness, paper, stored
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


def test_a_third_of_a_stream_with_repeats_was_there_before_in_the_same_words():
    stream = stream_of(EMILY, "3", 0, OTHERS)
    again = stored.asked_again(stream, 0)
    heard: set[str] = set()
    repeated = 0
    for one in again:
        repeated += one.question in heard
        heard.add(one.question)
    assert heard == {one.question for one in stream} and 0.28 < repeated / len(again) < 0.38
    assert again == stored.asked_again(stream, 0) != stored.asked_again(stream, 1)


def test_repeats_that_are_counted_leave_room_for_other_sets(llm):
    stream = stored.asked_again(stream_of(EMILY, "1", 0, OTHERS)[:250], 0)
    run = {"order": 0, "storage": 64_000, "policy": "typical", "ask": "coverage"}
    kept, counted = (
        stored.stored(TopicEncoder(llm), stream, run | {"count_repeats": counts}) for counts in (False, True)
    )
    assert counted["different"] == counted["kept"] > kept["different"] < kept["kept"]
    assert counted["counted"] > kept["counted"] == 0
    lines = [
        {**run, "facts": 20, "facts_asked": 10 + run["count_repeats"], "kept": 9, "different": 8}
        for run in stored.runs(("omar", "sofia"), 2)
    ]
    assert stored.rows(lines)[0] == ["281 KB", "typical", "8 of 9; 50.0 %", "8 of 9; 55.0 %"]


def test_what_is_answered_after_training_is_counted_fact_by_fact(llm, monkeypatch):
    quick = {"steps": 2, "rehearsal": 0, "untold": 0, "guard": False}
    monkeypatch.setattr(answered, "Settings", SimpleNamespace(make=lambda given: Settings.make(given | quick)))
    run = {"policy": "typical", "ask": "loss", "order": 0, "storage": 281_000}
    found = answered.answered(llm, EMILY, stream_of(EMILY, "1", 0, OTHERS)[:60], run)
    assert set(found["known"]) == {fact.id for fact in EMILY.facts} and 0 < len(found["told"]) < len(EMILY.facts)
    assert all(len(found["known"][fact.id]) == len(fact.held_out) for fact in EMILY.facts)
    assert found["corrections"] == ROUNDS * REQUESTS and found["steps"] == 2


def test_differences_are_paired_and_their_interval_holds_facts_and_orders():
    def line(owner, order, ask, hits):
        known = {f"fact{i}": [int(i < hits), 0] for i in range(20)}
        work = {"facts": 20, "told": ["a"], "rouge1": 10.0, "leaked": 2, "perplexity_rise": 0.01, "seconds": 9.0}
        return {"owner": owner, "order": order, "ask": ask, "known": known} | work

    lines = [line(o, n, "coverage", 12) for o in "ab" for n in range(2)]
    lines += [line(o, n, "newest", 4) for o in "ab" for n in range(2)] + [line("a", 7, "random", 4)]
    points, low, high = answered_table.interval(answered_table.differences(lines, "coverage", "newest"))
    assert points == 20 and 10 < low < 20 < high < 30  # 8 of 20 facts, one of two questions each
    assert answered_table.differences(lines, "coverage", "random") == []  # no order that both have
    found = answered_table.rows(lines)
    assert [row[0] for row in found] == ["coverage", "newest", "random"] and found[1][3] == "10.0 %"
    assert found[2][-1] == "untested"


def test_each_policy_keeps_as_many_sets_as_the_paper_has_bins(llm, monkeypatch):
    monkeypatch.setattr(paper, "BINS", 4)
    rows = [{"question": f"What is number {i}? " + "word " * i, "reference": f"It is {i}."} for i in range(12)]
    kept = {policy: paper.kept_by(policy, llm, rows, 0) for policy in paper.POLICIES}
    assert all(len(pairs) == 4 for pairs in kept.values()) and len({str(pairs) for pairs in kept.values()}) > 2
    assert [pair[1] for pair in kept["fifo"]] == ["It is 8.", "It is 9.", "It is 10.", "It is 11."]


def test_what_the_file_has_a_line_of_by_the_same_model_is_not_done_again(tmp_path):
    out = tmp_path / "lines.jsonl"
    wanted = [{"owner": "omar", "order": order} for order in range(3)]
    assert harness.undone(wanted, "small", out) == wanted
    append_line(out, {"model": "small", **wanted[1], "known": {"a": [1]}})
    append_line(out, {"model": "other", **wanted[2]})
    assert harness.undone(wanted, "small", out) == [wanted[0], wanted[2]]


def test_the_table_of_the_papers_setting_has_what_was_run():
    lines = [{"data": "dolly", "policy": policy, "rouge1": [10.0, 20.0]} for policy in ("", "quality")]
    assert paper.rows_of_table(lines) == [["dolly", "15.0", "15.0", *["untested"] * 4]]
