"""The units that `edgepers systemd` prints, read by systemd itself where it is there."""

import configparser
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from edgepers.cli import main
from edgepers.config import Settings, Size
from edgepers.errors import UsageError
from edgepers.rounds.systemd import LIBRARIES_BYTES, service_of, units, write_units
from edgepers.state.folder import State

STATES = ["/var/lib/edgepers/state", "/var/lib/edgepers/my state", '/srv/100%/$HOME "of" it', "/home/emily/state"]


def made(state, **given):
    return service_of(State(state), **({"at": "02:30", "user": "edgepers", "encrypted": False} | given))


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("state", STATES)
def test_systemd_takes_them(tmp_path, state, encrypted):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    service = replace(made(state, at="Sun,Wed 04:00", encrypted=encrypted), user="root", groups=("video",))
    write_units(tmp_path, units(service))
    files = [str(path) for path in sorted(tmp_path.iterdir())]
    done = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False)
    if "Failed to initialize manager" in done.stderr or "Failed to setup working directory" in done.stderr:
        pytest.skip("systemd-analyze does not work in this container")
    complaints = [line for line in done.stderr.splitlines() if "edgepers-round" in line]
    assert (done.returncode, complaints) == (0, [])


def keys(text):
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read_string(text)
    return dict(parser["Service"])


def test_the_service_is_what_was_promised(tmp_path):
    state = State(tmp_path / "state")
    state.save_settings(Settings(memory=Size(2_000_000_000)))
    service = made(tmp_path / "state", user="emily")
    assert service.memory_bytes == 2_000_000_000 + LIBRARIES_BYTES
    assert LIBRARIES_BYTES < service.planned_bytes < service.memory_bytes
    found = keys(units(service)["edgepers-round.service"])
    assert (found["User"], found["ProtectSystem"], found["PrivateNetwork"]) == ("emily", "strict", "yes")
    assert found["ReadWritePaths"] == str(tmp_path / "state")
    assert found["MemoryMax"] == str(service.memory_bytes)
    assert found["ExecStart"].endswith("--when-idle 30 --pause-when-busy")
    assert found["LoadCredential"] == "edgepers:/etc/credstore/edgepers"
    below = keys(units(made("/var/lib/edgepers/state", encrypted=True))["edgepers-round.service"])
    assert below["StateDirectory"] == "edgepers/state edgepers/keys" and "ReadWritePaths" not in below
    assert below["LoadCredentialEncrypted"] == "edgepers:/etc/credstore.encrypted/edgepers"
    at_home = units(replace(service, state=Path("/home/emily/state")))["edgepers-round.service"]
    assert keys(at_home)["ProtectHome"] == "read-only"


def test_a_model_that_is_not_here_has_no_plan(tmp_path):
    State(tmp_path / "state").save_settings(Settings(model="owner/not-here"))
    service = made(tmp_path / "state")
    assert service.planned_bytes is None
    assert "MemoryHigh" not in units(service)["edgepers-round.service"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"at": "02:30\nExecStart=x"}, "is no time"),
        ({"at": " "}, "is no time"),
        ({"user": "a b"}, "no name of a system user"),
    ],
)
def test_what_no_unit_can_hold_is_refused(given, says):
    with pytest.raises(UsageError, match=says):
        made("/var/lib/edgepers/state", **given)
    with pytest.raises(UsageError, match="has a character"):
        made("/var/lib/a\nb")


def test_the_command_prints_and_writes_them(tmp_path, capsys):
    assert main(["systemd", "--state", str(tmp_path / "state"), "--out", str(tmp_path / "units"), "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)["units"]
    assert (
        sorted(found)
        == ["edgepers-round.service", "edgepers-round.timer"]
        == sorted(p.name for p in (tmp_path / "units").iterdir())
    )
    assert "written to" in err
    assert main(["systemd", "--state", str(tmp_path / "state"), "--at", "Sun 04:00"]) == 0
    assert "OnCalendar=Sun 04:00" in capsys.readouterr().out
    assert not (tmp_path / "state").exists()
