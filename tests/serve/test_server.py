"""The command, as a service runs it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from edgepers.cli import main


def test_it_serves_until_a_signal_ends_it_which_is_no_failure(tmp_path):
    """And a second one may then have the state, with what was said to the first."""
    command = [sys.executable, "-m", "edgepers", "serve", "--state", str(tmp_path / "state"), "--port", "0", "--json"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        line = child.stderr.readline()
        address = re.search(r"http://127.0.0.1:\d+", line)[0]
        body = {"model": "personal", "messages": [{"role": "user", "content": "What is my dog called?"}]}
        with httpx.Client(timeout=300, trust_env=False) as http:
            assert http.post(f"{address}/v1/chat/completions", json=body).status_code == 200
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate()
    assert child.returncode == 0, err
    done = json.loads(out)
    assert (done["answers"], done["requests"], done["exchanges"]) == (1, 1, {"kept": 1})
    assert "dog" not in line + err
    assert main(["status", "--state", str(tmp_path / "state")]) == 0


def test_an_address_that_is_taken_is_one_line(tmp_path, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", "--state", str(tmp_path / "state"), "--port", str(port)]) == 2
    assert f"--port {port}: Address already in use; give another --port" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--host", "0.0.0.0"], "give --token-file FILE"),
        (["--token-file", "nowhere"], "--token-file nowhere: No such file"),
        (["--upstream", "localhost"], "is no server's address"),
    ],
)
def test_what_cannot_be_right_is_said_before_a_model_is_loaded(tmp_path, capsys, options, says):
    assert main(["serve", "--state", str(tmp_path / "state"), *options]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


def test_without_its_extra_it_says_what_to_install_and_all_else_works(tmp_path):
    code = "import sys; sys.modules['fastapi'] = sys.modules['uvicorn'] = sys.modules['httpx'] = None\n"
    code += "from edgepers.cli import main; main(['models']); sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "serve", "--state", str(tmp_path / "state")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "pip install 'edgepers[serve]'" in done.stderr and "GB" in done.stdout
