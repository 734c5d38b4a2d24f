"""Text in other encodings is read where it says so itself, or where the owner does."""

import io
import json
import sys
import types

import pytest

from edgepers.errors import StreamError
from edgepers.streams import Cursor, DialogueSet, FileStream, open_stream
from tests.streams.test_exports import read

ROW = {"question": "Wie heißt er? 😀", "response": "Jürgen."}
SETS = [DialogueSet(ROW["question"], ROW["response"])] * 3
TEXT = "\n".join([json.dumps(ROW, ensure_ascii=False)] * 3)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_unicode_of_any_width_is_told_from_its_first_bytes(tmp_path, encoding, ends):
    path = tmp_path / "s.jsonl"
    path.write_bytes(TEXT.replace("\n", ends).encode(encoding))
    assert read(path) == (SETS, [], [])
    whole = list(FileStream(path).read(Cursor(), print))
    assert list(FileStream(path).read(whole[0].after, print)) == whole[1:]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "ISO-8859-1", "mac_roman"])
def test_other_encodings_are_read_by_name_and_suggested_in_one_line_where_they_are_not_named(tmp_path, encoding):
    path = tmp_path / "s.jsonl"
    path.write_bytes(TEXT.replace(" 😀", "").encode(encoding))
    sets, _, complaints = read(path, encoding=encoding)
    assert [s.response for s in sets] == ["Jürgen."] * 3
    assert complaints == []
    sets, _, complaints = read(path)
    assert sets == []
    assert "is not UTF-8; where the file is in another encoding, give --encoding (latin-1" in complaints[0]


def test_an_encoding_that_is_unknown_or_wrong_is_one_line(tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_text(TEXT, encoding="utf-8")
    for encoding, says in (
        ("klingon", "--encoding 'klingon' is unknown"),
        ("base64", "--encoding 'base64' is unknown"),
        ("ascii", "not ascii at byte 22; give another --encoding"),
    ):
        with pytest.raises(StreamError, match=says) as error:
            FileStream(path, encoding=encoding)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(("encoding", "given"), [("utf-16", None), ("utf-16-le", None), ("cp1252", "cp1252")])
def test_a_pipe_is_decoded_too(monkeypatch, encoding, given):
    data = io.BytesIO(TEXT.replace(" 😀", "").encode(encoding))
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=data, fileno=lambda: -1))
    found = open_stream("-", encoding=given).read(Cursor(), print)
    assert [arrival.dialogue.response for arrival in found] == ["Jürgen."] * 3
