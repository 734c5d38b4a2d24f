"""Archives are opened in memory, within limits, and what is not read of them is said."""

import gzip
import io
import json
import zipfile

import pytest

from edgepers.errors import StreamError
from edgepers.streams import Cursor, FileStream, packed
from tests.streams.export_samples import CLAUDE
from tests.streams.samples import CHATGPT, MESSAGES
from tests.streams.test_exports import read


def archive(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in files.items():
            made.writestr(name, data)
    return path


def test_a_gz_is_its_file(tmp_path):
    plain, path = tmp_path / "s.jsonl", tmp_path / "s.jsonl.gz"
    plain.write_text(json.dumps(MESSAGES))
    path.write_bytes(gzip.compress(plain.read_bytes()))
    assert read(path)[0] == read(plain)[0] != []
    path.write_bytes(gzip.compress(plain.read_text().encode("utf-16")))
    assert read(path)[0] == read(plain)[0]


def test_a_zip_gives_every_file_of_a_known_form_and_names_the_others(tmp_path):
    files = {
        "conversations-000.json": json.dumps([CHATGPT, CHATGPT]),
        "conversations-001.json": json.dumps([CHATGPT]),
        "chat-1.json": json.dumps([{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]),
        "user.json": json.dumps({"id": "user", "email": "a@b.c"}),
        "chat.html": "<html>",
        "file-1.png": b"\x89PNG\0",
    }
    path = archive(tmp_path / "export.zip", files)
    sets, said, complaints = read(path)
    assert [s.response for s in sets] == ["A", *["Dough.", "A loaf."] * 3]
    assert said[0] == "not read of what is in it: chat.html, file-1.png, user.json"
    assert complaints == []
    whole = list(FileStream(path).read(Cursor(), print))
    for i, arrival in enumerate(whole):
        assert list(FileStream(path).read(arrival.here, print)) == whole[i:]
        assert list(FileStream(path).read(arrival.after, print)) == whole[i + 1 :]


def test_a_malformed_record_names_the_file_in_the_archive(tmp_path):
    path = archive(tmp_path / "e.zip", {"a/c.json": json.dumps([CLAUDE, {"chat_messages": 0}]), "b.json": "{}"})
    (complaint,) = read(path)[2]
    assert complaint.startswith(f"{path} (a/c.json): record 2: 'chat_messages'")


def bomb(size=300 << 20):
    packed_file = io.BytesIO()
    with gzip.GzipFile(fileobj=packed_file, mode="wb", compresslevel=9) as made:
        for _ in range(size >> 20):
            made.write(b"[" * (1 << 20))
    return packed_file.getvalue()


def test_what_unpacks_without_end_is_refused(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(bomb())
    with pytest.raises(StreamError, match=r"unpacks to over \d+ MiB, from \d+ bytes; unpack it yourself") as error:
        FileStream(path)
    assert "\n" not in str(error.value)
    many = archive(tmp_path / "many.zip", {f"{i}.json": "[" * (1 << 20) for i in range(20)})
    with pytest.raises(StreamError, match="unpacks to over"):
        FileStream(many)


def test_more_than_is_held_in_memory_is_refused_whatever_its_ratio(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "MAX_BYTES", 100)
    path = tmp_path / "s.gz"
    path.write_bytes(gzip.compress(bytes(range(32, 127)) * 2))
    with pytest.raises(StreamError, match="unpacks to over 0 MiB"):
        FileStream(path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x1f\x8b\x08\x00garbage", "cannot be unpacked"),
        (gzip.compress(b'{"question": "Q"}')[:-9], "cannot be unpacked"),
        (gzip.compress(gzip.compress(b"{}")), "packed twice"),
        (b"PK\x03\x04garbage", "cannot be unpacked"),
    ],
)
def test_a_damaged_archive_is_one_line(tmp_path, data, says):
    path = tmp_path / "s.zip"
    path.write_bytes(data)
    with pytest.raises(StreamError, match=says) as error:
        FileStream(path)
    assert "\n" not in str(error.value)


def test_an_archive_without_a_known_form_or_with_a_password_is_one_line(tmp_path):
    path = archive(tmp_path / "s.zip", {"a.html": "x", "b.json": '{"a": 1}', "c.json": '{"b": 1}'})
    with pytest.raises(StreamError, match=r"no file of a known form in it \(a.html, b.json, c.json\)"):
        FileStream(path)
    path = archive(tmp_path / "t.zip", {"conversations.json": "[]"})
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + at] |= 1
    path.write_bytes(data)
    with pytest.raises(StreamError, match="encrypted; unpack it with its password"):
        FileStream(path)
