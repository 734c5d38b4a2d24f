"""Conversations in every shape that data sets give them: an answer belongs to the turn before it or to none."""

import json

import pytest

from edgepers.errors import StreamError
from edgepers.streams import DialogueSet
from tests.streams.test_exports import messages, read
from tests.streams.test_reasoning import FORMS as THOUGHTS

ASK = {"role": "user", "content": "Name a river."}
ANSWER = {"role": "assistant", "content": "The Elbe."}
RIVER = [("Name a river.", "The Elbe.")]
PICTURE = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}


def pairs(sets):
    return [(s.question, s.response or s.reference) for s in sets]


@pytest.mark.parametrize("content", [thought.format("hm") + "The Elbe." for thought in THOUGHTS])
@pytest.mark.parametrize(
    "record",
    [
        lambda text: {"messages": [ASK, {"role": "assistant", "content": text}]},
        lambda text: {"conversations": [{"from": "human", "value": "Name a river."}, {"from": "gpt", "value": text}]},
        lambda text: {"question": "Name a river.", "response": text},
        lambda text: {"question": "Name a river.", "answer": text},
        lambda text: {"prompt": "Name a river.", "completion": text},
        lambda text: {"instruction": "Name a river.", "output": text},
        lambda text: {"prompt": "Name a river.", "chosen": text, "rejected": "A lake."},
        lambda text: {"chat_messages": [{"sender": "human", "text": "Name a river."}, {"sender": "ai", "text": text}]},
        lambda text: {"data": ["Name a river.", text]},
    ],
    ids=["messages", "sharegpt", "question", "answer", "prompt", "alpaca", "dpo", "claude", "ultrachat"],
)
def test_a_thought_is_left_out_by_every_reader(tmp_path, record, content):
    path = tmp_path / "s.jsonl"
    sets, _, complaints = messages(path, record(content))
    assert [s.reference or s.response for s in sets] == ["The Elbe."]
    assert complaints == []
    begun = content.partition("hm")[0] + "I might say"
    sets, _, complaints = messages(path, record(begun))
    assert [s for s in sets if "might" in f"{s.response}{s.reference}"] == sets == []
    assert "never finished" in complaints[0]


@pytest.mark.parametrize(
    "turns",
    [
        [{"from": "human", "value": "Name a river."}, {"from": "bot", "value": "The Elbe."}],
        [{"role": "user", "value": "Name a river."}, {"role": "model", "value": "The Elbe."}],
        [{"speaker": "Human", "text": "Name a river."}, {"speaker": "AI", "text": "The Elbe."}],
        [{"human": "Name a river.", "assistant": "The Elbe."}],
        [{"input": "Name a river.", "output": "The Elbe."}],
        [["Name a river.", "The Elbe."]],
        ["Name a river.", "The Elbe."],
        [{"type": "human", "data": {"content": "Name a river."}}, {"type": "ai", "data": {"content": "The Elbe."}}],
        [{"is_user": True, "text": "Name a river."}, {"is_user": False, "text": "The Elbe."}],
        [ASK, {"role": "assistant", "content": "I look."}, {"role": "ipython", "content": "x"}, ANSWER],
        [ASK, {"role": "assistant", "content": "", "function_call": {"name": "f"}}, {"role": "function"}, ANSWER],
        [ASK, {"role": "assistant", "content": [{"type": "reasoning", "text": "hm"}, {"text": "The Elbe."}]}],
        [ASK, {"role": "assistant", "content": [{"type": "text", "text": {"value": "The Elbe."}}]}],
        [{"role": "user", "parts": [{"text": "Name a river."}]}, {"role": "model", "parts": [{"text": "The Elbe."}]}],
        [{"role": "developer", "content": "Be brief."}, ASK, ANSWER, {"role": "user", "content": "Thanks"}],
    ],
)
def test_turns_under_other_names_are_the_same_turns(tmp_path, turns):
    for record in ({"conversations": turns}, {"messages": json.dumps(turns)}, {"id": 4, "conversation": turns}):
        sets, _, complaints = messages(tmp_path / "s.jsonl", record)
        assert pairs(sets) == RIVER, record
        assert complaints == []


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (PICTURE, "an answer to a picture, a file or a voice message without words"),
        ({"role": "user", "content": [{"type": "file", "file": {"file_id": "x"}}]}, "an answer to a picture"),
        ({"role": "user", "content": ""}, "an answer to an empty question"),
        ({"role": "user", "content": "", "files": [{"id": 1}]}, "an answer to a picture"),
        ({"role": "user", "content": "half \ud83d"}, "an answer to a question with half a character"),
    ],
)
def test_an_answer_to_a_turn_without_words_is_glued_to_no_other_question(tmp_path, asked, why):
    cat = {"role": "assistant", "content": "A grey cat."}
    thanks = [{"role": "user", "content": "Thanks"}, {"role": "assistant", "content": "You are welcome."}]
    sets, said, complaints = messages(tmp_path / "s.jsonl", {"messages": [ASK, ANSWER, asked, cat, *thanks]})
    assert [s.response for s in sets] == ["The Elbe.", "You are welcome."]
    assert "cat" not in sets[1].question
    assert said[1].startswith(f"left out: {why}")
    assert complaints == []
    sets, _, complaints = messages(tmp_path / "s.jsonl", {"messages": [ASK, asked, cat]})
    assert pairs(sets) == ([] if "empty" not in why else [("Name a river.", "A grey cat.")])


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"weight": 0}, "an answer of weight 0"),
        ({"weight": 0.0}, "an answer of weight 0"),
        ({"train": False}, "an answer of weight 0"),
        ({"done": False}, "an answer that was never finished"),
        ({"status": "incomplete"}, "an answer that was never finished"),
        ({"finish_reason": "length"}, "an answer that was never finished"),
        ({"error": {"message": "500"}}, "an error message as an answer"),
        ({"refusal": "I can't."}, "a refusal"),
        ({"content": [{"type": "refusal", "refusal": "I can't."}]}, "a refusal"),
        ({"tool_calls": [{"id": "1"}]}, "an answer that ends in a tool's call"),
        ({"content": "Here \ud83d"}, "an answer with half a character"),
    ],
)
def test_an_answer_that_cannot_be_used_is_left_out_with_one_line_and_the_others_stay(tmp_path, more, why):
    turns = [ASK, ANSWER | more, {"role": "user", "content": "A lake?"}, {"role": "assistant", "content": "Como."}]
    sets, said, complaints = messages(tmp_path / "s.jsonl", *[{"messages": turns}] * 3)
    assert [s.response for s in sets] == ["Como."] * 3
    assert all(s.question.endswith("A lake?") and "Name a river.\n\nA lake" not in s.question for s in sets)
    assert [line for line in said if line.startswith("left out")] == [line for line in said[1:] if why in line]
    assert said[1].endswith("(3 times)")
    assert complaints == []


