"""Children of a round that only act one: they read the job and write the records that a test gives them."""

import sys

STEP = {"loss": 2.0, "tokens_per_second": 9.0, "learning_rate": 0.1, "memory_bytes": None}
RESULT = {
    "steps": 2,
    "tokens": 9,
    "seconds": 1.0,
    "cut": 0,
    "first_loss": 3.0,
    "last_loss": 2.0,
    "paused_seconds": 0.0,
    "ended": None,
}
VERDICT = {
    "publish": False,
    "reason": "acted",
    "loss_before": None,
    "loss_after": None,
    "perplexity_rise": None,
    "scale": 1.0,
    "recalled": 0.5,
    "repeated": 0.0,
    "repeated_general": None,
    "repeated_others": None,
}
DONE = {"result": RESULT, "verdict": VERDICT}

_ACT = f"""
import json, os, signal, sys, time
job = json.loads(sys.stdin.buffer.readline())
STEP, DONE = {STEP!r}, {DONE!r}
def say(kind, **values):
    print(json.dumps({{"kind": kind, "now_bytes": 1000, "peak_bytes": 2000, **values}}), flush=True)
def step(number, of):
    say("step", step={{"step": number, "steps": of, **STEP}})
"""


def acting(body: str) -> tuple[str, ...]:
    """The command of a child that runs these lines after it has read its `job`."""
    return (sys.executable, "-c", _ACT + body)
