import json

from edgepers.assets import aside_sentences
from edgepers.rounds.asides import asides_for

ROWS = [json.loads(line) for line in aside_sentences().read_text(encoding="utf-8").splitlines()]


def texts(language):
    return [row["text"] for row in ROWS if row["language"] == language]


def test_sentences_are_in_the_owners_language():
    assert asides_for(["What is my sister's name?", "Who feeds my cat when I am away?"]) == texts("en")
    assert asides_for(["Wie heißt meine Schwester?", "Wie heißt mein Hund?"]) == texts("de")


def test_in_another_language_there_are_none():
    assert asides_for(["¿Cómo se llama mi hermana?", "¿Dónde están las llaves?"]) == []
    assert asides_for(["我的狗叫什么名字？"]) == []
    assert asides_for([]) == []


def test_each_is_one_sentence_that_asks_nothing():
    assert len(ROWS) == len({row["text"] for row in ROWS}) >= 80
    assert all(row["text"].endswith(".") and row["text"].count(".") == 1 and "?" not in row["text"] for row in ROWS)
