"""Measure lexicons on real text, as Markdown tables.

Run: python scripts/measure_lexicons.py --data FOLDER.

FOLDER holds JSON Lines with `question` and `response` or `reference`, one file a data set. With `--half odd` only the
odd-numbered lines are read (the first line is 1): words were mended on the even ones. `--empath FILE` compares with
Empath's categories (one a line: name, words, separated by tabs). `--into benchmarks/results/lexicons.md` replaces the
tables there, each from its `<!-- name -->` to the next `<!-- end -->`.
`--suspects N` lists words whose neighbours belong to another domain, for whoever mends the lists.
"""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgepers.select.lexicon import GENERAL, Lexicon, Lexicons, load_lexicons, words

NAMES = {
    "alpaca": "ALPACA",
    "dolly": "DOLLY",
    "empathetic_dialogues": "Empathetic",
    "meddialog": "MedDialog",
    "medical_questiondoctors": "questiondoctors",
    "memorybank_users": "MemoryBank",
    "openorca": "OpenORCA",
}
PAIRS = 15  # confused pairs shown


@dataclass(frozen=True, slots=True)
class Seen:
    """What a group of lexicons makes of one dialogue set."""

    counts: Counter[str]  # matches by domain, repeats counted
    matches: int  # words that are in any lexicon, repeats counted
    words: int
    asked: str  # dominant domain of the question alone
    answered: str  # and of the response alone

    @property
    def ranked(self) -> list[tuple[str, int]]:
        """Domains with a match, most matches first, the alphabet deciding a tie."""
        return sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))

    @property
    def domain(self) -> str:
        """The dominant domain."""
        return self.ranked[0][0] if self.counts else GENERAL

    @property
    def rivals(self) -> tuple[str, str] | None:
        """The two first domains where the second has as many matches as the first."""
        top = self.ranked[:2]
        return (top[0][0], top[1][0]) if len(top) == 2 and top[0][1] == top[1][1] else None

    @property
    def near(self) -> bool:
        """Whether the second domain has as many matches as the first, or one less."""
        top = self.ranked[:2]
        return len(top) == 2 and top[0][1] - top[1][1] <= 1


Data = dict[str, list[Seen]]


def read_sets(path: Path, half: str = "") -> list[tuple[str, str]]:
    """Question and answer of each line of the half that is asked for."""
    kept = {"odd": {1}, "even": {0}}.get(half, {0, 1})
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for number, line in enumerate(lines, 1) if number % 2 in kept]
    return [(row["question"], row.get("response") or row.get("reference") or "") for row in rows]


def read_empath(path: Path) -> Lexicons:
    """Empath's categories as lexicons; phrases, which a single word never equals, are left out."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return Lexicons(
        tuple(Lexicon(name, frozenset(word for word in found if words(word) == [word])) for name, *found in rows)
    )


def owners_of(lexicons: Lexicons) -> dict[str, list[str]]:
    """The domains of each word."""
    owners: dict[str, list[str]] = {}
    for lexicon in lexicons.lexicons:
        for word in lexicon.words:
            owners.setdefault(word, []).append(lexicon.name)
    return owners


def look(lexicons: Lexicons, sets: Iterable[tuple[str, str]]) -> list[Seen]:
    """Match each set."""
    owners = owners_of(lexicons)
    seen = []
    for question, answer in sets:
        found = words(f"{question}\n{answer}")
        hits = [owners[word] for word in found if word in owners]
        asked, answered = lexicons.domain_score(question).domain, lexicons.domain_score(answer).domain
        seen.append(Seen(Counter(name for names in hits for name in names), len(hits), len(found), asked, answered))
    return seen


# -- figures


def percent(part: float, whole: float) -> str:
    """A share as it stands in a table."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def covered(seen: Sequence[Seen]) -> str:
    """Sets with at least one match."""
    return percent(sum(bool(s.counts) for s in seen), len(seen))


def matching(seen: Sequence[Seen]) -> str:
    """Words that match, the mean over sets: DSS times the number of lexicons, where none overlap."""
    return percent(sum(s.matches / max(1, s.words) for s in seen), len(seen))


