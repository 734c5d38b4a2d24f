"""Rebuild the packaged sample from a folder with DOLLY and MemoryBank.

Run: python scripts/make_sample.py --data FOLDER.

FOLDER holds `dolly.jsonl` and `memorybank_users.jsonl` (columns: id, question, reference; MemoryBank also dialogue_id
and turn). Which rows are taken is in `sample_rows.json`, what Emily tells about herself is in `sample_facts.jsonl`:
both were chosen and written by hand. Nothing here is random: the same folder gives the same four files, byte for byte.
"""

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

Row = dict[str, Any]

HERE = Path(__file__).resolve().parent
SAMPLE = HERE.parent / "edgepers" / "assets" / "sample"

OWNER = "Emily"
OTHER_USERS = (
    "Frank",
    "Gary",
    "Henry",
    "Ivy",
    "Jack",
    "Jason",
    "Leo",
    "Linda",
    "Lucy",
    "Luna",
    "Roland",
    "Sunny",
    "Susan",
)
FIRST_DAY = date(2023, 4, 27)  # the day Emily first says hello in MemoryBank
HELD_OUT_WORDINGS = (6, 12)  # of every fact: these are asked in the test set alone
DAYS = 30  # 600 sets: an owner at 20 chats a day
MAX_WORDS = 45  # the packaged model writes at most 64 tokens
NEAR_DUPLICATE = 0.7  # 5-gram Jaccard from which two questions count as one

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


def read_jsonl(path: Path) -> list[Row]:
    """Read one JSON object a line."""
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def normalised(text: str) -> str:
    """Words of a text in lower case, joined by single blanks: what two spellings of one question share."""
    return " ".join(_WORD.findall(text.lower().replace("\u2019", "'")))


def _grams(units: str | list[str]) -> set[Any]:
    """Runs of five units; a shorter text is one gram."""
    return {tuple(units[i : i + 5]) for i in range(max(1, len(units) - 4))}


def _question_grams(text: str) -> tuple[set[Any], set[Any]]:
    """5-grams of words and of characters: a question of six words has only two of words."""
    text = normalised(text)
    return _grams(text.split()), _grams(text)


def near_duplicates(first: list[Row], second: list[Row]) -> Iterator[tuple[str, str]]:
    """Ids of rows from each side whose questions are (nearly) the same, by words or by characters."""
    others = [(row["id"], _question_grams(row["question"])) for row in second]
    for row in first:
        grams = _question_grams(row["question"])
        for name, theirs in others:
            if any(len(a & b) >= NEAR_DUPLICATE * len(a | b) for a, b in zip(grams, theirs, strict=True)):
                yield row["id"], name


def _tidy(text: str) -> str:
    return " ".join(text.split())


def dolly_row(record: Row) -> Row:
    """One DOLLY record as a set of its own; only white space is changed."""
    return {
        "id": record["id"],
        "question": _tidy(record["question"]),
        "reference": _tidy(record["reference"]),
        "source": "databricks-dolly-15k",
        "dialogue_id": record["id"],
    }


def memorybank_row(record: Row) -> Row:
    """One turn of MemoryBank, said by Emily: the names of the other users give way to hers."""
    names = re.compile(rf"\b({'|'.join(OTHER_USERS)})\b")
    return {
        "id": record["id"],
        "question": _tidy(names.sub(OWNER, record["question"])),
        "reference": _tidy(names.sub(OWNER, record["reference"])),
        "source": "MemoryBank-SiliconFriend",
        "dialogue_id": record["dialogue_id"],
        "turn": record["turn"],
    }


def fact_row(fact: Row, wording: int) -> Row:
    """Emily asks for one of her facts in one of her wordings: always the same answer."""
    name = f"emily-{fact['id']}-{wording}"
    return {
        "id": name,
        "question": fact["asked"][wording],
        "reference": fact["reference"],
        "source": "edgepers",
        "dialogue_id": name,
    }


def _order(text: str) -> str:
    """A fixed shuffle: the sort key of a text is its hash."""
    return hashlib.sha256(text.encode()).hexdigest()


def spread(groups: list[list[Row]]) -> list[Row]:
    """Merge groups so that each is spread evenly over the whole; the order inside a group stays."""
    placed = [((i + 0.5) / len(group), g, row) for g, group in enumerate(groups) for i, row in enumerate(group)]
    return [row for _, _, row in sorted(placed, key=lambda item: item[:2])]


def fact_rows(facts: list[Row]) -> list[Row]:
    """Every fact once a turn, neighbouring turns in another order, no fact twice in a row."""
    rows: list[Row] = []
    last = None
    wordings = [number for number in range(len(facts[0]["asked"])) if number not in HELD_OUT_WORDINGS]
    for number in range(len(wordings)):
        # Three orders in turn: with ten orders a fact could be asked late, then early, and be missed by a third of the
        # stream.
        order = sorted(enumerate(facts), key=lambda placed: _order(f"{number % 3} {placed[1]['id']}"))
        if order[0][1]["id"] == last:
            order = [*order[1:], order[0]]
        # Which of its questions comes when differs from fact to fact, or all the plain ones would come first.
        rows += [fact_row(fact, wordings[(number + 3 * place) % len(wordings)]) for place, fact in order]
        last = order[-1][1]["id"]
    return rows