def test_what_stands_around_a_call_in_parts_is_not_the_answer(tmp_path):
    content = [{"type": "text", "text": "I look."}, {"type": "tool_use", "name": "f"}, {"type": "tool_result"}]
    turns = [ASK, {"role": "assistant", "content": [*content, {"type": "text", "text": "The Elbe."}]}]
    assert pairs(messages(tmp_path / "s.jsonl", {"messages": turns})[0]) == RIVER
    turns[1]["content"] = content
    assert messages(tmp_path / "s.jsonl", {"messages": turns})[0] == []


def test_bare_lists_and_single_messages_are_conversations(tmp_path):
    path = tmp_path / "s.jsonl"
    assert pairs(messages(path, [ASK, ANSWER], [ASK, ANSWER])[0]) == RIVER * 2
    path.write_text(json.dumps([ASK, ANSWER], indent=2))
    assert pairs(read(path)[0]) == RIVER
    path.write_text(json.dumps([[ASK, ANSWER], [ASK, ANSWER]], indent=2))
    assert pairs(read(path)[0]) == RIVER * 2
    rows = [turn | {"thread_id": f"t{i}"} for i in range(2) for turn in (ASK, ANSWER)]
    sets, _, complaints = messages(path, *rows[:3], {"role": "wizard", "content": "x"}, rows[3])
    assert sets == [DialogueSet(*RIVER[0], None, f"t{i}-0") for i in range(2)]
    assert len(complaints) == 1


def test_a_long_file_of_single_messages_is_cut_before_a_question(tmp_path):
    path = tmp_path / "s.jsonl"
    rows = [turn | {"content": f"{turn['content']} {i}"} for i in range(600) for turn in (ASK, ANSWER)]
    sets, _, complaints = messages(path, *rows)
    assert len(sets) == 600
    assert all(s.question.endswith(f"Name a river. {i}") and s.response.endswith(f" {i}") for i, s in enumerate(sets))
    assert complaints == []


def test_forms_may_change_within_a_file_and_each_is_said_once(tmp_path):
    records = [{"question": "Q", "response": "R"}, {"messages": [ASK, ANSWER]}, {"question": "Q", "answer": "A"}] * 2
    sets, said, complaints = messages(tmp_path / "s.jsonl", *records)
    assert len(sets) == 6
    assert [line.partition(" (")[0] for line in said] == ["read as messages"]
    assert complaints == []


@pytest.mark.parametrize("beside", ["completion", "answer", "ground_truth"])
def test_the_answer_to_a_conversation_may_stand_beside_it(tmp_path, beside):
    sets, _, complaints = messages(tmp_path / "s.jsonl", {"messages": [ASK, ANSWER, ASK], beside: "The Rhine."})
    assert [(s.response, s.reference) for s in sets] == [(None, "The Rhine.")]
    assert complaints == []


def test_a_text_that_is_no_json_is_refused_at_its_beginning_and_a_line_of_it_is_not(tmp_path):
    path = tmp_path / "s.txt"
    path.write_text("Dear diary,\n" * 30)
    with pytest.raises(StreamError, match="no JSON in its first 26 lines; give JSON Lines"):
        read(path)
    path.write_text("Dear diary,\n" * 20 + json.dumps({"question": "Q"}))
    sets, _, complaints = read(path)
    assert (len(sets), len(complaints)) == (1, 20)
