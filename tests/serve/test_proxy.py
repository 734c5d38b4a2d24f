"""Before an upstream: the client sees what the upstream does, and nothing else."""

import json
import socket
import time

import openai
import pytest

from tests.serve.running import running, until
from tests.serve.upstream import upstream

CHAT = {"model": "m", "messages": [{"role": "user", "content": "What is my dog called?"}]}
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def sse(delta, finish=None):
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return (
        b"data: "
        + json.dumps({"id": "up-1", "object": "chat.completion.chunk", "choices": [choice]}).encode()
        + b"\n\n"
    )


STREAM = [
    OK + b"Content-Type: text/event-stream\r\nX-Odd: a\r\nX-Odd: b\r\n" + CHUNKED,
    chunk(b": comment\n\n"),
    chunk(sse({"role": "assistant", "content": "", "odd_field": 1})),
    chunk(sse({"reasoning_content": "hm"})),
    chunk(sse({"content": "Mo"})),
    chunk(sse({"content": "on."})),
    chunk(sse({}, "stop")),
    chunk(b"data: [DONE]\n\n"),
    b"0\r\n\r\n",
]


@pytest.fixture
def above():
    with upstream() as made:
        yield made


@pytest.fixture
def server(owner, above, monkeypatch):
    monkeypatch.setattr("edgepers.serve.serving.PROXY_QUIET_SECONDS", 0.0)
    with running(owner, upstream=above.address) as made:
        yield made


def raw(address, request):
    """The bytes of a response, to its end."""
    host, _, port = address.rpartition("/")[2].partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        client.sendall(request)
        found = b""
        while part := client.recv(65536):
            found += part
        return found


def post(path, body, *more):
    data = json.dumps(body).encode() if not isinstance(body, bytes) else body
    head = (f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(data)}", "Connection: close", *more)
    return "\r\n".join(head).encode() + b"\r\n\r\n" + data


def parted(response):
    """Status line, headers but those of the connection, and body as its sender had it."""
    head, _, body = response.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    named = sorted((name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines))
    return status, [one for one in named if one[0] != b"connection"], body


def test_a_stream_passes_through_byte_for_byte_and_its_answer_is_learned(server, above, owner):
    above.parts = STREAM
    request = post("/v1/chat/completions", CHAT | {"stream": True, "odd": [1]}, "X-Session-Id: s")
    alone, through = raw(above.address, request), raw(server.address, request)
    assert parted(through) == parted(alone)
    sent = [heard.partition(b"\r\n\r\n") for heard in above.heard]
    assert sent[0][2] == sent[1][2] and b"X-Session-Id: s".lower() in sent[1][0].lower()
    until(lambda: len(owner.buffer) == 1)
    (kept,) = owner.buffer
    assert (kept.id, kept.question, kept.response) == ("up-1", "What is my dog called?", "Moon.")


def test_each_chunk_passes_on_as_it_comes(server, above):
    above.parts = [*STREAM[:4], 0.6, *STREAM[4:]]
    times = []
    with openai.OpenAI(base_url=f"{server.address}/v1", api_key="none") as client:
        for _ in client.chat.completions.create(**CHAT, stream=True):
            times.append(time.monotonic())
    assert times[-1] - times[1] > 0.4


def test_ollamas_lines_are_learned_too(server, above, owner):
    lines = [{"message": {"content": "Moon."}, "done": False}, {"message": {"content": ""}, "done": True}]
    above.parts = [OK + b"Content-Type: application/x-ndjson\r\n" + CHUNKED]
    above.parts += [chunk(json.dumps(line).encode() + b"\n") for line in lines] + [b"0\r\n\r\n"]
    with server.http() as http:
        got = http.post("/api/chat", json=CHAT)
        assert got.text.splitlines() == [json.dumps(line) for line in lines]
    until(lambda: [kept.response for kept in owner.buffer] == ["Moon."])


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "PUT", "PATCH"])
def test_any_path_and_method_pass_through(server, above, method):
    length = b"Content-Length: 2\r\n"
    above.parts = [b"HTTP/1.1 203 Odd\r\n" + length + b"ETag: x\r\n\r\n" + (b"" if method == "HEAD" else b"ok")]
    request = f"{method} /api/tags%2Fa/?q=%20b&c HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    status, headers, body = parted(raw(server.address, request))
    assert status.startswith(b"HTTP/1.1 203") and (b"etag", b"x") in headers
    assert body == (b"" if method == "HEAD" else b"ok") and (b"content-length", b"2") in headers
    assert above.heard[0].startswith(f"{method} /api/tags%2Fa/?q=%20b&c HTTP/1.1\r\n".encode())
    assert f"host: {above.address[7:]}".encode() in above.heard[0].lower()
    assert b"user-agent" not in above.heard[0].lower() and b"accept" not in above.heard[0].lower()


