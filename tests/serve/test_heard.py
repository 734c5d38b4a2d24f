import gzip
import json

import pytest

from edgepers.serve.heard import Exchanged, heard_in

ASKED = {"model": "m", "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]}


def exchanged(answered, path="/v1/chat/completions", asked=ASKED, encoding="", whole=True):
    return Exchanged(
        path=path,
        asked_headers={"x-session-id": "s"},
        asked=json.dumps(asked).encode(),
        answered_headers={"content-encoding": encoding} if encoding else {},
        answered=answered,
        whole=whole,
    )


def sse(*records):
    return b": comment\n\n" + b"".join(b"data: " + json.dumps(r).encode() + b"\n\n" for r in records)


def delta(finish=None, **values):
    return {"id": "c-1", "choices": [{"index": 0, "delta": values, "finish_reason": finish}]}


def test_a_stream_of_openais():
    answered = sse(
        delta(role="assistant", content=""),
        delta(reasoning_content="The user greets."),
        delta(content="Good "),
        delta(content="day"),
        delta("stop"),
        {"id": "c-1", "choices": [], "usage": {}},
    )
    heard = heard_in(exchanged(answered + b"data: [DONE]\n\n"))
    assert (heard.answer, heard.name, heard.whole, heard.calls_tools) == ("Good day", "c-1", True, False)
    assert [message["role"] for message in heard.messages] == ["system", "user"]
    assert heard.headers == {"x-session-id": "s"}
    assert not heard_in(exchanged(sse(delta(content="Good ")))).whole
    assert not heard_in(exchanged(sse(delta(content="Good "), delta("length")))).whole
    assert heard_in(exchanged(gzip.compress(answered), encoding="gzip")).answer == "Good day"
    assert heard_in(exchanged(answered, encoding="br")) is None


def test_a_whole_answer_of_openais_and_one_that_calls_a_tool():
    whole = {"id": "c-2", "choices": [{"message": {"content": "Good day"}, "finish_reason": "stop"}]}
    assert heard_in(exchanged(json.dumps(whole).encode())).answer == "Good day"
    calls = {"choices": [{"message": {"content": None, "tool_calls": [{}]}, "finish_reason": "tool_calls"}]}
    assert heard_in(exchanged(json.dumps(calls).encode())).calls_tools
    assert heard_in(exchanged(b'{"error": {"message": "no"}}')) is None


def test_ollamas_lines():
    lines = [
        {"model": "m", "message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": False},
        {"model": "m", "message": {"role": "assistant", "content": "Good "}, "done": False},
        {"model": "m", "message": {"role": "assistant", "content": "day"}, "done": False},
        {"model": "m", "message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"},
    ]
    body = "\n".join(map(json.dumps, lines)).encode()
    heard = heard_in(exchanged(body, "/api/chat"))
    assert (heard.answer, heard.whole) == ("Good day", True) and heard.name.startswith("chat-")
    cut = heard_in(exchanged("\n".join(map(json.dumps, lines[:-1])).encode(), "/api/chat"))
    assert not cut.whole
    assert heard_in(exchanged(b'{"error": "no such model"}', "/api/chat")) is None


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ([], b"{}"),
        ({"messages": "no"}, b"{}"),
        ({"messages": [{"role": "user", "content": 3}]}, b"{}"),
        ({"messages": []}, b"{}"),
        (ASKED, b"<html>"),
        (ASKED, b"data: {\n\n"),
        (ASKED, b"[" * 100_000),
    ],
)
def test_what_cannot_be_read_is_nothing(asked, answered):
    heard = heard_in(exchanged(answered, asked=asked))
    assert heard is None or not heard.whole
