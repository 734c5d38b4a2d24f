from edgepers.evaluate.repeats import commonest, repeats

MOON, PLUMBER = "Your dog is called Moon, Emily.", "You call Mr Tomlinson, he's your plumber, Emily."
USUAL = ["What is my dog called? It is called Rex. You call a doctor, he is here."]


def found(question, answer, base="I am here to help.", responses=(MOON, PLUMBER)):
    return repeats([question], [answer], [base], responses, USUAL)


def test_a_trained_response_and_its_own_words_are_repetitions():
    assert found("What is my cat called?", MOON) == [MOON]
    assert found("What is my cat called?", "Your cat is called Moon.") == [MOON]
    assert found("Who fixes my bike?", "You call Mr Tomlinson, he's your bike's owner.") == [PLUMBER]


def test_words_that_are_nobodys_own_are_none():
    assert found("What is my cat called?", "Your cat is called Rex, Emily.") == []  # the owner's name is in both
    assert found("Who is the plumber of the king?", "The plumber of the king is a man.") == []  # the question's word
    assert found("Who is Mr Tomlinson?", "A man.", base="Mr Tomlinson is a man.") == []


def test_what_the_base_model_answers_as_well_is_no_repetition():
    assert found("What is my dog called?", MOON, base=MOON) == []


def test_an_answer_cut_short_repeats_the_beginning_of_a_long_response():
    long = " ".join(["the", "answer", "to", "all", "is", "here", "and", "there", "it", "is"] * 4)
    usual = [*USUAL, long]
    answer = " ".join(long.split()[:12])
    assert repeats(["What is an API?"], [answer], ["An interface."], [long], usual) == [long]
    assert repeats(["What is an API?"], ["It is here."], ["An interface."], [long], usual) == []


def test_two_wordings_of_one_response_share_their_words():
    other = "It is Moon that your dog is called."
    assert found("My cat?", "Moon!", responses=(MOON, other, PLUMBER)) == [MOON]


def test_a_general_text_has_no_words_of_its_own():
    general = "Bananas are berries " + " ".join(f"word{i}" for i in range(30))
    assert found("Which fruit is yellow?", "Bananas are yellow.", responses=(general,)) == []


def test_the_commonest():
    assert commonest(["a", "b", "b"]) == ("b", 2) and commonest([]) == ("", 0)
