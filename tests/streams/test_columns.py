"""Rows in columns of any name: nothing of them is dropped unsaid, and what was rejected is never a reference."""

import json

import pytest

from edgepers.streams import DialogueSet
from tests.streams.test_exports import messages, read


@pytest.mark.parametrize(
    ("record", "question", "reference"),
    [
        ({"question": "Q", "answer": "A"}, "Q", "A"),
        ({"question": "Q", "output": "A"}, "Q", "A"),
        ({"question": "Q", "context": "C", "answers": {"text": ["A", "B"], "answer_start": [0]}}, "Q\n\nC", "A"),
        ({"question": "Q", "answers": ["A", "B"]}, "Q", "A"),
        ({"question": "Q", "chosen": "A"}, "Q", "A"),
        ({"Question": "Q", "Answer": "A"}, "Q", "A"),
        ({"question": "Q", "answer": 42}, "Q", "42"),
        ({"prompt": "Q", "completion": "A"}, "Q", "A"),
        ({"prompt": "### Instruction:\nQ\n\n### Response:\n", "completion": "A"}, "Q", "A"),
        (
            {"prompt": [{"role": "user", "content": "Q"}], "completion": [{"role": "assistant", "content": "A"}]},
            "Q",
            "A",
        ),
        ({"instruction": "Q", "input": "C", "response": "A"}, "Q\n\nC", "A"),
        ({"instruction": "Q", "context": "C", "response": "A"}, "Q\n\nC", "A"),
        ({"instruction": "Q", "input": "", "output": "A", "history": [["q", "a"]]}, "User: q\nAssistant: a\n\nQ", "A"),
        ({"input": "Q", "output": "A"}, "Q", "A"),
        ({"query": "Q", "answer": "A"}, "Q", "A"),
        ({"problem": "Q", "solution": "A"}, "Q", "A"),
        ({"text_input": "Q", "output": "A"}, "Q", "A"),
        ({"text": "### Instruction:\nQ\n\n### Input:\nC\n\n### Response:\nA"}, "Q\n\nC", "A"),
        ({"text": "### Human: Q### Assistant: A"}, "Q", "A"),
        ({"text": "\n\nHuman: Q\n\nAssistant: A"}, "Q", "A"),
        ({"text": "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nA<|im_end|>"}, "Q", "A"),
        ({"text": "<s>[INST] <<SYS>>x<</SYS>> Q [/INST] A </s>"}, "Q", "A"),
        ({"text": "<start_of_turn>user\nQ<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>"}, "Q", "A"),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else "",
)
def test_known_columns_are_read(tmp_path, record, question, reference):
    sets, said, complaints = messages(tmp_path / "s.jsonl", record)
    assert sets == [DialogueSet(question, None, reference)]
    assert not any("not read" in line for line in said)
    assert complaints == []


def test_what_was_said_is_a_response_and_no_reference(tmp_path):
    sets, _, _ = messages(tmp_path / "s.jsonl", {"prompt": "Q", "response": "R"}, {"input": "Q", "assistant": "R"})
    assert sets == [DialogueSet("Q", "R")] * 2


def test_columns_that_are_not_understood_are_named_once(tmp_path):
    record = {"question": "Q", "final_answer_text": "A", "score": 3, "empty": None, "category": "c"}
    sets, said, complaints = messages(tmp_path / "s.jsonl", *[record] * 20)
    assert sets == [DialogueSet("Q")] * 20
    assert said == ["columns that are not read: final_answer_text, score"]
    assert complaints == []


TABLE = [("question", "answer"), ("Name a river.", 'The "Elbe",\nof course.'), ("A lake?", "Como; or not.")]


@pytest.mark.parametrize(("suffix", "delimiter"), [(".csv", ","), (".tsv", "\t"), (".csv", ";"), (".txt", ",")])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_tables_are_read_with_any_delimiter_and_encoding(tmp_path, suffix, delimiter, encoding):
    path = tmp_path / f"t{suffix}"
    quoted = (delimiter.join('"{}"'.format(field.replace('"', '""')) for field in row) for row in TABLE)
    path.write_bytes("\r\n".join(quoted).encode(encoding))
    sets, _, complaints = read(path)
    assert [(s.question, (s.reference or "").replace("\r", "")) for s in sets] == TABLE[1:]
    assert complaints == []


def test_a_table_of_unknown_columns_is_one_line(tmp_path, capsys):
    from edgepers.errors import StreamError

    path = tmp_path / "t.csv"
    path.write_text("alpha,beta\n" + "1,2\n" * 30)
    with pytest.raises(StreamError, match=r"a table whose columns are not known \(alpha, beta\); name them"):
        read(path)


HUMAN = "\n\nHuman: Q\n\nAssistant: "
Q, A, R = (
    {"role": "user", "content": "Q"},
    {"role": "assistant", "content": "A"},
    {"role": "assistant", "content": "R"},
)


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": "Q", "chosen": "A", "rejected": "R"},
        {"question": "Q", "chosen": "A", "rejected": "R", "system": ""},
        {"instruction": "Q", "input": "", "output": "A", "rejected": "R"},
        {"prompt": [Q], "chosen": [A], "rejected": [R]},
        {"prompt": "Q", "chosen": [Q, A], "rejected": [Q, R]},
        {"chosen": [Q, A], "rejected": [Q, R], "score_chosen": 5.0},
        {"messages": [Q], "chosen": A, "rejected": R},
        {"conversations": [{"from": "human", "value": "Q"}], "chosen": {"from": "gpt", "value": "A"}, "rejected": R},
        {"chosen": HUMAN + "A", "rejected": HUMAN + "R"},
        {"prompt": HUMAN, "chosen": "A", "rejected": "R"},
        {"question": "Q", "accepted": "A", "rejected": "R"},
        {"prompt": "Q", "chosen_response": "A", "rejected_response": "R"},
    ],
    ids=lambda value: json.dumps(value)[:50],
)
def test_a_preference_is_a_bad_response_and_a_reference(tmp_path, record):
    sets, _, complaints = messages(tmp_path / "s.jsonl", record)
    assert sets == [DialogueSet("Q", "R", "A", None, "bad")]
    assert complaints == []


def test_a_rejected_answer_alone_is_a_bad_response(tmp_path):
    sets, _, _ = messages(tmp_path / "s.jsonl", {"prompt": "Q", "chosen": "", "rejected": "R"})
    assert sets == [DialogueSet("Q", "R", verdict="bad")]


@pytest.mark.parametrize("label", [False, "False", "false", 0])
@pytest.mark.parametrize(
    "record",
    [{"prompt": "Q", "completion": "R"}, {"prompt": [Q], "completion": [R]}, {"messages": [Q, R]}],
    ids=["text", "messages", "conversation"],
)
def test_a_label_is_a_verdict_on_the_last_answer_alone(tmp_path, record, label):
    path = tmp_path / "s.jsonl"
    assert messages(path, record | {"label": label})[0] == [DialogueSet("Q", "R", verdict="bad")]
    assert messages(path, record | {"label": True})[0] == [DialogueSet("Q", "R", verdict="good")]
    if "messages" in record:
        earlier = {"messages": [Q, A, Q, R], "label": label}
        assert [s.response for s in messages(path, earlier)[0]] == ["R"]


def test_a_thumb_in_our_own_form_is_a_verdict(tmp_path):
    rows = [{"question": "Q", "response": "R", "good": good} for good in (True, False)]
    assert [s.verdict for s in messages(tmp_path / "s.jsonl", *rows)[0]] == ["good", "bad"]
