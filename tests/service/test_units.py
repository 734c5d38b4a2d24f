"""The units that `edgepers systemd` prints, read by systemd itself where it is there."""

import configparser
import json
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from edgepers.cli import main
from edgepers.config import Settings, Size
from edgepers.errors import UsageError
from edgepers.serve.options import ServeOptions
from edgepers.service.rounds import round_units
from edgepers.service.server import server_units
from edgepers.service.units import LIBRARIES_BYTES, service_of, write_units
from edgepers.state.folder import State

STATES = ["/var/lib/edgepers/state", "/var/lib/edgepers/my state", '/srv/100%/$HOME "of" it', "/home/emily/state"]


def made(state, **given):
    return service_of(State(state), **({"user": "edgepers"} | given))


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("state", STATES)
def test_systemd_takes_them(tmp_path, state, encrypted):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    service = replace(made(state, encrypted=encrypted), user="root", groups=("video",))
    server = ServeOptions(host="0.0.0.0", token_file="/etc/edgepers 100%/token", allow_host='a"b$c', learn=False)
    every = round_units(service, "Sun,Wed 04:00") | server_units(service, server, {"model": "a b%c"})
    write_units(tmp_path, every)
    files = [str(path) for path in sorted(tmp_path.iterdir())]
    done = subprocess.run(["systemd-analyze", "verify", *files], capture_output=True, text=True, check=False)
    if "Failed to initialize manager" in done.stderr or "Failed to setup working directory" in done.stderr:
        pytest.skip("systemd-analyze does not work in this container")
    complaints = [line for line in done.stderr.splitlines() if "edgepers-" in line]
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
    found = keys(round_units(service, "02:30")["edgepers-round.service"])
    assert (found["User"], found["ProtectSystem"], found["PrivateNetwork"]) == ("emily", "strict", "yes")
    assert found["ReadWritePaths"] == str(tmp_path / "state")
    assert found["MemoryMax"] == str(service.memory_bytes)
    assert found["ExecStart"].endswith("--when-idle 30 --pause-when-busy")
    assert found["LoadCredential"] == "edgepers:/etc/credstore/edgepers"
    assert found["OOMPolicy"] == "continue"  # the round itself begins a child with less again
    below = keys(round_units(made("/var/lib/edgepers/state", encrypted=True), "02:30")["edgepers-round.service"])
    assert below["StateDirectory"] == "edgepers/state edgepers/keys" and "ReadWritePaths" not in below
    assert below["LoadCredentialEncrypted"] == "edgepers:/etc/credstore.encrypted/edgepers"
    at_home = round_units(replace(service, state=Path("/home/emily/state")), "02:30")["edgepers-round.service"]
    assert keys(at_home)["ProtectHome"] == "read-only"


def test_a_model_that_is_not_here_has_no_plan(tmp_path):
    State(tmp_path / "state").save_settings(Settings(model="owner/not-here"))
    service = made(tmp_path / "state")
    assert service.planned_bytes is None
    assert "MemoryHigh" not in round_units(service, "02:30")["edgepers-round.service"]


