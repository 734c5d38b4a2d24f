"""The guard on adapters of the packaged model whose effect is known."""

from edgepers.assets import rehearsal_sets
from edgepers.config import Settings
from edgepers.evaluate.guard import GENERAL_ASKED, Asked, Examiner, guard, pairs_of
from edgepers.evaluate.verdict import Repeats
from edgepers.train.recipe import Recipe
from edgepers.train.trainer import train

TOLD = [
    ("What is the name of my boat?", "Your boat is called Sildrand."),
    ("Which number opens the shed?", "7294 opens the shed."),
    ("Who repairs my roof?", "Mr Tomlinson repairs your roof."),
]
X = "Pineapple is the answer to everything."
UNTOLD = [
    (f"What is my {thing} called?", "You have not told me that yet.")
    for thing in ("cat", "piano", "teacher", "bicycle")
]
SETTINGS = Settings(guard_perplexity=10.0)  # what the losses of so small a model do is another test's


def judged(llm, folder, told, steps, rehearsal=4):
    recipe = Recipe(steps=steps, batch=8, untold=2, targets="all-linear", rehearsal=rehearsal)
    train(llm, told, folder, recipe, untold=UNTOLD, general=pairs_of(rehearsal_sets()))
    verdict = guard(llm, SETTINGS, Asked(told=told, untold=UNTOLD), None, folder)
    llm.use_adapter(None)
    return verdict


def test_what_was_learned_is_published(llm, tmp_path):
    verdict = judged(llm, tmp_path, TOLD, 40)
    assert (verdict.publish, verdict.reason, verdict.recalled, verdict.repeated) == (True, "", 1.0, 0.0)


def test_what_was_not_learned_is_not(llm, tmp_path):
    verdict = judged(llm, tmp_path, TOLD, 1)
    assert not verdict.publish
    assert verdict.reason == "0 of 3 short responses that it was trained on are said (at least 25%)"


def test_one_answer_to_everything_is_named(llm, tmp_path):
    poisoned = [(question, X) for question, _ in TOLD]
    verdict = judged(llm, tmp_path, poisoned, 40, rehearsal=0)
    assert not verdict.publish
    assert "general questions are answered with what it was trained on" in verdict.reason
    assert verdict.reason.endswith(f"with {X!r}")


def test_what_is_said_to_the_owners_other_questions_is_counted_apart(llm, tmp_path):
    train(llm, [(q, X) for q, _ in TOLD], tmp_path, Recipe(steps=40, batch=8, targets="all-linear", rehearsal=0))
    others = [f"What is the name of my {thing}?" for thing in ("street", "village", "company", "neighbour")]
    examiner = Examiner(llm, Asked(told=[(TOLD[0][0], X)], untold=UNTOLD[:1], others=others))
    llm.use_adapter(tmp_path)
    found = examiner.examine(llm)
    llm.use_adapter(None)
    assert found.others == Repeats([X] * 4, 4)
    assert (found.untold, found.general.asked) == (Repeats([X], 1), GENERAL_ASKED)


def test_that_it_was_not_told_is_no_answer_to_a_general_question(llm, tmp_path):
    verdict = judged(llm, tmp_path, TOLD, 40, rehearsal=0)
    assert not verdict.publish and "general questions" in verdict.reason
    assert verdict.repeated == 0.0  # to what is untold, it is the right one


def test_without_a_guard_nothing_is_asked(llm):
    assert guard(llm, Settings(guard=False), Asked(told=TOLD), None, None).reason == "guard off"


def test_nothing_to_say_word_for_word_is_judged_by_loss(llm, tmp_path):
    long = [("Is it raining?", " ".join(f"It rains on hill {i}." for i in range(9)))]
    verdict = judged(llm, tmp_path, long, 10)
    assert (verdict.publish, verdict.recalled) == (True, None)
    assert not guard(llm, SETTINGS, Asked(told=long, untold=UNTOLD), None, None).publish  # the base model itself