def test_a_body_in_chunks_passes_through(server, above):
    above.parts = [OK + b"Content-Length: 0\r\n\r\n"]
    with server.http() as http:
        assert http.post("/v1/embeddings", content=iter([b"one", b"two"])).status_code == 200
    assert b"one" in above.heard[0] and b"two" in above.heard[0]


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_failures_of_the_upstream_pass_through_and_are_not_learned(server, above, owner, status):
    body = b'{"error": "no"}'
    above.parts = [f"HTTP/1.1 {status} X\r\nRetry-After: 7\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body]
    with server.http() as http:
        got = http.post("/v1/chat/completions", json=CHAT)
        assert (got.status_code, got.content, got.headers["retry-after"]) == (status, body, "7")
    assert len(owner.buffer) == 0


def test_what_is_no_json_passes_through_and_is_not_learned(server, above, owner):
    above.parts = [OK + b"Content-Length: 6\r\n\r\n<html>"]
    with server.http() as http:
        assert http.post("/v1/chat/completions", json=CHAT).text == "<html>"
        assert http.post("/v1/chat/completions", content=b"\xff").text == "<html>"
    until(lambda: server.status()["outcomes"] == {"unreadable": 2})
    assert len(owner.buffer) == 0


@pytest.mark.parametrize("parts", [STREAM[:5], [OK + b"Content-Length: 100\r\n\r\n{"]], ids=["chunks", "length"])
def test_an_upstream_that_breaks_off_breaks_off_here_and_is_not_learned(server, above, owner, parts):
    above.parts = parts
    request = post("/v1/chat/completions", CHAT)
    assert parted(raw(server.address, request)) == parted(raw(above.address, request))
    until(lambda: sum(server.status()["outcomes"].values()) == 1)
    assert len(owner.buffer) == 0 and not server.lines[2:]  # what it is, and that nothing is published there


def test_an_upstream_that_is_gone_is_502(owner):
    with upstream() as above:
        address = above.address
    with running(owner, upstream=address) as server, server.http() as http:
        got = http.post("/v1/chat/completions", json=CHAT)
        assert got.status_code == 502 and got.json()["error"]["code"] == "upstream"
        assert http.get("/edgepers/healthz").status_code == 200


def test_a_client_that_leaves_a_stalling_upstream_leaves_it_too(server, above):
    above.parts = [*STREAM[:5], 1.0, *([b"1\r\nx\r\n", 0.05] * 400)]
    with server.http() as http, http.stream("POST", "/v1/chat/completions", json=CHAT) as got:
        next(got.iter_raw())
    until(lambda: above.left == 1, 20)
    assert server.status()["outcomes"] == {}


def test_its_own_paths_are_its_own(server, above):
    with server.http() as http:
        assert http.get("/edgepers/status").json()["seen"] == 0
        assert http.post("/v1/feedback", json={"id": "x", "rating": "up"}).status_code == 404
        assert "edgepers_requests_total" in http.get("/edgepers/metrics").text
    assert above.heard == []


def test_a_task_and_a_call_of_a_tool_pass_through_and_are_not_learned(server, above, owner):
    above.parts = STREAM
    with server.http(**{"x-edgepers-task": "title_generation"}) as http:
        http.post("/v1/chat/completions", json=CHAT)
    above.parts = [*STREAM[:2], chunk(sse({"tool_calls": [{"index": 0}]})), *STREAM[-3:]]
    with server.http() as http:
        http.post("/v1/chat/completions", json=CHAT)
    until(lambda: server.status()["outcomes"] == {"task": 1, "tool": 1})
    assert len(owner.buffer) == 0


def test_a_large_body_passes_through(server, above):
    above.parts = [OK + b"Content-Length: 0\r\n\r\n"]
    with server.http() as http:
        assert http.post("/api/blobs", content=b"x" * 5_000_000).status_code == 200
    assert len(above.heard[0]) > 5_000_000
