r"""The policies compared on real streams, scored once with the packaged model and replayed in memory.

Run: python -m benchmarks.policies ../shared/data [--limit 1500] [--cache DIR] [--plot PNG]

The rows kept may take 2, 5 and 20 % of the bytes that the whole stream's rows take. The response is the data set's
reference: lengths and texts are the data's, not the model's. `aging` was tuned on DOLLY, MemoryBank and MedDialog
alone. Lines, table and picture: benchmarks/results/policies.*; the latter two are made from the lines alone.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.harness import RESULTS, describe
from benchmarks.replay import Replayed, replay
from benchmarks.report import wrapped
from benchmarks.scored import scored_stream
from edgepers.model.language_model import LanguageModel
from edgepers.report.overview import spearman
from edgepers.select.index import Index
from edgepers.select.policies import named_policies
from edgepers.select.policy import GRID
from edgepers.state.records import KeptSet

Row = dict[str, Any]
DATA = (
    "dolly",
    "memorybank_users",
    "meddialog",
    "alpaca",
    "empathetic_dialogues",
    "medical_questiondoctors",
    "openorca",
)
TUNED_ON = DATA[:3]
SHARES = (0.02, 0.05, 0.2)
SCORES = ("entropy", "domain_score", "dissimilarity", "loss")
_SPANS = 8  # parts of a stream by which admissions are counted


def compare(name: str, stream: Sequence[KeptSet], share: float, seed: int) -> Iterator[Row]:
    """One row a policy."""
    total = sum(one.stored_bytes for one in stream)
    runs = {policy: replay(stream, share * total, rule, seed) for policy, rule in named_policies().items()}
    whole = Index(len(stream[0].embedding), stream).kept()
    ranks = {score: percentiles(getattr(whole, score)) for score in SCORES}
    for policy, run in runs.items():
        rows = np.array(run.kept)
        quarter = len(stream) // 4
        row = {
            "data": name,
            "tuned_on": name in TUNED_ON,
            "sets": len(stream),
            "stream_bytes": total,
            "share": share,
            "policy": policy,
            "seed": seed,
            "kept": len(rows),
            "kept_bytes": int(whole.stored_bytes[rows].sum()),
            "admitted": int(run.admitted.sum()),
            "admitted_by_eighth": [int(part.sum()) for part in np.array_split(run.admitted, _SPANS)],
            "last_quarter_of_even": float(run.admitted[-quarter:].sum() / (run.admitted.sum() * quarter / len(stream))),
            "mean_age_of_stream": float((len(stream) - 1 - rows).mean() / len(stream)),
            "rank": {score: float(values[rows].mean()) for score, values in ranks.items()},
            "length_of_stream": float(whole.characters[rows].mean() / whole.characters.mean()),
            "length_correlation_stream": correlations(stream, whole.characters, run, None),
            "length_correlation_kept": correlations(stream, whole.characters, run, rows),
            "overlap": {other: jaccard(run.kept, their.kept) for other, their in runs.items() if other != policy},
        }
        yield row | domains([stream[position].domain for position in run.kept], [one.domain for one in stream])


def percentiles(values: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Share of the stream that each value beats, ties counted half."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    shares: npt.NDArray[np.float64] = ((np.cumsum(counts) - counts / 2) / len(values))[places]
    return shares


def correlations(
    stream: Sequence[KeptSet], characters: npt.NDArray[np.int64], run: Replayed, rows: npt.NDArray[np.int64] | None
) -> dict[str, float | None]:
    """Spearman's, of every score with the length, over all sets or over those kept.

    IDD is that on arrival, IDD in the end where kept.
    """
    chosen = np.arange(len(stream)) if rows is None else rows
    some = [stream[position] for position in chosen]
    idd = run.dissimilarity if rows is None else Index(len(stream[0].embedding), some).kept().dissimilarity / GRID
    columns = {name: [getattr(one, name) for one in some] for name in ("entropy", "domain_score", "loss")} | {
        "dissimilarity": idd
    }
    return {name: spearman(columns[name], characters[chosen]) for name in SCORES}


def jaccard(one: Sequence[int], two: Sequence[int]) -> float:
    """Shared positions among all positions of either."""
    return len({*one} & {*two}) / max(len({*one} | {*two}), 1)


def domains(kept: Sequence[str], stream: Sequence[str]) -> Row:
    """How many domains are kept, and how far their shares are from the stream's (total variation, 0 to 1)."""
    ours, theirs = Counter(kept), Counter(stream)
    distance = sum(abs(ours[name] / len(kept) - count / len(stream)) for name, count in theirs.items()) / 2
    return {
        "domains": len(ours),
        "stream_domains": len(theirs),
        "domain_distance": distance,
        "kept_domains": dict(ours.most_common(5)),
    }


