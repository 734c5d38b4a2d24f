"""JSON as programs and people write it: spread, doubled, with commas too many, with numbers of any length."""

import json

import pytest

from edgepers.streams import Cursor, DialogueSet, FileStream
from edgepers.streams.json_values import Values, decode
from tests.streams.test_exports import read

ROWS = [{"question": f"Q{i}", "response": f"R {{[{i}", "more": {"list": [1, {"deep": []}]}} for i in range(4)]
SETS = [DialogueSet(f"Q{i}", f"R {{[{i}") for i in range(4)]


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(json.dumps(row) for row in ROWS),
        "\n".join(json.dumps(row, indent=2) for row in ROWS),
        "\n\n".join(json.dumps(row, indent=0) for row in ROWS),
        ",\n".join(json.dumps(row, indent="\t") for row in ROWS),
        "".join(json.dumps(row) for row in ROWS),
        " ".join(json.dumps(row) for row in ROWS),
        ",\n".join(json.dumps(row) for row in ROWS) + ",\n",
        "[" + ",".join(json.dumps(row) for row in ROWS) + ",]",
        "[\n" + ",\n".join(json.dumps(row, indent=4) for row in ROWS) + ",\n]",
        "\n".join(json.dumps(row)[:-1] + ",}" for row in ROWS),
        "\r".join(json.dumps(row) for row in ROWS) + "\r",
        "\r\n".join(json.dumps(row) for row in ROWS),
        "\r\n".join(json.dumps(row, indent=1).replace("\n", "\r\n") for row in ROWS),
        json.dumps({"version": 1, "rows": ROWS}, indent=1),
        json.dumps({"features": [], "rows": [{"row_idx": i, "row": row} for i, row in enumerate(ROWS)]}),
    ],
    ids=[
        "lines", "spread", "indent-0", "commas", "one-line", "spaces", "trailing", "array", "spread-array", "object",
        "cr", "crlf", "spread-crlf", "wrapped", "hub",
    ],
)  # fmt: skip
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_records_are_read_however_they_are_laid_out_and_resumed_anywhere(tmp_path, text, mark):
    path = tmp_path / "s.json"
    path.write_bytes((mark + text).encode())
    sets, said, complaints = read(path)
    assert sets == SETS
    assert said == ["columns that are not read: more"]
    assert complaints == []
    whole = list(FileStream(path).read(Cursor(), print))
    for i, arrival in enumerate(whole):
        assert list(FileStream(path).read(arrival.here, print)) == whole[i:]
        assert list(FileStream(path).read(arrival.after, print)) == whole[i + 1 :]


def test_a_record_that_is_cut_off_costs_itself_alone_among_spread_ones(tmp_path):
    path = tmp_path / "s.json"
    spread = [json.dumps(row, indent=2) for row in ROWS]
    spread[1] = spread[1][: len(spread[1]) // 2]
    path.write_text("\n".join(spread))
    sets, _, complaints = read(path)
    assert sets == [SETS[0], *SETS[2:]]
    assert len(complaints) == 1
    path.write_text("\n".join([spread[0], spread[2], spread[3][:40]]))
    sets, _, complaints = read(path)
    assert sets == [SETS[0], SETS[2]]
    assert len(complaints) == 1
    assert "the file ends inside this record" in complaints[0]


def test_a_malformed_value_on_a_line_costs_itself_alone(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_text('{"question": "a"} {"question": oops}\n{"question": "b"}{}\n')
    sets, _, complaints = read(path)
    assert [s.question for s in sets] == ["a", "b"]
    assert len(complaints) == 2


def test_numbers_are_as_they_are_written_and_what_is_no_number_is_missing(tmp_path):
    path = tmp_path / "s.jsonl"
    long = "9" * 5000
    path.write_text(
        f'{{"question": "Q", "response": "R", "score": NaN, "id": {long}}}\n'
        + '{"question": "Q", "response": "R", "score": -Infinity, "id": 1e400}\n'
        + '{"question": "Q", "response": NaN, "id": -1.5}\n'
    )
    sets, said, complaints = read(path)
    assert sets == [
        DialogueSet("Q", "R", None, long),
        DialogueSet("Q", "R", None, "1e400"),
        DialogueSet("Q", id="-1.5"),
    ]
    assert (said, complaints) == ([], [])


def test_a_name_that_stands_twice_with_two_values_is_refused_and_with_one_is_not(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_text('{"question": "a", "question": "b"}\n{"question": "c", "question": "c"}\n')
    sets, _, complaints = read(path)
    assert [s.question for s in sets] == ["c"]
    assert "the name 'question' stands twice" in complaints[0]


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"messages":['])
def test_deep_nesting_is_one_line(tmp_path, opening):
    path = tmp_path / "s.jsonl"
    path.write_text(opening * 100_000 + '\n{"question": "Q"}\n')
    sets, _, complaints = read(path)
    assert [s.question for s in sets] == ["Q"] or len(complaints) == 1
    path.write_text('{"question": "Q"}\n' + opening * 100_000 + '\n{"question": "Q"}\n')
    sets, _, complaints = read(path)
    assert [s.question for s in sets] == ["Q", "Q"]
    assert len(complaints) == 1
    assert "nested too deeply" in complaints[0]


def test_several_values_are_told_from_one():
    assert decode(b'{"a": 1}') == {"a": 1}
    assert decode(b'{"a": 1} [2]') == Values(({"a": 1}, [2]))
    assert decode(b'{"a": "x,}"},') == {"a": "x,}"}
    assert decode(b'{"a": [1, 2,], "b": ",]",}') == {"a": [1, 2], "b": ",]"}
    for text in (b"oops", b"", b'{"a": }', b'{"a": 1,, "b": 2}', b"\xff"):
        with pytest.raises(ValueError, match=r"not JSON|not UTF-8"):
            decode(text)
