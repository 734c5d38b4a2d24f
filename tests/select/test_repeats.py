"""A question asked again in the same words is counted on the set that is kept; nothing is lost by it."""

import shutil

import pytest

from edgepers.annotate.requests import annotate, requests
from edgepers.annotate.sources import Answer
from edgepers.errors import StateError
from edgepers.select.repeats import Wordings, wording
from edgepers.select.selector import Selector
from edgepers.state.buffer import Buffer
from edgepers.state.records import MOST_REPEATS
from edgepers.streams import Arrival, Cursor, DialogueSet
from tests.conftest import WordEncoder
from tests.select.test_embeddings import TopicEncoder


@pytest.mark.parametrize(
    "again",
    [
        "what is my dog called", "What's my dog called?", "What’s my dog called?!", "  What is  my\tdog called ?",
        "Hello, what is my dog called?", "Please, what is my dog called?", "What is my dog called, please?",
        "What is my dog called? Thanks!", "¿What is my dog “called”?",
    ],
)  # fmt: skip
def test_case_spaces_signs_and_courtesy_do_not_tell_questions_apart(again):
    assert wording(again) == wording("What is my dog called?")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("When is my dentist appointment?", "Where is my dentist appointment?"),
        ("Can I give my dog grapes?", "Can I not give my dog grapes?"),
        ("Did Bob beat Alice?", "Did Alice beat Bob?"),
        ("What is 17 times 3?", "What is 17 times 4?"),
        ("What is 3+4?", "What is 3-4?"), ("What is 5?", "What is 5!?"), ("Is it .5 m?", "Is it 5 m?"),
        ("How tall is 5'?", 'How tall is 5"?'), ("Is 0 in [0,1)?", "Is 0 in (0,1]?"),
        ("How do you say please?", "How do you say thanks?"), ("Thanks means what?", "Hello means what?"),
        ("Translate into German: thanks", "Translate into German: hello"),
        ("Was heißt das: bitte", "Was heißt das: danke"),
        ("What does : mean in bash?", "What does ; mean in bash?"), ("What is n!?", "What is n?"),
        ("What does `,` do in J?", "What does `:` do in J?"), ("What is f' =", "What is f ="), ("Maße?", "Masse?"),
        ("if x:\n  y\nz", "if x:\n  y\n  z"), ("User: Hi\n\nWhy?", "User: Ho\n\nWhy?"),
        ("C or C++?", "C or C?"), ("What is my sister called?", "What is your sister called?"),
        ("!!!", "???"), ("", "?"), ("Hi", "Hello"), ("What is it", "What's its"),
    ],
)  # fmt: skip
def test_whatever_else_differs_does(one, other):
    assert wording(one) != wording(other)


def test_words_are_told_in_time_that_grows_with_them():
    for text in ("a" + "!" * 300_000, "!" * 300_000, "?" * 300_000 + "a", "please, " * 50_000, "\ud800" * 100_000):
        assert wording(text)


def offer(selector, *dialogues):
    found = []
    for one in dialogues:
        dialogue = one if isinstance(one, DialogueSet) else DialogueSet(one, "It is so.")
        found += selector.offer([Arrival(dialogue, Cursor(0), Cursor(0))])
    return found


@pytest.fixture
def buffer(tmp_path):
    with Buffer(tmp_path, 48_000) as opened:
        yield opened


def test_a_repeat_is_counted_and_the_buffer_opens_with_the_count(buffer, tmp_path):
    selector = Selector(buffer, WordEncoder(), explain=True)
    first, second, third, other = offer(selector, "My dog?", "my dog", "My dog!", "My cat?")
    assert [one.admitted for one in (first, second, third, other)] == [True, False, False, True]
    assert second.reason == "repeat" and third.why.startswith("counted on set 0, which asks the same, now 3 times (EOE")
    assert [kept.repeats for kept in buffer] == [2, 0]
    assert buffer.progress.dropped == {"repeat": 2} and buffer.progress.position == 4
    buffer.check()
    buffer.close()
    with Buffer(tmp_path, 48_000) as again:
        assert [kept.repeats for kept in again] == [2, 0]
        offer(Selector(again, WordEncoder()), "my dog")
        assert [kept.repeats for kept in again] == [3, 0]


