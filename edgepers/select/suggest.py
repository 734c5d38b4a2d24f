"""Suggest words of a stream that set a new domain apart.

They are found together far more often than by chance where the lexicons match little.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgepers.errors import StreamError, UsageError
from edgepers.files import replace_file
from edgepers.hashing import hash_text, mix
from edgepers.select.lexicon import Lexicons, words
from edgepers.streams import Cursor, Stream

__all__ = ["LEAST_SETS", "Suggestion", "Suggestions", "suggest", "write_suggestions"]

LEAST_SETS = 20  # fewer say nothing about what belongs together
MAX_SETS = 20_000  # held at once; of a longer stream an even sample, so that memory does not grow with it
MAX_WORDS = 160  # taken of one set
MAX_CANDIDATES = 1_500  # words compared with each other
LEAST_COUNT = 3  # sets that a word must be in, and that two words must share
# the commonest words that make up this share of all running words hold sentences together, whatever the language ...
COMMON = 0.5
COMMON_SETS = (
    0.1  # ... where they are in this share of the sets: of a stream with one subject, its words are common too
)
SURPRISE = 1.0  # two words belong together where chance does it less often than (number of words) ** -SURPRISE
WEAK = 0.04  # a set whose first domain has one match, or no more than this share of its words, is matched weakly
DISCOUNT = 3.0  # sets that two words must share for half of their association to be believed (Pantel and Lin 2002)
TOGETHER = 0.13  # mean association with a group from which a word joins it
LEAST_GROUP = 4  # words of a group
AT_HOME = 0.3  # a rarer word joins a group where this share of its sets have two of the group's words
EXAMPLE_CHARS = 200

_STOP = Path(__file__).with_name("stopwords.txt")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A candidate for a domain: its words, and the sets that hold them."""

    words: tuple[str, ...]  # the most telling first
    sets: int  # that would have this domain
    example: str  # the question of the one with most of the words


@dataclass(frozen=True, slots=True)
class Suggestions:
    """What was found in a stream. Of a long stream, counts are scaled up from the sample that was kept."""

    domains: tuple[Suggestion, ...]  # the one that covers most sets first
    sets: int  # read
    weak: int  # matched by no lexicon, or weakly

    def summary(self) -> str:
        """Tell what was found as a person reads it."""
        lines = [f"{self.sets:,} sets read; {self.weak:,} match no lexicon, or weakly"]
        for number, found in enumerate(self.domains, 1):
            lines += [f"{number}. {found.sets:,} sets: {' '.join(found.words)}", f"   such as: {found.example}"]
        if not self.domains:
            lines.append(
                "no words stand together there far more often than by chance: the lexicons fit, or the stream is small"
            )
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Set:
    position: int
    question: str
    unlisted: tuple[str, ...]  # its words that are in no lexicon, repeats kept
    matches: int  # of its first domain
    weak: bool


Matrix = npt.NDArray[np.float32]


def suggest(
    stream: Stream,
    lexicons: Lexicons,
    *,
    domains: int = 3,
    words_each: int = 40,
    limit: int | None = None,
    references: bool = False,
    on_warning: Callable[[str], None] = lambda _: None,
) -> Suggestions:
    """Find up to `domains` groups of up to `words_each` words. The same stream gives the same groups.

    Args:
        stream: question and response of each set are read.
        lexicons: what is known already.
        domains: groups wanted, at most.
        words_each: words of one group, at most.
        limit: sets to read, at most.
        references: read the reference of a set without response; selection does not, but under the preset `paper`.
        on_warning: gets a line about each malformed record.

    Raises:
        StreamError: fewer than 20 sets, or the stream cannot be read.
    """
    kept, seen = _read(stream, lexicons, limit, references, on_warning)
    if seen < LEAST_SETS:
        raise StreamError(f"stream {stream.name}: {seen} valid sets; suggestions need {LEAST_SETS} or more")
    weak = [s for s in kept if s.weak]
    candidates = _candidates(kept, weak)
    cores = [[candidates[i] for i in group] for group in _groups(_association(weak, candidates), words_each)]
    found = [_covered(group, kept) for group in _widened(cores, kept, words_each)]
    found = sorted((s for s in found if s.sets >= LEAST_COUNT), key=lambda s: (-s.sets, s.words))
    scale = seen / len(kept)
    scaled = (Suggestion(s.words, round(s.sets * scale), s.example) for s in found[:domains])
    return Suggestions(tuple(scaled), seen, round(len(weak) * scale))


