"""Conversations through the whole of selection and gold annotation: interrupted and resumed in the middle of one."""

import json

import pytest

from edgepers import Personalizer
from edgepers.config import Settings
from edgepers.rounds.listener import Listener
from edgepers.rounds.verdicts import part
from tests.streams.test_forms import FORM_OF

TURNS = [
    ("I have a dog.", "What is she called?"),
    ("Moon.", "A fine name."),
    ("She swims.", "In the river?"),
    ("Yes!", "Lovely."),
]


def chats(count):
    for i in range(count):
        said = [
            {"role": role, "content": f"{text} ({i})"}
            for turn in TURNS
            for role, text in zip(("user", "assistant"), turn, strict=True)
        ]
        yield {"id": f"c{i}", "messages": said}


def rows(count):
    for i in range(count):
        for row in FORM_OF["empathetic"][:4]:
            yield row | {"conv_id": f"c{i}", "utterance": f"{row['utterance']} ({i})"}


def kept(owner):
    return [
        (k.position, k.id, k.question, k.response, k.where, k.embedding.tobytes(), k.reference) for k in owner.buffer
    ]


@pytest.mark.parametrize(("records", "sets"), [(list(chats(6)), 24), (list(rows(12)), 24)], ids=["messages", "rows"])
def test_a_run_that_stops_inside_a_conversation_goes_on_there(tmp_path, llm, monkeypatch, records, sets):
    monkeypatch.setattr(llm, "answer", lambda questions, **_: [f"Well, {question}" for question in questions])
    path = tmp_path / "s.json"
    path.write_text(json.dumps(records))
    settings = Settings(storage=64_000, annotations="gold", annotations_per_round=5)
    with Personalizer(tmp_path / "whole", settings, llm=llm) as owner:
        assert owner.select(path)["seen"] == sets
        whole = kept(owner)
        outcomes = owner.annotate()
        revealed = [k for k in owner.buffer if k.annotated]
    for limit in (3, 17, 22, None):
        with Personalizer(tmp_path / "parts", settings, llm=llm) as owner:
            assert owner.select(path, limit=limit)["seen"] == (limit or sets)
    with Personalizer(tmp_path / "parts", settings, llm=llm) as owner:
        assert [k[:5] for k in kept(owner)] == [k[:5] for k in whole]
        assert owner.annotate() == outcomes
    if "messages" in records[0]:
        assert outcomes == {}  # a chat knows no reference
    else:
        assert outcomes == {"corrected": 5}
        assert all(k.reference and k.reference.endswith(f"({k.position // 2})") for k in revealed)


class Said(Listener):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def log(self, text):
        self.lines.append(text)


def test_a_verdict_of_the_source_comes_with_the_set_and_what_was_rejected_is_never_taught(tmp_path, llm):
    path = tmp_path / "s.jsonl"
    rows = [
        {"prompt": "Name a river.", "completion": "A lake, you fool.", "label": False},
        {"prompt": "Name a lake.", "completion": "Como.", "label": True},
        {"prompt": "Name a sea.", "chosen": "The Baltic.", "rejected": "A pond."},
        {"question": "Name a hill.", "response": "Everest."},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    with Personalizer(tmp_path / "state", Settings(annotations="gold"), llm=llm) as owner:
        report = owner.select(path)
        assert (report["seen"], report["annotated"]) == (4, 3)
        assert [(k.response, k.verdict) for k in owner.buffer] == [
            ("A lake, you fool.", "bad"), ("Como.", "good"), ("A pond.", "bad"), ("Everest.", ""),
        ]  # fmt: skip
        parted = part(owner.buffer.annotated())
        assert [k.response for k in parted.rejected] == ["A lake, you fool.", "A pond."]
        assert [k.wanted for k in (*parted.training, *parted.reserve)] == ["Como."]
        assert owner.annotate() == {"corrected": 1}  # the data set knows what was wanted in place of the pond
        wanted = [k.wanted for k in owner.buffer.annotated() if not k.rejected]
        assert wanted == ["Como.", "The Baltic."]


def test_what_is_skipped_and_left_out_is_said_once_a_kind(tmp_path, llm):
    path = tmp_path / "s.jsonl"
    picture = {"role": "user", "content": [{"type": "image_url"}]}
    good = {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}
    glued = {"messages": [*good["messages"], picture, {"role": "assistant", "content": "A cat."}]}
    lines = ["oops", *[json.dumps(glued)] * 5, "oops", json.dumps({"messages": []}), "oops"]
    path.write_text("\n".join(lines))
    listener = Said()
    with Personalizer(tmp_path / "state", Settings(), llm=llm, listener=listener) as owner:
        assert owner.select(path)["invalid"] == 4
    assert [line.replace(str(path), "s") for line in listener.lines] == [
        "stream s: read as messages (chat messages: each assistant turn is one set)",
        "stream s: left out: an answer to a picture, a file or a voice message without words (5 times)",
        "skipped: s:1: not JSON at column 1: Expecting value (and 2 more like it)",
        "skipped: s:8: 'messages' is empty",
    ]
