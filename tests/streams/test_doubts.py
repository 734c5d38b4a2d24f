"""What takes an answer back, and what only sounds so."""

import pytest

from edgepers.streams.chats import Turn, sets_of
from edgepers.streams.doubts import doubts
from edgepers.streams.notes import Notes


@pytest.mark.parametrize(
    "said",
    [
        "No, I meant my other sister.", "no. She is called Alice", "Nope, Alice.", "No", "no!", "Hmm, no, it's Alice.",
        "That's wrong, it's Moon.", "That is not my dog", "That isn’t what I asked", "Wrong.", "wrong", "Incorrect!",
        "no I meant Tuesday", "No that's wrong", "It's wrong", "This is wrong.", "You're wrong",
        "You got that wrong", "I meant Ulm", "Sorry, I meant Tuesday", "I was asking about Jonas",
        "Actually, no, it's Tuesday", "Not that one", "Nein, ich meinte den Hund.", "Das stimmt nicht", "Falsch!",
        "Das ist falsch", "Ich meinte Ulm.", "Non, c'est Paul", "C'est faux.", "Je voulais dire Paul", "No, es Madrid",
        "Eso no es correcto", "Quise decir Madrid", "Non è vero", "Intendevo Roma", "Não, é Lisboa", "Está errado",
    ],
)  # fmt: skip
def test_what_takes_an_answer_back(said):
    assert doubts("It is Luna.", said)
    assert not doubts("Do you like it?", said)  # who was asked may say no
    assert not doubts("Do you like it? ", said) and not doubts("„Gefällt es dir?“", said)


@pytest.mark.parametrize(
    "said",
    [
        "No, thanks.", "no thank you", "No problem!", "No worries", "No need, thanks", "No, that's all", "Nein danke",
        "Nein, danke.", "No, gracias", "Non, merci", "No one came.", "No idea, what do you think?", "Nobody knows",
        "It's not raining, what can I do?", "This is not working, help", "I said hello to her. Was that ok?",
        "Is it?", "", "!", "Not bad!", "That is not easy to say", "Wrong turns happen", "Now, what next?",
        "No... thanks", "No!! Thanks", "Nein... danke", "No... that's all", "No. No problem.", "No, go ahead",
        "Not that I know of", "Nicht die Mama", "Wrong: what is it in German?", "Notes for today", "Nice!",
        "Nein-Stimmen zählen", "What is no in German?", "Where is my dog?",
    ],
)  # fmt: skip
def test_what_does_not(said):
    assert not doubts("It is Luna.", said)


def test_it_is_told_in_time_that_grows_with_the_words():
    many = 200_000
    assert doubts("?" * many + "a", "No, Moon.") and not doubts(("?" + "\n" * 5) * many, "No, Moon.")
    assert not doubts("It is Luna.", "No" + "." * many + "thanks") and not doubts("It is Luna.", "!" * many)


def test_of_a_conversation_the_answer_before_it_is_doubted():
    said = ["My dog?", "Luna.", "No, Moon.", "Moon, then.", "Thanks. My cat?", "Tom.", "No."]
    turns = [Turn("user" if i % 2 == 0 else "assistant", text) for i, text in enumerate(said)]
    sets = sets_of(turns, "messages", None, Notes())
    assert [one.doubted for one in sets] == [True, False, True]
    assert sets_of(turns[:-1], "messages", None, Notes())[-1].doubted is False