def table(source: Path) -> str:
    """Markdown: policies by share, averaged over data sets; correlations with length; overlap."""
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    policies = list(dict.fromkeys(row["policy"] for row in rows))
    data = list(dict.fromkeys(row["data"] for row in rows))

    def mean(of: Any, **fixed: Any) -> float:
        return float(np.mean([of(row) for row in rows if all(row[key] == value for key, value in fixed.items())]))

    counts = ", ".join(f"{name} {next(row['sets'] for row in rows if row['data'] == name)}" for name in data)
    lines = [
        "# Policies compared",
        "",
        f"Made by `{rows[-1]['command']}` from [policies.jsonl](policies.jsonl). Sets: {counts}.",
        "",
        "Means over data sets; the response is the data set's reference. Ranks are percentiles in the stream: a"
        " uniform sample has 0.5.",
        f"`aging` was tuned on {', '.join(name for name in data if name in TUNED_ON)}.",
        "",
        "| rows' share of bytes | policy | kept | admitted | last quarter / even | mean age / stream | EOE rank | DSS"
        " rank | IDD rank "
        "| loss rank | length / stream | domains | domains' distance |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for share in SHARES:
        for policy in policies:
            of = {"share": share, "policy": policy}
            cells = [f"{mean(lambda r, k=k: r[k], **of):.0f}" for k in ("kept", "admitted")]
            cells += [f"{mean(lambda r, k=k: r[k], **of):.2f}" for k in ("last_quarter_of_even", "mean_age_of_stream")]
            cells += [f"{mean(lambda r, k=k: r['rank'][k], **of):.2f}" for k in SCORES]
            cells += [f"{mean(lambda r: r['length_of_stream'], **of):.2f}", f"{mean(lambda r: r['domains'], **of):.1f}"]
            cells.append(f"{mean(lambda r: r['domain_distance'], **of):.2f}")
            lines.append(f"| {share:.0%} | {policy} | {' | '.join(cells)} |")
    lines += [
        "",
        "Spearman's correlation of each score with the length in characters (IDD: on arrival, under `quality` at 5 %):"
        " stream, kept by",
        "`quality`.",
        "",
    ]
    lines += ["| data set | EOE | DSS | IDD | loss |", "| --- | ---: | ---: | ---: | ---: |"]
    for row in rows:
        if row["policy"] == "quality" and row["share"] == 0.05:
            pairs = [(row["length_correlation_stream"][k], row["length_correlation_kept"][k]) for k in SCORES]
            lines.append(f"| {row['data']} | " + " | ".join(f"{shown(a)}, {shown(b)}" for a, b in pairs) + " |")
    lines += [
        "",
        "Overlap at 5 % (Jaccard of positions kept, mean over data sets):",
        "",
        "| | " + " | ".join(policies) + " |",
    ]
    lines.append("| --- |" + " ---: |" * len(policies))
    for policy in policies:
        overlap = [mean(lambda r, o=other: r["overlap"].get(o, 1), share=0.05, policy=policy) for other in policies]
        lines.append(f"| {policy} | " + " | ".join(f"{value:.2f}" for value in overlap) + " |")
    return "\n".join(lines) + "\n"


def shown(value: float | None) -> str:
    """A correlation, or a dash where there is none."""
    return "-" if value is None else f"{value:+.2f}"


def main() -> None:
    """Score, replay, and write lines, table and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the data sets lie, <name>.jsonl with question and reference")
    parser.add_argument("--limit", type=int, default=1500, help="sets of each, from the first")
    parser.add_argument("--cache", type=Path, help="keep the scored streams here; they hold the data's texts")
    parser.add_argument("--out", type=Path, default=RESULTS / "policies.jsonl", help="written anew")
    parser.add_argument("--plot", type=Path, help="picture of all lines")
    args = parser.parse_args()
    torch.set_num_threads(1)
    machine, command = describe(), f"python -m benchmarks.policies {args.folder} --limit {args.limit}"
    llm: list[LanguageModel] = []
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("w", encoding="utf-8") as lines:
        for name in DATA:
            file = args.folder / f"{name}.jsonl"
            if not file.is_file():
                print(f"{file} is not there: {name} is LEFT OUT", file=sys.stderr)
                continue
            stream = scored_stream(file, args.limit, args.cache, llm)
            for share in SHARES:
                for row in compare(name, stream, share, seed=0):
                    lines.write(json.dumps(row | {"command": command, **machine}) + "\n")
                lines.flush()
                print(f"{name}, {share:.0%} of {len(stream)} sets: done", flush=True)
    args.out.with_suffix(".md").write_text(wrapped(table(args.out)), encoding="utf-8")
    if args.plot:
        from benchmarks.plot_policies import plot

        plot(args.out, args.plot)


if __name__ == "__main__":
    main()
