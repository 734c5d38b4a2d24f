r"""A server with `edgepers serve --upstream` before it against the same server alone: first token, tokens a second.

Run: llama-server -m BASE.gguf --port 8080 &
     edgepers serve --state my-state --model BASE.gguf --upstream http://127.0.0.1:8080 &
     python -m benchmarks.bench_proxy --alone http://127.0.0.1:8080 --through http://127.0.0.1:8000 --model NAME

Streamed answers of exactly `--tokens` tokens to questions that are all different, one after the other: each is asked of
both in turn, which one first changing each time, so that what the machine does besides meets both. The server that
learns does so, as ever, once nobody has asked for a while, and so between the runs of a list.
"""

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.harness import RESULTS, describe
from benchmarks.lines import append_line

OUT = RESULTS / "proxy.jsonl"


@dataclass(frozen=True, slots=True)
class Timed:
    """One streamed answer: seconds to its first piece, and pieces a second after that."""

    first: float
    rate: float


def timed(client: httpx.Client, model: str, number: int, tokens: int) -> Timed:
    """Ask one question."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": f"Count to {number + 1000} by {number % 7 + 2}."}],
        "stream": True,
        "temperature": 0,
        "max_tokens": tokens,
        "ignore_eos": True,  # llama.cpp's: answers are equally long
        "cache_prompt": False,
    }
    began = time.perf_counter()
    times: list[float] = []
    with client.stream("POST", "/v1/chat/completions", json=body) as response:
        response.raise_for_status()
        for line in response.iter_lines():
            choices = json.loads(line[6:])["choices"] if line.startswith("data: {") else []
            if choices and choices[0]["delta"].get("content"):
                times.append(time.perf_counter())
    return Timed(times[0] - began, (len(times) - 1) / (times[-1] - times[0]))


def spread(values: list[float]) -> list[float]:
    """The quartiles."""
    return [round(value, 4) for value in statistics.quantiles(values, n=4)]


def compared(alone: list[Timed], through: list[Timed]) -> dict[str, object]:
    """Medians, and the quartiles of the paired ratios: through it, of alone."""
    pairs = list(zip(alone, through, strict=True))
    return {
        "first_ms_alone": round(1000 * statistics.median(one.first for one in alone), 2),
        "first_ms_through": round(1000 * statistics.median(one.first for one in through), 2),
        "first_ratio": spread([there.first / here.first for here, there in pairs]),
        "tokens_per_second_alone": round(statistics.median(one.rate for one in alone), 2),
        "tokens_per_second_through": round(statistics.median(one.rate for one in through), 2),
        "rate_ratio": spread([there.rate / here.rate for here, there in pairs]),
    }


def main() -> None:
    """Time, print and keep a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alone", required=True, metavar="URL")
    parser.add_argument("--through", required=True, metavar="URL")
    parser.add_argument("--model", required=True, metavar="NAME")
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    found: dict[str, list[Timed]] = {"alone": [], "through": []}
    with (
        httpx.Client(base_url=args.alone, timeout=120, trust_env=False) as alone,
        httpx.Client(base_url=args.through, timeout=120, trust_env=False) as through,
    ):
        both = {"alone": alone, "through": through}
        for client in both.values():
            timed(client, args.model, -1, args.tokens)
        for number in range(args.requests):
            for name in sorted(both, reverse=number % 2 == 1):
                found[name].append(timed(both[name], args.model, number, args.tokens))
    row = {"name": "proxy", "model": args.model, "requests": args.requests, "tokens": args.tokens, **compared(**found)}
    print(json.dumps(row, indent=1))
    append_line(args.out, row | describe())


if __name__ == "__main__":
    main()
