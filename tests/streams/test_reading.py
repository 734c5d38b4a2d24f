"""Records cut out of files and pipes: any chunk, any interruption, any damage."""

import io
import json
import subprocess
import sys
import tracemalloc
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepers.errors import StreamError
from edgepers.select.micro_batches import MicroBatches
from edgepers.state.progress import Progress
from edgepers.streams import framing, hub, json_values, open_stream
from edgepers.streams.file import FileStream
from edgepers.streams.framing import frame, is_array
from edgepers.streams.types import Cursor
from tests.streams.test_forms import FORM_OF

VALUES = st.recursive(st.text() | st.integers() | st.none(), lambda v: st.lists(v) | st.dictionaries(st.text(), v))


class Drip(io.BytesIO):
    """A pipe that gives a few bytes at a time."""

    def __init__(self, data: bytes, most: int) -> None:
        super().__init__(data)
        self._most = most

    def read1(self, size: int | None = -1) -> bytes:
        return self.read(self._most)


@given(st.lists(VALUES), st.integers(1, 40))
def test_an_array_gives_its_elements_whatever_the_chunks(values, chunk):
    for indent in (None, 2):
        data = json.dumps([{"v": value} for value in values], indent=indent).encode()
        found = list(frame(Drip(data, chunk), 0, 0, array=True))
        assert [record.parse() for record in found] == [{"v": value} for value in values]
        for record in found:
            again = io.BytesIO(data)
            again.seek(record.offset)
            assert (
                json.loads(data[record.offset : record.end].strip().rstrip(b",").removesuffix(b"]")) == record.parse()
            )
            rest = list(frame(again, record.offset, record.line, array=True)) if record.offset else found
            assert [r.parse() for r in rest] == [r.parse() for r in found[record.line :]]


def test_only_an_array_of_objects_is_an_array():
    assert all(is_array(head) for head in (b"[", b" [ {", b"\xef\xbb\xbf[\n{", b"[]"))
    assert not any(is_array(head) for head in (b'["Q"]', b"[1]", b"[[", b'{"a": []}', b""))


@pytest.mark.parametrize(
    ("data", "says", "good"),
    [
        (b'[{"n": 1}, {"n": oops}, {"n": 3}]', "record 2: not JSON at column", 2),
        (b'[{"n": 1}, 7, {"n": 3}]', "record 2: a int where an object", 2),
        (b'[{"n": 1}, {"n": "\xff"}, {"n": 3}]', "is not UTF-8", 2),
        (b'[{"n": 1} {"n": 2}, {"n": 3}]', None, 3),  # a comma is missing, and no doubt is left
        (b'[{"n": 1}, {"n": 2', "record 2: the file ends inside this record", 1),
        (b'[{"n": 1}, {"n": "2', "record 2: the file ends inside this record", 1),
        (b'[{"n": 1}, {"n": ]}, {"n": 3}]', "record 2: not JSON", 1),
        (b'[{"n": 1},,]', None, 1),
        (b'\xef\xbb\xbf \r\n[\r\n{"n": 1}\r\n]\r\n', None, 1),
        (b"[]", None, 0),
    ],
)
def test_a_damaged_array_names_the_record_and_gives_the_others(tmp_path, data, says, good):
    path = tmp_path / "a.json"
    path.write_bytes(
        data.replace(b'"n"', b'"question"')
        .replace(b": 1", b': "1"')
        .replace(b": 3", b': "3"')
        .replace(b": 2}", b': "2"}')
    )
    complaints: list[str] = []
    arrivals = list(FileStream(path).read(Cursor(), complaints.append))
    assert len(arrivals) == good
    if says is None:
        assert complaints == []
    else:
        assert complaints[0].startswith(f"{path}: record ")
        assert says in complaints[0]


def test_an_element_past_the_limit_is_malformed_and_the_next_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(framing, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(json_values, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(framing, "_CHUNK_BYTES", 64)
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"question": "x" * 5000}, {"question": "y"}]))
    complaints: list[str] = []
    assert [a.dialogue.question for a in FileStream(path).read(Cursor(), complaints.append)] == ["y"]
    assert "record 1: longer than" in complaints[0]


@pytest.mark.parametrize("lines", [False, True], ids=["array", "lines"])
def test_a_large_file_costs_no_memory(tmp_path, lines):
    path = tmp_path / "big.json"
    record = json.dumps(
        {"messages": [{"role": "user", "content": "a" * 2000}, {"role": "assistant", "content": "b" * 2000}]}
    )
    path.write_text("\n".join([record] * 5000) if lines else "[" + ",\n".join([record] * 5000) + "]")
    tracemalloc.start()
    count = sum(1 for _ in FileStream(path).read(Cursor(), print))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 5000
    assert peak < path.stat().st_size / 10


