"""The chat as its user meets it: through a real pseudo-terminal, a dumb one, and a pipe."""

import io
import json
import os
import subprocess
import sys

import pexpect
import pytest

from edgepers.chat.terminal import chat
from edgepers.cli import main
from edgepers.config import Settings
from edgepers.personalize import Personalizer
from tests.processes import heed_interrupts


@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
def test_through_a_pseudo_terminal(tmp_path, term):
    env = os.environ | {"TERM": term, "OMP_NUM_THREADS": "1", "COLUMNS": "100", "INPUTRC": "/dev/null"}
    args = ["-m", "edgepers", "chat", "--state", str(tmp_path / "state"), "--storage", "64KB"]
    child = pexpect.spawn(
        sys.executable, args, env=env, encoding="utf-8", timeout=120, dimensions=(30, 100), preexec_fn=heed_interrupts
    )
    child.expect("stays on this device")
    child.expect("you> ")
    child.sendline("What is the capital of France?")
    child.expect("just go on> ")
    child.sendline("e")
    child.expect("should have said> ")
    child.sendcontrol("u")  # line editing: what stands there is deleted
    child.sendline("Paris, Emily. 巴黎")
    child.expect("it will learn that")
    child.expect("you> ")
    child.sendline("/base")
    child.expect("base model")
    child.expect("you> ")
    child.sendline("/why")
    child.expect("kept: there was room")
    child.expect("you> ")
    child.sendline("/nonsense")
    child.expect("no command /nonsense; /help lists them")
    child.expect("you> ")
    child.sendintr()
    child.expect("/quit or Ctrl-D ends the chat")
    child.expect("you> ")
    child.sendline("Tell me more")
    child.expect("just go on> ")
    child.sendline("/status")  # any other line is taken for itself
    child.expect("judged by you +1")
    child.expect("you> ")
    child.sendeof()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert main(["annotate", "--state", str(tmp_path / "state"), "--requests", "--json"]) == 0


def test_piped_it_prints_answers_alone_and_json_gives_counts(tmp_path):
    lines = "Hello\n\n/good\n /not a command\n/edit\n/forget zebra\n/quit\nnever reached\n"
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    args = [sys.executable, "-m", "edgepers", "chat", "--state", str(tmp_path / "state"), "--json"]
    done = subprocess.run(args, input=lines, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert (found["exchanges"], found["seen"], found["judged"]) == (2, 2, 1)
    talk = done.stderr
    assert "\x1b" not in talk and "you>" not in talk
    assert "noted: fine as it was" in talk
    assert "give the correction: /edit what it should have said" in talk
    assert "edgepers: nothing kept holds 'zebra'; nothing was forgotten" in talk


def test_a_round_learns_from_what_was_judged(llm, tmp_path):
    settings = Settings.make({"generations": 0, "steps": 2, "rehearsal": 0, "storage": 64_000, "guard": False})
    out = io.StringIO()
    with Personalizer(tmp_path / "state", settings, llm=llm, source=lambda _: None) as owner:
        chat(
            owner,
            io.StringIO(
                "/round\nHi\n/good\nWho am I?\n/edit You are Emily.\nAnd my dog?\n/edit It is called"
                " Moon.\n/round\n/status\n"
            ),
            out,
        )
    text = out.getvalue()
    assert (
        "nothing learned: no annotated set to train on; correct a kept one, or say that it is fine (/edit, /good)"
        in text
    )
    assert "round 2: learned from" in text and "published" in text
