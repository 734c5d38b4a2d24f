r"""Which rows of a data set the ROUGE-1 study streams, tunes on and tests on: PROTOCOL.md, point 2.

Run: python -m studies.rouge1.splits ../shared/data [--check]

Writes studies/rouge1/splits.json: row numbers (from 0, as in the file) of each part, and hashes by which anybody can
tell that theirs are the same. `--check` makes them again and compares.
"""

import argparse
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.splits import dialogue_sets
from edgepers.hashing import hash_text

__all__ = ["CONFIRMATORY", "EXPLORATORY", "FILE", "OWNERS", "near_duplicates", "parts_of", "rows_of"]

CONFIRMATORY = ("alpaca", "dolly", "empathetic_dialogues", "medical_questiondoctors")
EXPLORATORY = ("meddialog", "openorca")
OWNERS = "memorybank_users"
FILE = Path(__file__).with_name("splits.json")

TEST, DEVELOPMENT, STREAM = 400, 200, 2000  # rows, at most
TEST_SHARE, DEVELOPMENT_SHARE = 0.32, 0.16  # of a data set that is too small for these
SIMILAR, GRAM = 0.7, 5
LAST_DAYS = 0.3  # of each owner's days are test
# development questions of benchmarks/rounds.py, on which recipes were compared before this study: they are no test here
_SEEN = 100

Row = dict[str, Any]


def _grams(text: str) -> frozenset[tuple[str, ...]]:
    words = "".join(c.lower() if c.isalnum() else " " for c in text).split()
    return frozenset(tuple(words[i : i + GRAM]) for i in range(max(len(words) - GRAM + 1, 1)))


def near_duplicates(questions: Sequence[str]) -> list[int]:
    """For each question the first one that it nearly repeats, directly or by others between.

    Jaccard of word 5-grams >= 0.7. [n] -> [n].
    """
    grams = [_grams(question) for question in questions]
    first = list(range(len(questions)))

    def root(i: int) -> int:
        while first[i] != i:
            first[i] = i = first[first[i]]
        return i

    where: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for i, mine in enumerate(grams):
        shared: dict[int, int] = defaultdict(int)
        for gram in mine:
            for other in where[gram]:
                shared[other] += 1
            where[gram].append(i)
        for other, both in shared.items():
            if both >= SIMILAR * (len(mine) + len(grams[other]) - both):
                a, b = sorted((root(i), root(other)))
                first[b] = a
    return [root(i) for i in range(len(questions))]


def _group(row: Row) -> str:
    return str(row.get("dialogue_id", row["id"]))


def parts_of(name: str, rows: Sequence[Row], seen: frozenset[str] = frozenset()) -> dict[str, list[int]]:
    """Row numbers of "stream", "development" and "test", ascending.

    Near-duplicates of an earlier row are in none of them.

    Rows of one dialogue are in one part; which, is a hash of the data set's name and the dialogue's. Of an owner's
    diary the last days are test. What was `seen` before the study is in no test.
    """
    firsts = near_duplicates([row["question"] for row in rows])
    own = [i for i, first in enumerate(firsts) if i == first]
    if name == OWNERS:
        return _by_day(rows, own, seen)
    groups: dict[str, list[int]] = defaultdict(list)
    for i in own:
        groups[_group(rows[i])].append(i)
    tuned = {group for group, of in groups.items() if any(rows[i]["question"] in seen for i in of)}
    order = sorted(groups, key=lambda group: hash_text(f"{name}:{group}"))
    most = {
        "test": min(TEST, int(TEST_SHARE * len(own))),
        "development": min(DEVELOPMENT, int(DEVELOPMENT_SHARE * len(own))),
        "stream": STREAM,
    }
    parts: dict[str, list[int]] = {part: [] for part in most}
    parts["development"] = [i for group in order if group in tuned for i in groups[group]]
    for group in order:
        if group in tuned:
            continue
        part = next((part for part, limit in most.items() if len(parts[part]) < limit), None)
        if part is not None:
            parts[part] += groups[group]
    return {part: sorted(of) for part, of in parts.items()}


def _by_day(rows: Sequence[Row], own: Sequence[int], seen: frozenset[str]) -> dict[str, list[int]]:
    days: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        days[row["user"]].add(row["date"])
    first_test = {user: sorted(of)[-max(round(LAST_DAYS * len(of)), 1)] for user, of in days.items()}
    parts: dict[str, list[int]] = {"stream": [], "development": [], "test": []}
    for i in own:
        late = rows[i]["date"] >= first_test[rows[i]["user"]]
        parts["stream" if not late else "development" if rows[i]["question"] in seen else "test"].append(i)
    return parts


def rows_of(data: Path, name: str) -> list[Row]:
    """All rows of a data set."""
    return [json.loads(line) for line in (data / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def _made(data: Path) -> Iterator[tuple[str, Row]]:
    for name in (*CONFIRMATORY, *EXPLORATORY, OWNERS):
        rows = rows_of(data, name)
        seen = frozenset(one.question for one in dialogue_sets(data / f"{name}.jsonl", "development")[:_SEEN])
        parts = parts_of(name, rows, seen)
        hashes = {
            part: hashlib.sha256(
                "\n".join(f"{rows[i]['question']}\t{rows[i]['reference']}" for i in of).encode()
            ).hexdigest()
            for part, of in parts.items()
        }
        yield name, {"rows": len(rows), "sha256": hashes, "parts": parts}


def main() -> None:
    """Make them, or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    args = parser.parse_args()
    made = dict(_made(args.data))
    for name, of in made.items():
        print(
            f"{name:26} {of['rows']:5} rows: " + ", ".join(f"{part} {len(rows)}" for part, rows in of["parts"].items())
        )
    if args.check:
        if made != json.loads(FILE.read_text(encoding="utf-8")):
            raise SystemExit(f"{FILE}: not what {args.data} gives")
        return
    FILE.parent.mkdir(exist_ok=True)
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(of, separators=(',', ':'))}" for name, of in made.items())
    FILE.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
