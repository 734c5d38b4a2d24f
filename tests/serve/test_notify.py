"""What systemd hears of a server: that it is ready, that it looks at its clients, that it ends."""

import socket

import pytest

from edgepers.serve.notify import notify, watchdog_seconds
from tests.serve.running import running


@pytest.fixture(params=["file", "abstract"])
def heard(request, tmp_path, monkeypatch):
    """A socket as systemd's; the next state that comes to it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        name = f"@{tmp_path.name}-edgepers" if request.param == "abstract" else str(tmp_path / "s")
        listening.bind(name.replace("@", "\0"))
        listening.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield lambda: listening.recv(100).decode()


def test_systemd_hears_how_a_server_is(heard, owner, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "300000")
    with running(owner):
        assert [heard() for _ in range(4)] == ["READY=1", *["WATCHDOG=1"] * 3]
    said = heard()
    while said == "WATCHDOG=1":
        said = heard()
    assert said == "STOPPING=1"


@pytest.mark.parametrize(
    ("microseconds", "pid", "seconds"),
    [("", "", None), ("0", "", None), ("x", "", None), ("60000000", "1", None), ("60000000", "", 60.0)],
)
def test_a_watchdog_of_another_process_is_none_of_ours(monkeypatch, microseconds, pid, seconds):
    monkeypatch.setenv("WATCHDOG_USEC", microseconds)
    monkeypatch.setenv("WATCHDOG_PID", pid)
    assert watchdog_seconds() == seconds


def test_without_systemd_nothing_is_said(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/not/there")
    notify("READY=1")