CHAT = FORM_OF["messages"][0]
MIXED = [CHAT, {"messages": []}, CHAT | {"id": "m2"}, {"messages": CHAT["messages"][:3]}]
EMPATHETIC = [*FORM_OF["empathetic"][:3], {"conv_id": "hit:1_conv:2", "utterance": ""}, *FORM_OF["empathetic"][3:]]


@pytest.mark.parametrize("as_array", [False, True], ids=["lines", "array"])
@pytest.mark.parametrize("records", [MIXED, EMPATHETIC, FORM_OF["chatgpt"] * 3], ids=["messages", "rows", "trees"])
def test_interrupted_at_any_set_is_as_uninterrupted(tmp_path, records, as_array):
    path = tmp_path / "s.json"
    path.write_text(json.dumps(records) if as_array else "\n".join(map(json.dumps, records)) + "\n")
    whole_complaints: list[str] = []
    whole = list(FileStream(path).read(Cursor(), whole_complaints.append))
    for i, arrival in enumerate(whole):
        for start, rest in ((arrival.here, whole[i:]), (arrival.after, whole[i + 1 :])):
            stream, complaints = FileStream(path), []
            assert list(stream.read(start, complaints.append)) == rest
            assert start.invalid + len(complaints) == len(whole_complaints)
        assert FileStream(path).reference_at(arrival.here) == arrival.dialogue.reference


@given(st.lists(st.sampled_from(["pair", "bad", "long"]), max_size=8), st.data())
def test_any_stream_of_conversations_resumes_anywhere(tmp_path_factory, kinds, data):
    turns = [{"role": role, "content": f"{role} {i}"} for i in range(3) for role in ("user", "assistant")]
    records = {"pair": {"messages": turns[:2]}, "bad": {"messages": 0}, "long": {"messages": turns}}
    path = tmp_path_factory.mktemp("s") / "s.jsonl"
    path.write_text("".join(json.dumps(records[kind]) + "\n" for kind in kinds))
    whole = list(FileStream(path).read(Cursor(), lambda _: None))
    assert len(whole) == kinds.count("pair") + 3 * kinds.count("long")
    if whole:
        i = data.draw(st.integers(0, len(whole) - 1))
        assert list(FileStream(path).read(whole[i].after, lambda _: None)) == whole[i + 1 :]


