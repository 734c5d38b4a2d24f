import io
import json
from dataclasses import replace

import numpy as np
import pytest

from edgepers.annotate.sources import SKIPPED, Answer, ask, from_file, gold
from edgepers.errors import StreamError
from edgepers.state.records import KeptSet
from edgepers.streams import Cursor, DialogueSet, IterableStream


def kept(name: str) -> KeptSet:
    return KeptSet(0, name, f"question {name}", "r", None, "a", 0, 0, np.zeros(1, np.int8), Cursor())


def test_a_file_answers_by_id_or_by_question(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "1", "reference": "one"}\n\n{"question": "question 2", "good": true}\n')
    source = from_file(path)
    assert [source(kept(name)) for name in "123"] == [Answer("one"), Answer(None), None]


def test_a_file_says_wrong_alone_where_it_gives_no_correction(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [{"id": "1"}, {"id": "2", "reference": ""}, {"id": "3", "reference": None}, {"id": "4", "reference": "four"}]
    path.write_text("".join(json.dumps(row | {"good": False}) + "\n" for row in rows))
    source = from_file(path)
    wrong = Answer(None, bad=True)
    assert [source(kept(name)) for name in "1234"] == [wrong, wrong, wrong, Answer("four")]


def test_gold_without_a_word_is_no_answer():
    sets = [DialogueSet("a", "b", reference) for reference in ("c", " ", "", None)]
    source = gold(IterableStream(sets))
    found = [source(replace(kept("1"), where=Cursor(i, i))) for i in range(len(sets))]
    assert found == [Answer("c"), None, None, None]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"reference": "x"}', "neither 'id' nor 'question'"),
        ('{"id": "1"}', "'reference' is missing"),
        ('{"id": "1", "reference": " "}', "'reference' is missing or empty"),
        ('{"id": "1", "reference": "", "good": 0}', "'reference' is missing or empty"),
        ('{"id": "1", "reference": 7, "good": false}', "'reference' is missing or empty"),
        ("oops", "not JSON"),
        ("[1]", "a list where an object"),
        (json.dumps({"id": [1], "reference": "x"}), "neither 'id'"),
    ],
)
def test_a_malformed_answer_is_named(tmp_path, line, says):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "0", "good": true}\n' + line + "\n")
    with pytest.raises(StreamError, match=f"a.jsonl:2: .*{says}"):
        from_file(path)
    with pytest.raises(StreamError, match="No such file"):
        from_file(tmp_path / "missing")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_owner_can_approve_correct_call_wrong_skip_and_stop():
    talk = io.StringIO()
    source = ask(Terminal("\nIt is Moon.\nw\ns\nq\nnever read\n"), talk)
    said = [Answer(None), Answer("It is Moon."), Answer(None, bad=True), SKIPPED, None, None]
    assert [source(kept(str(i))) for i in range(6)] == said
    assert "w: wrong" in talk.getvalue()
    assert "question 4" in talk.getvalue()
    assert "question 5" not in talk.getvalue()


def test_without_a_terminal_nobody_is_asked():
    assert ask(io.StringIO("yes\n"), io.StringIO())(kept("1")) is None