def by_day(dialogues: list[list[Row]]) -> list[list[Row]]:
    """Whole dialogues, in order, on days that get about equally many turns."""
    total, seen = sum(map(len, dialogues)), 0
    days: list[list[Row]] = [[] for _ in range(DAYS)]
    for dialogue in dialogues:
        days[DAYS * (2 * seen + len(dialogue)) // (2 * total)] += dialogue
        seen += len(dialogue)
    return days


def stream_rows(dialogues: list[list[Row]], singles: list[Row], asked: list[Row]) -> list[Row]:
    """The stream: a share of each kind every day, mixed within the day."""
    rows = []
    kinds = (by_day(dialogues), by_day([[row] for row in singles]), by_day([[row] for row in asked]))
    for number, parts in enumerate(zip(*kinds, strict=True)):
        day = (FIRST_DAY + timedelta(days=number)).isoformat()
        rows += [{**row, "date": day} for row in spread([part for part in parts if part])]
    return rows


def build(data: Path) -> dict[str, list[Row]]:
    """The rows of the five files by file name."""
    chosen = json.loads((HERE / "sample_rows.json").read_text(encoding="utf-8"))
    facts = read_jsonl(HERE / "sample_facts.jsonl")
    dolly = {record["id"]: record for record in read_jsonl(data / "dolly.jsonl")}
    turns = {(record["dialogue_id"], record["turn"]): record for record in read_jsonl(data / "memorybank_users.jsonl")}

    def dialogues(part: str) -> list[list[Row]]:
        return [
            [memorybank_row(turns[name, turn]) for turn in kept] for name, kept in chosen["memorybank"][part].items()
        ]

    def singles(part: str) -> list[Row]:
        return spread([[dolly_row(dolly[name]) for name in names] for names in chosen["dolly"][part].values() if names])

    return {
        "stream.jsonl": stream_rows(dialogues("stream"), singles("stream"), fact_rows(facts)),
        "test.jsonl": spread(
            [
                [row for dialogue in dialogues("test") for row in dialogue],
                singles("test"),
                [fact_row(fact, wording) for wording in HELD_OUT_WORDINGS for fact in facts],
            ]
        ),
        "facts.jsonl": [
            {key: fact[key] for key in ("id", "fact", "question", "reference", "keywords")} for fact in facts
        ],
        "general.jsonl": [dolly_row(dolly[name]) for name in chosen["dolly"]["general"]],
        "rehearsal.jsonl": [dolly_row(dolly[name]) for name in chosen["dolly"]["rehearsal"]],
    }


def problems(files: dict[str, list[Row]]) -> list[str]:
    """What would make the sample useless as a measure, in words; empty when it is sound."""
    found = []
    names = ("stream.jsonl", "test.jsonl", "facts.jsonl", "general.jsonl", "rehearsal.jsonl")
    stream, test, facts, general, rehearsal = (files[name] for name in names)
    for name, held_out in (("test.jsonl", test), ("facts.jsonl", facts), ("general.jsonl", general)):
        found += [f"{name}: {b} is nearly {a} of the stream" for a, b in near_duplicates(stream, held_out)]
    found += [f"general.jsonl: {b} is nearly {a} of the test set" for a, b in near_duplicates(test, general)]
    for name, held_out in (("test.jsonl", test), ("facts.jsonl", facts), ("general.jsonl", general)):
        found += [f"{name}: {b} is nearly {a} of rehearsal.jsonl" for a, b in near_duplicates(rehearsal, held_out)]
    shared = {row["dialogue_id"] for row in stream} & {row["dialogue_id"] for row in test}
    found += [f"dialogue {name} is in stream and test set" for name in sorted(shared)]
    for name, rows in files.items():
        asked: dict[str, str] = {}
        for row in rows:
            first = asked.setdefault(normalised(row["question"]), row["id"])
            if first != row["id"]:
                found.append(f"{name}: {row['id']} asks what {first} asks")
            if not 3 < len(row["reference"].split()) <= MAX_WORDS:
                found.append(f"{name}: the reference of {row['id']} has {len(row['reference'].split())} words")
    return found


def main() -> int:
    """Write the five files, or say what is wrong and write none."""
    parser = argparse.ArgumentParser(description="Rebuild the packaged sample stream.")
    parser.add_argument("--data", type=Path, required=True, help="folder with dolly.jsonl and memorybank_users.jsonl")
    parser.add_argument("--out", type=Path, default=SAMPLE, help="folder to write to (default: the package's own)")
    arguments = parser.parse_args()
    files = build(arguments.data)
    wrong = problems(files)
    for line in wrong:
        print(line, file=sys.stderr)
    if wrong:
        return 1
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (arguments.out / name).write_text(text, encoding="utf-8", newline="\n")
        print(f"{name}: {len(rows)} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