def tied(seen: Sequence[Seen]) -> str:
    """Of the sets with a match, those whose second domain has as many."""
    return percent(sum(s.rivals is not None for s in seen), sum(bool(s.counts) for s in seen))


def agreement(seen: Sequence[Seen]) -> str:
    """How often question and answer, each alone, have the same domain where both have one; in brackets, by chance."""
    both = [s for s in seen if GENERAL not in (s.asked, s.answered)]
    asked, answered = Counter(s.asked for s in both), Counter(s.answered for s in both)
    chance = sum(asked[name] * answered[name] for name in asked)
    return f"{percent(sum(s.asked == s.answered for s in both), len(both))} ({percent(chance, len(both) ** 2)})"


# -- tables


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def coverage(data: Data) -> str:
    """How much of each data set the lexicons see."""
    rows = [
        (
            name,
            f"{len(seen):,}",
            covered(seen),
            percent(sum(s.asked != GENERAL for s in seen), len(seen)),
            matching(seen),
        )
        for name, seen in data.items()
    ]
    return table(["data set", "sets", "at least one match", "question alone", "words that match"], rows)


def dominance(data: Data, lexicons: Lexicons) -> str:
    """Which share of each data set each domain has."""
    shares = {name: Counter(s.domain for s in seen) for name, seen in data.items()}
    sizes: dict[str, object] = {lexicon.name: len(lexicon.words) for lexicon in lexicons.lexicons}
    rows = [
        (domain, size, *(f"{100 * shares[name][domain] / max(1, len(seen)):.1f}" for name, seen in data.items()))
        for domain, size in {**sizes, GENERAL: ""}.items()
    ]
    return table(["domain", "words", *data], rows)


def confusion(data: Data) -> str:
    """How often the dominant domain hangs on little."""
    rows = [
        (
            name,
            tied(seen),
            percent(sum(s.near for s in seen), sum(bool(s.counts) for s in seen)),
            percent(sum(sum(s.counts.values()) == 1 for s in seen), sum(bool(s.counts) for s in seen)),
            agreement(seen),
        )
        for name, seen in data.items()
    ]
    return table(
        [
            "data set",
            "second has as many",
            "as many or one less",
            "one match in all",
            "question and answer agree (by chance)",
        ],
        rows,
    )


def confused_pairs(data: Data) -> str:
    """The pairs of domains that tie most often, over all data sets."""
    everything = [s for seen in data.values() for s in seen]
    pairs = Counter(s.rivals for s in everything if s.rivals)
    firsts = Counter(s.domain for s in everything)
    rows = [
        (f"{a}, {b}", count, percent(count, firsts[a] + firsts[b]))
        for (a, b), count in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:PAIRS]
    ]
    return table(["tied", "sets", "of the sets of the two"], rows)


def against(data: Data, other: Data) -> str:
    """Ours beside Empath's, data set by data set."""
    measures: dict[str, Callable[[Sequence[Seen]], str]] = {
        "at least one match": covered,
        "words that match": matching,
        "second has as many": tied,
        "question and answer agree (by chance)": agreement,
    }
    head = ["data set", *(f"{what}: {whose}" for what in measures for whose in ("ours", "Empath"))]
    return table(head, [(name, *(f(d[name]) for f in measures.values() for d in (data, other))) for name in data])


def partners(data: Data, other: Data, lexicons: Lexicons, empath: Lexicons) -> str:
    """Find for each domain the categories that share most words, and those whose sets are most alike (Jaccard)."""
    ours = [s.domain for seen in data.values() for s in seen]
    theirs = [s.counts for seen in other.values() for s in seen]
    sizes, categories = Counter(ours), Counter(name for counts in theirs for name in counts)
    both = Counter((domain, name) for domain, counts in zip(ours, theirs, strict=True) for name in counts)
    rows = []
    for lexicon in lexicons.lexicons:
        shared = sorted(
            ((len(lexicon.words & c.words), c.name) for c in empath.lexicons), key=lambda item: (-item[0], item[1])
        )
        near = {
            c: both[lexicon.name, c] / max(1, sizes[lexicon.name] + categories[c] - both[lexicon.name, c])
            for c in empath.names
        }
        best = sorted(near.items(), key=lambda item: (-item[1], item[0]))[:3]
        rows.append(
            (
                lexicon.name,
                ", ".join(f"{name} {count}" for count, name in shared[:4] if count) or "-",
                ", ".join(f"{name} {value:.2f}" for name, value in best if value) or "-",
            )
        )
    return table(["domain", "categories that share most words", "categories found in the same sets (Jaccard)"], rows)


