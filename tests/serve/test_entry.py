import socket
import ssl
import subprocess
import time

import httpx
import pytest

from edgepers.errors import UsageError
from tests.serve.running import running

TOKEN = "0123456789abcdef0123456789abcdef"
CHAT = {"model": "personal", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2}


@pytest.fixture
def token_file(tmp_path):
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    return str(file)


def test_with_a_token_nobody_enters_without_it(owner, token_file):
    with running(owner, token_file=token_file) as server:
        for given in ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", "Bearer \udcff\udcfe"):
            with server.http(**({"authorization": given.encode("utf-8", "surrogateescape")} if given else {})) as http:
                got = http.get("/v1/models")
                assert got.status_code == 401 and got.json()["error"]["code"] == "token", given
                assert got.headers["www-authenticate"] == "Bearer"
                assert http.get("/metrics").status_code == http.post("/edgepers/rounds").status_code == 401
                assert http.get("/healthz").status_code == 200
        with server.http(authorization=f"Bearer {TOKEN}") as http:
            assert http.get("/v1/models").status_code == 200


def test_the_page_is_shown_to_all_and_its_cookie_to_whoever_knows_the_token(owner, token_file):
    with running(owner, token_file=token_file) as server, server.http() as http:
        for path in ("/", "/edgepers/", "/edgepers/page/page.js", "/edgepers/page/page.css"):
            got = http.get(path)
            assert got.status_code == 200 and TOKEN not in got.text
            assert "script-src 'self'" in got.headers["content-security-policy"]
            assert "unsafe" not in got.headers["content-security-policy"]
        for path in ("/edgepers/page/../entry.py", "/edgepers/page/..%2fentry.py", "/edgepers/page/none.js"):
            assert http.get(path).status_code in (401, 404)
        assert http.post("/edgepers/enter", json={"token": TOKEN[:-1]}).status_code == 403
        assert http.get("/edgepers/sets").status_code == 401
        got = http.post("/edgepers/enter", json={"token": TOKEN})
        cookie = got.headers["set-cookie"]
        assert got.status_code == 204 and TOKEN not in cookie
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Secure" not in cookie
        assert http.get("/edgepers/sets").status_code == 200  # with the cookie
        assert (
            http.post("/edgepers/forget", json={"set": 0}, headers={"origin": "http://evil.example"}).status_code == 403
        )
    with running(owner, token_file=token_file) as server, server.http(cookie="edgepers=0; a=b") as http:
        assert http.get("/edgepers/sets").status_code == 401


def test_before_an_upstream_only_the_pages_own_paths_are_open(owner, token_file):
    with running(owner, token_file=token_file, upstream="http://127.0.0.1:9") as server, server.http() as http:
        assert http.get("/").status_code == http.get("/healthz").status_code == 401
        assert http.get("/edgepers/").status_code == http.get("/edgepers/healthz").status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8000", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8000", 200),
        ("192.168.1.7:8000", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("", 403),
        ("a:b:c", 403),
        ("[::1", 403),
    ],
)
def test_a_name_that_is_not_its_own_is_refused(server, host, status):
    with server.http(host=host) as http:
        assert http.get("/v1/models").status_code == status


def test_a_name_may_be_allowed(owner):
    with running(owner, allow_host="my-box") as server, server.http(host="My-Box:8000") as http:
        assert http.get("/v1/models").status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_a_page_of_another_server_changes_nothing(server, origin):
    with server.http(origin=origin) as http:
        got = http.post("/v1/chat/completions", json=CHAT)
        assert got.status_code == 403 and got.json()["error"]["code"] == "origin"
        read = http.get("/v1/models")
        assert read.status_code == 200 and "access-control-allow-origin" not in read.headers


def test_a_page_of_this_server_and_an_allowed_one_may(owner):
    with running(owner, allow_origin="http://my-page:3000") as server:
        with server.http(origin=server.address) as http:
            assert http.post("/v1/chat/completions", json=CHAT).status_code == 200
        with server.http(origin="http://my-page:3000") as http:
            got = http.post("/v1/chat/completions", json=CHAT)
            assert got.status_code == 200 and got.headers["access-control-allow-origin"] == "http://my-page:3000"
            asked = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
            assert http.options("/v1/chat/completions", headers=asked).status_code == 200


def test_browsers_are_told_to_do_nothing_with_it(server):
    with server.http() as http:
        headers = http.get("/v1/models").headers
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["x-content-type-options"] == "nosniff" and "server" not in headers


def test_a_body_too_large_is_413_whether_its_length_is_told_or_not(server):
    with server.http() as http:
        big = b"x" * 1_100_000
        assert http.post("/v1/chat/completions", content=big).status_code == 413
        assert http.post("/v1/chat/completions", content=iter([big])).status_code == 413
        assert http.post("/v1/feedback", content=b"{}", headers={"content-length": "2"}).status_code == 400
        assert http.get("/v1/models").status_code == 200


def answer_to(server, data, wait=10.0):
    host, _, port = server.address.rpartition("/")[2].partition(":")
    with socket.create_connection((host, int(port)), timeout=wait) as client:
        client.sendall(data)
        found = b""
        while part := client.recv(4096):
            found += part
        return found


def test_a_client_that_never_sends_its_head_is_cut_off(server_with_short_patience):
    began = time.monotonic()
    assert answer_to(server_with_short_patience, b"GET / HT") == b""
    assert answer_to(server_with_short_patience, b"") == b""
    assert time.monotonic() - began < 9


def test_a_client_that_never_sends_its_body_is_told_and_cut_off(server_with_short_patience):
    head = b"POST /v1/feedback HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{"
    assert answer_to(server_with_short_patience, head).startswith(b"HTTP/1.1 408")


@pytest.fixture
def server_with_short_patience(owner, monkeypatch):
    monkeypatch.setattr("edgepers.serve.limits.HEAD_SECONDS", 0.5)
    monkeypatch.setattr("edgepers.serve.limits.BODY_SECONDS", 0.5)
    with running(owner) as server:
        yield server


def test_over_tls_it_answers_and_the_cookie_is_for_tls_alone(owner, token_file, tmp_path):
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*made, "-keyout", key, "-out", cert], check=True, capture_output=True)
    with (
        running(owner, token_file=token_file, tls_cert=cert, tls_key=key) as server,
        httpx.Client(base_url=server.address, verify=ssl.create_default_context(cafile=cert), trust_env=False) as http,
    ):
        assert server.address.startswith("https://127.0.0.1:")
        got = http.post("/edgepers/enter", json={"token": TOKEN})
        assert got.status_code == 204 and "; Secure" in got.headers["set-cookie"]
        assert http.get("/v1/models").status_code == 200  # by the cookie
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    with (
        pytest.raises(UsageError, match=r"--tls-cert .*bad.pem --tls-key .*: .*give PEM files"),
        running(owner, tls_cert=str(bad), tls_key=key),
    ):
        pass