def test_a_server_reaches_no_further_than_it_must_and_is_given_its_secrets(tmp_path):
    service = made("/var/lib/edgepers/state", given={"memory": Size(2_000_000_000)})
    assert service.memory_bytes == 2_000_000_000 + LIBRARIES_BYTES
    (text,) = server_units(service, ServeOptions(upstream="http://127.0.0.1:11434"), {"model": "smollm2"}).values()
    found = keys(text)
    assert found["ExecStart"].endswith(
        "-m edgepers serve --state /var/lib/edgepers/state --model=smollm2 --upstream=http://127.0.0.1:11434"
    )
    assert (found["Type"], found["Restart"], found["WatchdogSec"]) == ("notify", "on-failure", "60")
    assert (found["IPAddressDeny"], found["IPAddressAllow"]) == ("any", "localhost")
    assert "WantedBy=multi-user.target" in text and "PrivateNetwork" not in text
    (text,) = server_units(
        service, ServeOptions(host="0.0.0.0", token_file="/etc/token", tls_cert="/c.pem", tls_key="/k.pem", learn=False)
    ).values()
    assert "IPAddressDeny" not in text
    assert [line for line in text.splitlines() if line.startswith("LoadCredential=")] == [
        "LoadCredential=edgepers:/etc/credstore/edgepers",
        "LoadCredential=token-file:/etc/token",
        "LoadCredential=tls-cert:/c.pem",
        "LoadCredential=tls-key:/k.pem",
    ]
    assert keys(text)["ExecStart"].endswith(
        "--host=0.0.0.0 --token-file=${CREDENTIALS_DIRECTORY}/token-file"
        " --tls-cert=${CREDENTIALS_DIRECTORY}/tls-cert --tls-key=${CREDENTIALS_DIRECTORY}/tls-key --no-learn"
    )
    (text,) = server_units(service, ServeOptions(upstream="http://10.0.0.2:11434")).values()
    assert "IPAddressDeny" not in text and "ReadWritePaths" not in text
    there = {"upstream": "http://127.0.0.1:8080", "upstream_model": "m", "upstream_lora": "/srv/llama cpp/a.gguf"}
    (text,) = server_units(service, ServeOptions(**there)).values()
    assert 'ReadWritePaths="/srv/llama cpp"' in text and '"--upstream-lora=/srv/llama cpp/a.gguf"' in text
    with pytest.raises(UsageError, match="--allow-host"):
        server_units(service, ServeOptions(allow_host="a\nExecStart=b"))


def test_what_a_server_is_told_is_what_its_command_reads(tmp_path):
    """The command of the unit, without systemd's escapes, is one that `edgepers serve` takes."""
    from edgepers.cli.parser import build_parser

    options = ServeOptions(
        port=8080, waiting=3, max_body=Size(2_000_000), allow_origin="http://a,http://b", learn=False
    )
    given = {"model": "smollm2", "memory": Size(3_500_000_000)}
    (text,) = server_units(made(tmp_path, given=given), options, given).values()
    words = shlex.split(keys(text)["ExecStart"])[3:]
    read = vars(build_parser().parse_args(words))
    assert ServeOptions(**{name: read[name] for name in ServeOptions.names() if name in read}) == options
    assert {name: read[name] for name in given} == given


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
        at = given.pop("at", "02:30")
        round_units(made("/var/lib/edgepers/state", **given), at)
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


def test_paths_are_the_system_s_and_what_systemd_would_misread_is_not_given_to_it(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    service = made("../state")
    assert service.state == tmp_path.parent / "state"
    options = ServeOptions(host="0.0.0.0", token_file="../my 100% token")
    (text,) = server_units(service, options, {"model": "model"}).values()
    assert f"--model={tmp_path}/model" in text
    assert f"\nLoadCredential=token-file:{tmp_path.parent}/my 100%% token\n" in text
    (text,) = server_units(made("/var/lib/edgepers/state"), ServeOptions(), {"model": "owner/not-here"}).values()
    assert "--model=owner/not-here" in text
    for odd in ("a:b", 'a"b', "a\\b"):  # a colon would be a link's name
        assert made(f"/var/lib/edgepers/{odd}").below_var is None


def test_the_command_prints_a_server(tmp_path, capsys):
    assert main(["systemd", "--state", str(tmp_path / "state"), "--serve"]) == 2
    assert "sudo install -d -o edgepers" in capsys.readouterr().err
    (tmp_path / "state").mkdir()
    told = ["systemd", "--state", str(tmp_path / "state"), "--serve", "--port", "8080", "--memory", "3.5GB", "--json"]
    assert main(told) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["units"]) == ["edgepers-serve.service"]
    assert found["memory_max_bytes"] == 3_500_000_000 + LIBRARIES_BYTES
    for extra, says in ((["--port", "80"], "--port is for a server"), (["--serve", "--at", "3:00"], "--at is for")):
        assert main(["systemd", "--state", str(tmp_path / "state"), *extra]) == 2
        assert says in capsys.readouterr().err