def test_ten_thousand_times_the_same_take_one_row_and_no_more_than_a_few_hundred_commits(buffer):
    selector = Selector(buffer, WordEncoder())
    pages = buffer.disk_bytes()
    for _ in range(100):
        selector.offer([Arrival(DialogueSet("My dog?", "Moon."), Cursor(0), Cursor(0))] * 100)
    (kept,) = buffer
    assert kept.repeats == MOST_REPEATS and buffer.progress.dropped == {"repeat": 9999}
    assert buffer.progress.commits <= MOST_REPEATS + 3 and buffer.disk_bytes() <= pages + 2048
    assert [one.position for one in requests(selector, 1, 16)] == [0]


def test_rows_keep_their_size_in_a_full_buffer(buffer):
    selector = Selector(buffer, WordEncoder())
    offer(selector, *(f"word{i} other{i * 7} " + "long " * (i % 40) for i in range(200)))
    assert buffer.progress.evicted
    before = buffer.disk_bytes(), len(buffer)
    offer(selector, *(kept.question for kept in list(buffer)))
    assert (buffer.disk_bytes(), len(buffer)) == before and {kept.repeats for kept in buffer} == {1}


def test_what_was_not_committed_when_it_ended_is_decided_again_and_counted_once(tmp_path):
    state, ended = tmp_path / "state", tmp_path / "ended"
    with Buffer(state, 48_000, batch=32) as buffer:
        offer(Selector(buffer, WordEncoder()), "My dog?")
        with buffer.exclusive():
            buffer.count_repeat(0, buffer.progress.decided(1, 0, None, full=False).set_dropped("repeat"))
            assert buffer.waiting == 1
            shutil.copytree(state, ended)  # what the disk holds at this moment
            buffer.flush()
    with Buffer(ended, 48_000) as buffer:
        assert (buffer.progress.position, buffer.get(0).repeats) == (1, 0)
        offer(Selector(buffer, WordEncoder()), "My dog?")
        assert (buffer.progress.position, buffer.get(0).repeats) == (2, 1)
    with Buffer(state) as buffer:
        assert (buffer.progress.dropped, buffer.get(0).repeats) == ({"repeat": 1}, 1)


def test_the_same_question_with_another_answer_of_the_owner_is_another_set(buffer):
    selector = Selector(buffer, WordEncoder())

    def told(reference):
        return DialogueSet("Where do I live?", "I cannot know.", reference)

    assert [one.admitted for one in offer(selector, told("In Ulm."), told("In Graz."))] == [True, True]
    annotate(selector, lambda kept: Answer("In Ulm." if kept.position == 0 else "In Graz."), 1, 16)
    (same,) = offer(selector, told("In Graz."))
    assert same.reason == "repeat" and buffer.get(1).repeats == 1
    (new,) = offer(selector, told("In Bern."))
    assert new.admitted


def test_beside_a_wrong_answer_a_new_one_is_kept_and_a_judged_one_always(buffer):
    selector = Selector(buffer, WordEncoder())
    offer(selector, "Where do I live?")
    annotate(selector, lambda kept: Answer(None, bad=True), 1, 16)
    better, again = offer(selector, DialogueSet("Where do I live?", "In Ulm."), "Where do I live?")
    assert better.admitted and again.reason == "repeat" and buffer.get(1).repeats == 1
    (judged,) = offer(selector, DialogueSet("Where do I live?", "In Ulm.", verdict="good"))
    assert judged.admitted


def test_what_its_owner_has_an_answer_ready_for_is_kept_by_itself(buffer):
    selector = Selector(buffer, WordEncoder(), answered=lambda kept: kept.id == "b")
    found = offer(selector, *(DialogueSet("Where do I live?", "Here.", id=name) for name in "abc"))
    assert [one.admitted for one in found] == [True, True, False]


def test_beside_an_answer_that_was_taken_back_a_new_one_is_kept_and_undo_does_not_undo_that(buffer):
    selector = Selector(buffer, WordEncoder())
    offer(selector, "Where do I live?")
    before = buffer.get(0)
    buffer.doubt(0)
    selector.mark_asked(0, 1)
    assert selector.take_back(before) and buffer.get(0).doubted
    better, again = offer(selector, DialogueSet("Where do I live?", "In Ulm."), "Where do I live?")
    assert better.admitted and again.reason == "repeat" and buffer.get(1).repeats == 1


def test_what_was_counted_can_be_judged_after_all(buffer):
    selector = Selector(buffer, WordEncoder())
    _, dropped = offer(selector, "Where do I live?", "Where do I live?")
    arrival = Arrival(DialogueSet("Where do I live?", "It is so."), Cursor(0), Cursor(0))
    assert selector.keep(arrival, dropped, "In Ulm.", 1) == ""
    assert [kept.wanted for kept in buffer] == ["It is so.", "In Ulm."]
    assert not buffer.progress.dropped.get("repeat")


