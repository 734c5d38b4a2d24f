"""An owner who writes no English: no word of theirs is in the packaged lexicons, and selection goes on all the same."""

import hashlib
import json

import pytest
import torch

from edgepers.annotate.sources import Answer, from_file
from edgepers.select.lexicon import GENERAL
from edgepers.select.selector import Selector
from edgepers.state.buffer import Buffer
from edgepers.streams import Cursor, DialogueSet, IterableStream

ALPHABETS = {
    "Chinese": ("我你他狗猫河山水火月日年明天喜欢游泳学习东西南北", ""),
    "Arabic": ("ابتثجحخدذرزسشصضطظعغفقكلمنهوي", " "),
    "Hindi": ("कखगघचछजझटठडढतथदधनपफबभमयरल", " "),
    "Cyrillic": ("абвгдежзиклмнопрстуфхцчшщэюя", " "),
    "emoji": ("😀😃🎉🐶🐱🌊🔥🌙🚂🍞🎸📚", ""),
}


class LetterEncoder:
    """A fixed random vector a letter, so that texts without spaces have as many rows as letters."""

    identity = "letters"
    hidden_size = 64

    def encode(self, texts):
        rows = [torch.stack([self._letter(letter) for letter in text]) for text in texts]
        offsets = torch.tensor([0, *torch.tensor([len(row) for row in rows]).cumsum(0).tolist()])
        return torch.cat(rows), offsets

    def _letter(self, letter):
        seed = int.from_bytes(hashlib.blake2b(letter.encode(), digest_size=6).digest(), "little")
        return torch.randn(self.hidden_size, generator=torch.Generator().manual_seed(seed)) + 0.3


def texts(alphabet, gap, count, english=0):
    """Sets of a language, every tenth with English words of a lexicon where `english`."""
    for i in range(count):
        digest = hashlib.blake2b(f"{i}".encode(), digest_size=60).digest()
        letters = [alphabet[byte % len(alphabet)] for byte in digest]
        words = ["".join(letters[j : j + 4]) for j in range(0, len(letters) - i % 20, 4)]
        mixed = " doctor medicine" if english and i % english == 0 else ""
        yield DialogueSet(gap.join(words[:8]) + mixed, gap.join(words[8:]) or "好", None, str(i))


@pytest.mark.parametrize("english", [0, 10], ids=["pure", "mixed"])
@pytest.mark.parametrize("language", ALPHABETS)
def test_the_buffer_of_an_owner_without_english_does_not_freeze(tmp_path, language, english):
    sets = list(texts(*ALPHABETS[language], 600, english))
    with Buffer(tmp_path, 64_000) as buffer:
        selector = Selector(buffer, LetterEncoder(), policy="quality", seed=1)
        decisions = []
        arrivals = list(IterableStream(sets).read(Cursor(), print))
        for start in range(0, len(arrivals), 16):
            decisions += selector.offer(arrivals[start : start + 16])
        full = next(i for i, decision in enumerate(decisions) if decision.evicted)
        later = decisions[(full + len(decisions)) // 2 :]
        assert sum(decision.admitted for decision in later) >= 3
        assert all(decision.domain == GENERAL for decision in decisions) == (english == 0)
        assert any(decision.admitted and decision.domain == GENERAL for decision in later)
        assert {kept.question for kept in buffer} <= {s.question for s in sets}


def test_answers_in_any_script_come_back_from_a_file_as_windows_writes_it(tmp_path):
    path = tmp_path / "answers.jsonl"
    rows = [
        {"id": "", "question": "猫は?", "reference": "「月」です 🎉"},
        {"id": "", "question": "كلبي؟", "reference": "قمر"},
    ]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode())
    source = from_file(path)
    for row in rows:
        kept = type("Kept", (), {"id": "", "question": row["question"]})()
        assert source(kept) == Answer(row["reference"])
