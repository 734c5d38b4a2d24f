import io
import json

import numpy as np
import pytest

from edgepers.annotate.sources import SKIPPED, Answer, ask, from_file
from edgepers.errors import StreamError
from edgepers.state.records import KeptSet
from edgepers.streams import Cursor


def kept(name: str) -> KeptSet:
    return KeptSet(0, name, f"question {name}", "r", None, "a", 0, 0, np.zeros(1, np.int8), Cursor())


def test_a_file_answers_by_id_or_by_question(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "1", "reference": "one"}\n\n{"question": "question 2", "good": true}\n')
    source = from_file(path)
    assert [source(kept(name)) for name in "123"] == [Answer("one"), Answer(None), None]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"reference": "x"}', "neither 'id' nor 'question'"),
        ('{"id": "1"}', "'reference' is missing"),
        ('{"id": "1", "reference": " "}', "'reference' is missing or empty"),
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


def test_the_owner_can_approve_correct_skip_and_stop():
    talk = io.StringIO()
    source = ask(Terminal("\nIt is Moon.\ns\nq\nnever read\n"), talk)
    assert [source(kept(str(i))) for i in range(5)] == [Answer(None), Answer("It is Moon."), SKIPPED, None, None]
    assert "question 3" in talk.getvalue()
    assert "question 4" not in talk.getvalue()


def test_without_a_terminal_nobody_is_asked():
    assert ask(io.StringIO("yes\n"), io.StringIO())(kept("1")) is None
