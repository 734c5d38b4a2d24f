"""Conversations through the whole of selection and gold annotation: interrupted and resumed in the middle of one."""

import json

import pytest

from edgepers import Personalizer
from edgepers.config import Settings
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
