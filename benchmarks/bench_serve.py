r"""First token of a server that trains against the same server at rest.

Run: edgepers serve --state my-state --model smollm2 &
     python -m benchmarks.bench_serve --address http://127.0.0.1:8000

It asks with nothing else to do, corrects two of these exchanges, starts a round and asks as many questions again while
that trains; the round goes on when it has its figures, and counts.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import httpx

from benchmarks.bench_proxy import Timed, spread, timed
from benchmarks.harness import RESULTS, describe
from benchmarks.lines import append_line

OUT = RESULTS / "serve.jsonl"
BETWEEN_SECONDS = 2.0  # between two questions, in which training goes on


def main() -> None:
    """Time, print and keep a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", required=True, metavar="URL")
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    with httpx.Client(base_url=args.address, timeout=300, trust_env=False) as client:
        idle = [timed(client, "personal", number, args.tokens) for number in range(args.requests)]
        teach(client)
        client.post("/edgepers/rounds").raise_for_status()
        while client.get("/edgepers/status").json()["round_stage"] != "train":
            time.sleep(0.2)
        busy: list[Timed] = []
        for number in range(args.requests):
            time.sleep(BETWEEN_SECONDS)
            if client.get("/edgepers/status").json()["round_stage"] != "train":
                break
            busy.append(timed(client, "personal", args.requests + number, args.tokens))
        status = client.get("/edgepers/status").json()
    row = {
        "name": "serve",
        "model": status["model"] or "packaged",
        "idle": len(idle),
        "training": len(busy),
        "first_ms_idle": spread([1000 * one.first for one in idle]),
        "first_ms_training": spread([1000 * one.first for one in busy]),
        "first_ratio": round(statistics.median(b.first for b in busy) / statistics.median(i.first for i in idle), 3),
        "worst_ratio": round(max(b.first for b in busy) / statistics.median(i.first for i in idle), 3),
    }
    print(json.dumps(row, indent=1))
    append_line(args.out, row | describe())


def teach(client: httpx.Client) -> None:
    """Have two facts said and corrected, so that a round has something to learn."""
    for what, answer in (("dog", "Your dog is called Moon."), ("boat", "Your boat is called Sildrand.")):
        asked = [{"role": "user", "content": f"What is my {what} called?"}]
        body = {"model": "personal", "messages": asked, "max_tokens": 200}
        name = client.post("/v1/chat/completions", json=body).raise_for_status().json()["id"]
        client.post("/v1/feedback", json={"id": name, "answer": answer})


if __name__ == "__main__":
    main()