def _read(
    stream: Stream, lexicons: Lexicons, limit: int | None, references: bool, on_warning: Callable[[str], None]
) -> tuple[list[_Set], int]:
    """Return an even sample of the sets, and how many were seen.

    A set that repeats another says nothing new and is left out.
    """
    domain_of = {word: place for place, lexicon in enumerate(lexicons.lexicons) for word in lexicon.words}
    kept: list[_Set] = []
    known: set[int] = set()
    pool: dict[str, str] = {}  # each word once in memory
    seen = level = 0
    for position, arrival in enumerate(islice(stream.read(Cursor(), on_warning), limit)):
        seen += 1
        if mix(position) % (1 << level):
            continue
        dialogue = arrival.dialogue
        answer = dialogue.response or (dialogue.reference if references else None)
        text = f"{dialogue.question}\n{answer or ''}"
        content = hash_text(max(text.splitlines(), key=len))  # often a passage that several sets ask about
        if content in known:
            continue
        known.add(content)
        found = words(text)
        first = max(Counter(domain_of[word] for word in found if word in domain_of).values(), default=0)
        unlisted = tuple(pool.setdefault(word, word) for word in found if word not in domain_of and _can_tell(word))[
            :MAX_WORDS
        ]
        kept.append(
            _Set(
                position,
                " ".join(dialogue.question.split())[:EXAMPLE_CHARS],
                unlisted,
                first,
                first <= max(1, WEAK * len(found)),
            )
        )
        if len(kept) > MAX_SETS:
            level += 1
            kept = [s for s in kept if mix(s.position) % (1 << level) == 0]
            pool.clear()
    return kept, seen


def _can_tell(word: str) -> bool:
    """Numbers tell nothing, nor do single letters but of East Asian scripts, where one is a word."""
    return not word[0].isdigit() and (len(word) > 1 or word[0] >= "\u2e80")


def _candidates(kept: Sequence[_Set], weak: Sequence[_Set]) -> list[str]:
    """Words that are neither rare nor everywhere, and at home where the lexicons match weakly."""
    everywhere = Counter(word for s in kept for word in set(s.unlisted))
    common = _common(kept)
    here = Counter(word for s in weak for word in set(s.unlisted))
    share = len(weak) / len(kept)
    fit = {
        word: count
        for word, count in here.items()
        if count >= LEAST_COUNT and word not in common and count >= 0.75 * share * everywhere[word]
    }
    return sorted(fit, key=lambda word: (-fit[word], word))[:MAX_CANDIDATES]


def _common(kept: Sequence[_Set]) -> set[str]:
    """Function words: our own list for English, and whatever is as common as they are in a text of any language."""
    running = Counter(word for s in kept for word in s.unlisted)
    common = set(_STOP.read_text(encoding="utf-8").split("\n", 1)[1].split())
    sets_of = Counter(word for s in kept for word in set(s.unlisted))
    mass = 0
    for word, count in sorted(running.items(), key=lambda item: (-item[1], item[0])):
        mass += count
        if mass > COMMON * running.total():
            break
        if sets_of[word] >= COMMON_SETS * len(kept):
            common.add(word)
    return common


def _association(weak: Sequence[_Set], candidates: Sequence[str]) -> Matrix:
    """Return [V, V] normalized pointwise mutual information of words being in one set; never negative.

    It is discounted where few sets have both.
    """
    place = {word: i for i, word in enumerate(candidates)}
    together = np.zeros((len(candidates), len(candidates)), np.float32)
    for s in weak:
        inside = np.unique([place[word] for word in s.unlisted if word in place]).astype(np.int64)
        together[np.ix_(inside, inside)] += 1
    alone = together.diagonal().copy()
    p = np.maximum(together, 1e-9) / max(len(weak), 1)
    expected = np.maximum(np.outer(alone, alone) / max(len(weak), 1), 1e-9)
    pmi = np.log(np.maximum(together, 1e-9) / expected)
    surprise = together * pmi - (together - expected)  # Chernoff's bound on -log P(as many or more) of a Poisson number
    with np.errstate(divide="ignore", invalid="ignore"):
        npmi = np.nan_to_num(np.clip(pmi / -np.log(p), 0, 1))
    believed = (together >= LEAST_COUNT) & (surprise > SURPRISE * math.log(max(len(candidates), 2)))
    strength = npmi * believed * together / (together + DISCOUNT)
    np.fill_diagonal(strength, 0)
    return strength.astype(np.float32)