def test_counts_survive_a_verdict_a_question_and_forgetting_others(buffer):
    selector = Selector(buffer, WordEncoder())
    offer(selector, "My dog?", "My dog?", "My cat?", "My dog?")
    selector.mark_asked(0, 1)
    selector.annotate(0, "Moon.", 1)
    assert buffer.get(0).repeats == 2
    before = buffer.get(0)
    selector.annotate(0, None, 1)
    offer(selector, "My dog?")
    assert selector.take_back(before) and buffer.get(0).wanted == "Moon." and buffer.get(0).repeats == 3
    assert selector._index.kept().repeats.tolist() == [3, 0]
    buffer.forget([2], buffer.progress)
    buffer.add_key()
    again = Selector(buffer, WordEncoder())
    offer(again, "My dog?")  # sealed with the old key still: dropped, and not counted
    assert again._index.kept().repeats.tolist() == [buffer.get(0).repeats] == [3]
    buffer.rotate()
    offer(Selector(buffer, WordEncoder()), "My dog?")
    assert buffer.get(0).repeats == 4 and buffer.progress.dropped == {"repeat": 5}
    for missing in (buffer.doubt, lambda position: buffer.count_repeat(position, buffer.progress)):
        with pytest.raises(StateError, match="set 9 is not in the buffer"):
            missing(9)


def test_what_has_left_is_kept_when_it_is_asked_again(buffer):
    selector = Selector(buffer, WordEncoder(), policy="fifo")
    offer(selector, "My dog?", *(f"word{i} other{i} " + "long " * 40 for i in range(200)))
    assert 0 not in buffer.marks
    (again,) = offer(selector, "My dog?")
    assert again.admitted


def test_all_are_kept_where_that_is_wanted(buffer):
    selector = Selector(buffer, WordEncoder(), count_repeats=False)
    assert all(one.admitted for one in offer(selector, "My dog?", "My dog?"))


@pytest.mark.parametrize("times", [1, 2])
def test_what_is_asked_again_outlives_what_is_not(buffer, times):
    """Of all it takes the most bytes, so that alone it is the first to leave."""
    selector = Selector(buffer, TopicEncoder())
    longer = " ".join(f"filler{i}" for i in range(40))  # the topic is the first word
    offer(selector, *[f"zebra {longer}"] * times, *(f"thing{i * 7919} {longer[:120]}" for i in range(200)))
    assert buffer.progress.evicted > 20 and (0 in buffer.marks) == (times == 2)


def test_what_fails_half_way_is_read_again(tmp_path, monkeypatch):
    with Buffer(tmp_path, 48_000, batch=8) as buffer:
        selector = Selector(buffer, WordEncoder())
        offer(selector, "My dog?")

        def full(*_):
            raise OSError("no space left on device")

        with monkeypatch.context() as broken:
            broken.setattr(buffer._commits, "_commit", full)
            with pytest.raises(OSError, match="no space"):
                offer(selector, "My cat?")
        assert [one.reason for one in offer(selector, "My cat?", "My cat?")] == ["", "repeat"]
        assert [kept.repeats for kept in buffer] == [0, 1]


def test_of_a_row_that_a_smaller_budget_would_not_take_no_repeat_is_counted(tmp_path):
    with Buffer(tmp_path, 1_000_000) as buffer:
        text = "My dog? " + " ".join(f"{i * 7919:x}" for i in range(6000))
        offer(Selector(buffer, WordEncoder()), DialogueSet(text, "Moon."))
    with Buffer(tmp_path, 64_000) as buffer:
        assert buffer.get(0).stored_bytes > buffer.max_record_bytes
        selector = Selector(buffer, WordEncoder())
        assert offer(selector, DialogueSet(text, "Moon."))[0].reason == "repeat"
        buffer.doubt(0)
        assert (buffer.get(0).repeats, buffer.get(0).doubted) == (0, False)
        assert buffer.progress.peak_bytes <= 1_000_000 and buffer.disk_bytes() <= 64_000


def test_positions_are_found_by_their_words():
    found = Wordings()
    for position, question in enumerate(["My dog?", "my dog", "My cat?"]):
        found.add(position, question)
    assert list(found.like("my dog")) == [1, 0]
    found.remove([1, 2])
    assert list(found.like("my dog")) == [0] and list(found.like("my cat")) == []