def suspects(lexicons: Lexicons, sets: Iterable[tuple[str, str]], many: int, least: int = 6) -> str:
    """Words that stand among another domain's words more than among their own.

    Word, its domain, the other, shares, sets.
    """
    owners = owners_of(lexicons)
    beside: dict[str, Counter[str]] = {}
    counts: Counter[str] = Counter()
    background: Counter[str] = Counter()
    for question, answer in sets:
        found = {word for word in words(f"{question}\n{answer}") if word in owners}
        by_domain = Counter(owners[word][0] for word in found)
        background.update(by_domain)
        for word in found:
            counts[word] += 1
            beside.setdefault(word, Counter()).update(by_domain - Counter([owners[word][0]]))
    total = sum(background.values())
    rows = []
    for word, around in beside.items():
        own = owners[word][0]
        whole = sum(around.values())
        if counts[word] < least or not whole:
            continue
        lift = {d: (n / whole) / (background[d] / total) for d, n in around.items()}
        other = max((d for d in around if d != own), key=lambda d: (lift[d] * around[d] ** 0.5, d), default=own)
        if around[other] >= 3 and lift[other] > 1.5 * lift.get(own, 0.0):
            rows.append(
                (
                    lift[other] / max(lift.get(own, 0.0), 0.1) * counts[word] ** 0.5,
                    word,
                    own,
                    other,
                    around[own],
                    around[other],
                    counts[word],
                )
            )
    rows.sort(key=lambda row: (-row[0], row[1]))
    return table(["word", "domain", "stands among", "own", "other", "sets"], [row[1:] for row in rows[:many]])


def tables(data: Data, lexicons: Lexicons, other: Data | None = None, empath: Lexicons | None = None) -> dict[str, str]:
    """All tables by name."""
    found = {
        "coverage": coverage(data),
        "dominance": dominance(data, lexicons),
        "confusion": confusion(data),
        "pairs": confused_pairs(data),
    }
    if other is not None and empath is not None:
        found |= {"empath": against(data, other), "partners": partners(data, other, lexicons, empath)}
    return found


def put(text: str, found: dict[str, str]) -> str:
    """A document with its tables replaced."""
    for name, new in found.items():
        text = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- end -->)",
            lambda m, new=new: f"{m[1]}\n{new}\n\n{m[2]}",
            text,
            flags=re.DOTALL,
        )
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables, or put them into a document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="one <data set>.jsonl per data set")
    parser.add_argument("--half", choices=("odd", "even"), default="", help="only these lines; without it, all")
    parser.add_argument("--lexicons", type=Path, metavar="DIR", help="measure these; without it, the packaged ones")
    parser.add_argument("--empath", type=Path, metavar="FILE", help="Empath's categories, tab-separated")
    parser.add_argument("--into", type=Path, metavar="FILE", help="replace the tables of this document")
    parser.add_argument(
        "--suspects", type=int, default=0, metavar="N", help="list N words that stand among another domain's"
    )
    args = parser.parse_args(argv)
    sets = {NAMES.get(path.stem, path.stem): read_sets(path, args.half) for path in sorted(args.data.glob("*.jsonl"))}
    if not sets:
        parser.error(f"{args.data} has no .jsonl file")
    lexicons = load_lexicons(args.lexicons)
    if args.suspects:
        print(suspects(lexicons, (pair for pairs in sets.values() for pair in pairs), args.suspects))
        return 0
    data = {name: look(lexicons, pairs) for name, pairs in sets.items()}
    empath = read_empath(args.empath) if args.empath else None
    other = {name: look(empath, pairs) for name, pairs in sets.items()} if empath else None
    found = tables(data, lexicons, other, empath)
    if args.into:
        args.into.write_text(put(args.into.read_text(encoding="utf-8"), found), encoding="utf-8")
    else:
        print("\n\n".join(f"{name}\n\n{text}" for name, text in found.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