def _groups(strength: Matrix, size: int) -> list[list[int]]:
    """Grow disjoint groups of words.

    Each starts from the word with the strongest ties that is left, and takes the word tied most to it, one at a time.
    """
    free = np.ones(len(strength), bool)
    groups = []
    while free.any():
        ties = np.sort(np.where(free[None, :], strength, 0), axis=1)[:, -8:].sum(axis=1) * free
        seed = int(ties.argmax())
        if ties[seed] <= 0:
            break
        group, total = [seed], strength[seed].copy()
        free[seed] = False
        while len(group) < size:
            mean = np.where(free, total, 0) / len(group)
            best = int(mean.argmax())
            if mean[best] < TOGETHER / (1 + np.log(len(group)) / 2):
                break
            group.append(best)
            total += strength[best]
            free[best] = False
        if len(group) >= LEAST_GROUP:
            groups.append(group)
    return groups


def _widened(cores: Sequence[list[str]], kept: Sequence[_Set], size: int) -> Iterator[list[str]]:
    """Widen each core by rarer words that are mostly in sets with two of its words.

    A word goes to the first group that wants it.
    """
    sets_of = Counter(word for s in kept for word in set(s.unlisted))
    common, taken = _common(kept), set[str]()
    for core in cores:
        group = [word for word in core if word not in taken]
        if len(group) < LEAST_GROUP:
            continue
        members = set(group)
        inside = [set(s.unlisted) for s in kept if len(members.intersection(s.unlisted)) > 1]
        near = Counter(word for found in inside for word in found)
        surprise = {
            word: count * math.log(count / expected) - (count - expected)  # as in _association
            for word, count in near.items()
            for expected in [sets_of[word] * len(inside) / len(kept)]
            if count >= LEAST_COUNT
            and count >= AT_HOME * sets_of[word]
            and not (word in members or word in common or word in taken)
        }
        wanted = [word for word in surprise if surprise[word] > SURPRISE * math.log(len(near))]
        group += sorted(wanted, key=lambda word: (-surprise[word], word))[: size - len(group)]
        taken.update(group)
        yield group


def _covered(group: Sequence[str], kept: Sequence[_Set]) -> Suggestion:
    """How many sets would have the group as their domain: more matches than their first one has."""
    members = set(group)
    best, example, sets = 0, "", 0
    for s in kept:
        matches = sum(word in members for word in s.unlisted)
        if matches > s.matches and len(members.intersection(s.unlisted)) > 1:
            sets += 1
            if len(members.intersection(s.unlisted)) > best:
                best, example = len(members.intersection(s.unlisted)), s.question
    return Suggestion(tuple(group), sets, example)


def write_suggestions(folder: Path, suggestions: Suggestions, name: str, beside: Path | None = None) -> list[Path]:
    """Write each domain as suggested-<number>.txt, ready to be edited, and copy the lexicons of `beside` to them.

    Raises:
        UsageError: the folder has a file of such a name already.
    """
    files = {path.name: path.read_text(encoding="utf-8-sig") for path in sorted(beside.glob("*.txt"))} if beside else {}
    for number, found in enumerate(suggestions.domains, 1):
        head = f"# suggested-{number}: {found.sets} sets of {name}. Rename the file to its subject; mend its words."
        files[f"suggested-{number}.txt"] = "\n".join([head, f"# such as: {found.example}", *found.words, ""])
    for file in files:
        if (folder / file).exists():
            raise UsageError(f"{folder / file} exists already; rename it to its subject, or give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        replace_file(folder / file, text)
    return [folder / file for file in files]
