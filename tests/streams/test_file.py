import json
from pathlib import Path

import pytest

from edgepers.errors import StreamError
from edgepers.streams import (
    MAX_LINE_BYTES,
    Cursor,
    DialogueSet,
    FileStream,
    IterableStream,
    open_stream,
    read_dialogue_sets,
)

GOOD = b'{"question": "Q", "response": "R", "reference": "W", "id": 7}\n'
BAD = {
    b"{not json}\n": "not JSON at column 2",
    b'{"response": "R"}\n': "'question' is missing",
    b'{"question": "  "}\n': "'question' is empty",
    b'{"question": "Q", "response": ""}\n': "'response' is empty",
    b'{"question": 5}\n': "'question' is int, not text",
    b'["Q"]\n': "a list where an object",
    b'{"question": "\xff"}\n': "byte 15 is not UTF-8",
    b'{"question": "\\ud800"}\n': "half a surrogate pair",
    b"[" * 100_000 + b"\n": "nested too deeply",
}


def read(path: Path) -> tuple[list[DialogueSet], list[str], Cursor]:
    start = Cursor()
    complaints: list[str] = []
    arrivals = list(FileStream(path).read(start, complaints.append))
    return [a.dialogue for a in arrivals], complaints, arrivals[-1].after if arrivals else start


@pytest.mark.parametrize("line", BAD, ids=list(BAD.values()))
def test_stream_names_file_line_and_field_of_a_malformed_line_and_goes_on(tmp_path, line):
    path = tmp_path / "s.jsonl"
    path.write_bytes(GOOD + line + GOOD)
    sets, complaints, end = read(path)
    assert [s.question for s in sets] == ["Q", "Q"]
    assert len(complaints) == 1
    assert complaints[0].startswith(f"{path}:2: ")
    assert BAD[line] in complaints[0]
    assert end == Cursor(path.stat().st_size, 3, 1)


def test_stream_reads_fields_and_turns_ids_into_text(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD + b'\n{"question": "Q2", "reference": " "}')
    sets, complaints, _ = read(path)
    assert sets == [DialogueSet("Q", "R", "W", "7"), DialogueSet("Q2", None, None, None)]
    assert not complaints


def test_a_line_past_the_limit_is_malformed_and_costs_no_more_memory(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_bytes(b'{"question": "' + b"x" * (2 * MAX_LINE_BYTES + 5) + b'"}\n' + GOOD)
    sets, complaints, _ = read(path)
    assert len(sets) == 1
    assert "longer than 64 MiB" in complaints[0]


def test_reading_again_from_any_cursor_gives_the_rest(tmp_path):
    path = tmp_path / "s.jsonl"
    lines = [json.dumps({"question": f"Q{i}", "reference": f"W{i}"}).encode() if i % 3 else b"oops" for i in range(20)]
    path.write_bytes(b"\n".join(lines))
    arrivals = list(FileStream(path).read(Cursor(), lambda _: None))
    for i, arrival in enumerate(arrivals):
        again = list(FileStream(path).read(arrival.here, lambda _: None))
        assert again == arrivals[i:]
        assert FileStream(path).reference_at(arrival.here) == arrival.dialogue.reference


def test_gold_reference_refuses_a_file_that_changed(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_bytes(GOOD)
    with pytest.raises(StreamError, match="changed at line 1"):
        FileStream(path).reference_at(Cursor(3, 0, 0))


def test_missing_folder_and_binary_streams_are_one_line(tmp_path):
    binary = tmp_path / "b.jsonl"
    binary.write_bytes(b"\x7fELF\0\0\0")
    for path, says in ((tmp_path / "no.jsonl", "no such file"), (tmp_path, "a folder"), (binary, "binary file")):
        with pytest.raises(StreamError, match=says) as error:
            FileStream(path)
        assert "\n" not in str(error.value)


def test_fingerprint_stays_when_a_file_grows_and_differs_between_files(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_bytes(GOOD)
    first = FileStream(path).fingerprint
    path.write_bytes(GOOD * 3)
    assert FileStream(path).fingerprint == first
    path.write_bytes(b'{"question": "other"}\n' + GOOD)
    assert FileStream(path).fingerprint != first


def test_iterable_stream_resumes_and_refuses_empty_questions():
    complaints: list[str] = []
    stream = IterableStream([DialogueSet("a"), DialogueSet(" "), DialogueSet("b", reference="r")])
    arrivals = list(stream.read(Cursor(), complaints.append))
    assert [a.dialogue.question for a in arrivals] == ["a", "b"]
    assert len(complaints) == 1
    assert stream.reference_at(arrivals[1].here) == "r"
    assert [a.dialogue.question for a in stream.read(arrivals[0].after, complaints.append)] == ["b"]
    assert open_stream(stream) is stream


def test_a_test_set_must_be_whole(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_bytes(GOOD + b"oops\n")
    with pytest.raises(StreamError, match=r"t.jsonl:2: .*every line of a test set"):
        read_dialogue_sets(path)
    path.write_bytes(b'{"question": "Q"}\n')
    with pytest.raises(StreamError, match="set 1 has no 'reference'"):
        read_dialogue_sets(path, need_reference=True)
    path.write_bytes(b'[{"instruction": "Q", "input": "", "output": "A"}]')  # in any form that knows references
    assert read_dialogue_sets(path, need_reference=True) == [DialogueSet("Q", None, "A")]
    path.write_bytes(b"")
    with pytest.raises(StreamError, match="no dialogue set"):
        read_dialogue_sets(path)
