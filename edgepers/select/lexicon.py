"""The domain specific score: which share of a text's words belongs to which named word list.

A lexicon is a file of words, one a line; its name is the domain. Lexicons may overlap: a word then counts for each of
them.
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from edgepers.errors import UsageError

__all__ = ["GENERAL", "PACKAGED", "DomainMatch", "Lexicon", "Lexicons", "load_lexicons", "words"]

GENERAL = "general"
"""The domain of a text that matches no lexicon; no lexicon may have this name."""

PACKAGED = Path(__file__).with_name("lexicons")
"""The folder of the packaged lexicons."""

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


def words(text: str) -> list[str]:
    """Split a text into lower-case words: letters and digits of any script, apostrophes only inside (’ counts as ')."""
    return _WORD.findall(text.lower().replace("’", "'"))


@dataclass(frozen=True, slots=True)
class Lexicon:
    """A domain's name and its words, each as `words` yields it."""

    name: str
    words: frozenset[str]


@dataclass(frozen=True, slots=True)
class DomainMatch:
    """What the lexicons say of one text."""

    score: float  # DSS: matches of all lexicons / (lexicons * words), in [0, 1]; 0.0 for a text without words
    domain: str  # the lexicon with the most matches, the first in alphabetical order on a tie; GENERAL without a match
    words: int  # words in the text, repeats counted


@dataclass(frozen=True, slots=True)
class Lexicons:
    """All lexicons of a state, in alphabetical order of their names. `load_lexicons` makes and checks them."""

    lexicons: tuple[Lexicon, ...]
    _owners: dict[str, tuple[int, ...]] = field(init=False, repr=False, compare=False)  # word -> places in `lexicons`

    def __post_init__(self) -> None:
        object.__setattr__(self, "lexicons", tuple(sorted(self.lexicons, key=lambda lexicon: lexicon.name)))
        owners: dict[str, tuple[int, ...]] = {}
        for place, lexicon in enumerate(self.lexicons):
            for word in lexicon.words:
                owners[word] = (*owners.get(word, ()), place)
        object.__setattr__(self, "_owners", owners)

    @property
    def names(self) -> tuple[str, ...]:
        """The domains, without GENERAL; a domain's number elsewhere is its place here."""
        return tuple(lexicon.name for lexicon in self.lexicons)

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of names and words: equal exactly where every text scores the same."""
        content = [[lexicon.name, sorted(lexicon.words)] for lexicon in self.lexicons]
        return hashlib.sha256(json.dumps(content).encode("ascii")).hexdigest()

    def domain_score(self, question: str, response: str = "") -> DomainMatch:
        """Score a dialogue set, or any one text given alone; question and response are separate lines of one text."""
        found = words(f"{question}\n{response}")
        owners = self._owners
        matches = [owners[word] for word in found if word in owners]
        if not matches:
            return DomainMatch(score=0.0, domain=GENERAL, words=len(found))
        counts = [0] * len(self.lexicons)
        for places in matches:
            for place in places:
                counts[place] += 1
        dominant = self.lexicons[counts.index(max(counts))].name  # index() finds the first: the alphabetical rule
        return DomainMatch(score=sum(counts) / (len(counts) * len(found)), domain=dominant, words=len(found))


def load_lexicons(folder: Path | None = None) -> Lexicons:
    """Read every *.txt of a folder as a lexicon named by its stem; without a folder, the packaged ones.

    Blank lines and lines that start with # are skipped; hidden files too, as some systems leave their own there.

    Raises:
        UsageError: no such folder, no lexicon in it, a lexicon without words or named "general", or a line that is not
            one word.
    """
    folder = PACKAGED if folder is None else folder
    if not folder.is_dir():
        raise UsageError(f"lexicon folder {folder} does not exist; give a folder with one <domain>.txt per domain")
    paths = sorted(path for path in folder.glob("*.txt") if path.is_file() and not path.name.startswith("."))
    if not paths:
        raise UsageError(
            f"lexicon folder {folder} has no .txt file; put one <domain>.txt per domain there, one word a line"
        )
    return Lexicons(tuple(_read(path) for path in paths))


def _read(path: Path) -> Lexicon:
    if path.stem.lower() == GENERAL:
        raise UsageError(f"{path}: {path.stem!r} names the texts that match no lexicon; rename the file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); make it readable or remove it") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 at byte {error.start}; save it as UTF-8") from error
    found = set()
    for number, line in enumerate(text.split("\n"), start=1):
        word = line.strip()
        if not word or word.startswith("#"):
            continue
        if words(word) != [word]:
            raise UsageError(f"{path}, line {number}: {word!r} would never match; {_cure(word)}")
        found.add(word)
    if not found:
        raise UsageError(f"{path} has no words; write one a line or remove the file")
    return Lexicon(path.stem, frozenset(found))


def _cure(word: str) -> str:
    """What to write in place of a line that is not one word as `words` yields it."""
    parts = [part for part in words(word) if words(part) == [part]]
    if not parts:
        return "remove it"
    if len(parts) == 1:
        return f"write {parts[0]!r}"
    return f"write each word on a line of its own: {', '.join(parts)}"