def test_a_reference_is_not_taken_from_a_file_that_changed(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_text("\n".join(map(json.dumps, FORM_OF["meddialog"])))
    second = list(FileStream(path).read(Cursor(), print))[1]
    path.write_text("\n".join(map(json.dumps, FORM_OF["meddialog"][1:])))
    with pytest.raises(StreamError, match="changed at line 1"):
        FileStream(path).reference_at(second.here)


def test_two_pretty_printed_arrays_are_two_streams_and_one_that_grew_is_one(tmp_path):
    path = tmp_path / "a.json"
    prints = []
    for records in (FORM_OF["messages"], FORM_OF["messages"] * 2, FORM_OF["sharegpt"]):
        path.write_text(json.dumps(records, indent=2))
        prints.append(FileStream(path).fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_lines_may_end_in_crlf_and_hold_odd_characters_but_no_bare_nul(tmp_path):
    path = tmp_path / "s.jsonl"
    escaped, bare, odd = '{"question": "a\\u0000b"}', '{"question": "a\0b"}', '{"question": "\u2028 😀"}'
    path.write_bytes(f"\ufeff{escaped}\r\n\r\n{bare}\r\n{odd}\r\n".encode())
    with pytest.raises(StreamError, match="binary file"):
        FileStream(path)
    path.write_bytes(b'{"question": "' + b"x" * 5000 + b'"}\r\n' + path.read_bytes())
    complaints: list[str] = []
    assert len(list(FileStream(path).read(Cursor(), complaints.append))) == 3
    assert complaints[0].startswith(f"{path}:4: not JSON")
    path.write_text('{"question": "a"}', encoding="utf-16")
    assert len(list(FileStream(path).read(Cursor(), print))) == 1


LIVE = """
import sys
from edgepers.streams import open_stream
from edgepers.select.micro_batches import MicroBatches
from edgepers.state.progress import Progress
feed = MicroBatches(open_stream("-", log=print), Progress(), strict=False, log=print)
while batch := feed.next():
    print(len(batch), batch.arrivals[0].dialogue.question, flush=True)
"""


def test_a_live_pipe_gives_each_set_as_its_line_arrives():
    with subprocess.Popen(
        [sys.executable, "-c", LIVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write("\n\n")
        for i in range(3):
            child.stdin.write(json.dumps({"instruction": f"Q{i}", "output": "A"}) + "\n")
            child.stdin.flush()
            if i == 0:
                assert child.stdout.readline().startswith("stream standard input: read as instruction (")
            assert child.stdout.readline() == f"1 Q{i}\n"
        child.stdin.close()
        assert child.wait(20) == 0


def test_a_redirected_file_is_read_in_batches_and_an_array_on_a_pipe_is_read_too(tmp_path, monkeypatch):
    path = tmp_path / "s.jsonl"
    path.write_text("".join(json.dumps({"question": f"Q{i}"}) + "\n" for i in range(40)))
    with path.open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        feed = MicroBatches(open_stream("-"), Progress(), strict=False, log=print)
        assert [len(feed.next()), len(feed.next())] == [32, 8]
    array = io.BytesIO(b' [{"question": "a"}, {"question": "b"}]')
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=array, fileno=lambda: -1))
    assert [a.dialogue.question for a in open_stream("-").read(Cursor(), print)] == ["a", "b"]


class Rows(list):
    def skip(self, n: int) -> "Rows":
        return Rows(self[n:])


def test_a_hub_name_is_streamed_resumed_and_looked_up(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    asked = []

    def load_dataset(name, *, split, streaming):
        asked.append((name, split, streaming))
        if name == "owner/gated":
            raise RuntimeError("401: gated\nand more")
        return Rows(FORM_OF["empathetic"])

    monkeypatch.setattr(hub, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    said: list[str] = []
    whole = list(open_stream("owner/name:test", log=said.append).read(Cursor(), print))
    assert asked == [("owner/name", "test", True)]
    assert said[0].startswith("stream owner/name:test: read as empathetic (")
    assert len(whole) == 3
    for i, arrival in enumerate(whole):
        assert list(open_stream("owner/name:test").read(arrival.after, print)) == whole[i + 1 :]
        assert open_stream("owner/name:test").reference_at(arrival.here) == arrival.dialogue.reference
    with pytest.raises(
        StreamError, match="owner/gated: 401: gated; check name and split, be online, and log in"
    ) as error:
        list(open_stream("owner/gated").read(Cursor(), print))
    assert "\n" not in str(error.value)


def test_a_hub_name_without_the_extra_says_what_to_install_and_paths_are_not_names(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    with pytest.raises(StreamError, match=r"owner/name: .*pip install 'edgepers\[hub\]'"):
        open_stream("owner/name")
    (tmp_path / "data").mkdir()
    for name in ("missing/stream.jsonl", "data/stream", "./owner/name", "/owner/name", "stream", "a/b/c"):
        with pytest.raises(StreamError, match="no such file; give"):
            open_stream(name)


SCRAPS = st.sampled_from(
    [
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b'"',
        b"\\",
        b"\n",
        b"\r\n",
        b"\xff",
        b"\xef\xbb\xbf",
        b'{"question": "Q"}',
        b'{"messages": [',
        b"conv_id,",
        b"utterance",
    ]
)


@given(st.lists(SCRAPS | st.binary(max_size=6), max_size=20).map(b"".join))
def test_no_bytes_crash_a_stream_and_reading_on_is_reading_the_rest(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("s") / "s"
    path.write_bytes(data)
    try:
        whole = list(FileStream(path).read(Cursor(), lambda _: None))
    except StreamError as error:
        assert "\n" not in str(error)
        return
    for i, arrival in enumerate(whole):
        assert [a.dialogue for a in FileStream(path).read(arrival.after, lambda _: None)] == [
            a.dialogue for a in whole[i + 1 :]
        ]


def test_what_follows_an_array_is_never_read_and_an_array_may_grow(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('[{"question": "a"}] {"question": "b"}, ')
    complaints: list[str] = []
    (only,) = FileStream(path).read(Cursor(), complaints.append)
    assert list(FileStream(path).read(only.after, complaints.append)) == []
    assert len(complaints) == 2
    assert "brackets that do not match" in complaints[0]
    path.write_text('[{"question": "a"}, {"question": "c"}]')
    assert [a.dialogue.question for a in FileStream(path).read(only.after, print)] == ["c"]


def test_a_data_sets_own_code_is_never_run_and_nobody_is_asked(monkeypatch):
    told = []

    def load_dataset(name, *, split, streaming, trust_remote_code=None):
        told.append(trust_remote_code)
        return Rows(FORM_OF["empathetic"])

    monkeypatch.setattr(hub, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    assert list(open_stream("owner/name:test").read(Cursor(), print))
    assert told == [False]
