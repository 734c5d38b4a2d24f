import pytest

from edgepers.annotate.reasons import reasons
from edgepers.annotate.sources import SKIPPED
from edgepers.assets import sample_stream
from edgepers.chat.session import Session
from edgepers.config import Settings
from edgepers.errors import StateError, UsageError
from edgepers.personalize import Personalizer
from edgepers.select.index import Index
from edgepers.state.embedding import stored_width
from edgepers.state.forget import forget

QUICK = {"every": 200, "annotations_per_round": 3, "generations": 0, "steps": 2, "storage": 64_000, "rehearsal": 0}


@pytest.fixture
def session(llm, tmp_path):
    with Personalizer(tmp_path / "state", Settings.make(QUICK), llm=llm, source=lambda _: SKIPPED) as owner:
        yield Session(owner)


def test_an_answer_comes_in_pieces_and_is_what_the_model_answers(session, llm):
    pieces = []
    exchange = session.ask("What is the capital of France?", pieces.append)
    assert len(pieces) > 1
    assert "".join(pieces) == exchange.answer == llm.answer([exchange.question], max_new_tokens=256)[0]
    assert session.base() == exchange.answer
    assert exchange.decision.admitted and session.why().startswith("kept: there was room")


def test_verdicts_are_kept_and_learned(session):
    with pytest.raises(StateError, match="nothing has been asked yet"):
        session.judge(None)
    session.ask("What is my dog called?", lambda _: None)
    assert session.judge("Your dog is called Moon.") == "noted: it will learn that"
    session.ask("Hello there", lambda _: None)
    assert session.judge(None) == "noted: fine as it was"
    assert session.judge(None) == "noted already: good"
    assert {kept.wanted for kept in session.owner.buffer} >= {"Your dog is called Moon."}
    done = session.round()
    assert done["train_steps"] == 2 and done["train_sets"] + done["reserve_sets"] == 2
    trained = session.owner.state.round_reports(1)[0]["trained_on"]
    if 0 in trained:
        session.last = None
        assert "withdrew adapter 0001" in session.forget("Moon")
    assert session.verdicts == 2


def test_the_last_verdict_on_an_exchange_is_taken_back_until_a_round_reads_it(session):
    one = session.hear("What is my dog called?", "A dog.").position
    two = session.hear("Hello there", "Hello.").position
    session.judge(None, one)
    session.judge("Moon.", one)
    session.asked(two)
    assert session.take_back(one) == session.take_back(two) == "taken back"
    assert session.owner.buffer.get(one).verdict == session.exchange(one).verdict == "good"  # what it was before
    assert session.owner.buffer.get(two).asked == 0 and session.verdicts == 1
    with pytest.raises(StateError, match="no verdict of this chat to take back"):
        session.take_back(one)
    session.judge("Moon.", one)
    session.round()
    with pytest.raises(StateError, match="a round has read the verdict since"):
        session.take_back(one)
    session.judge("Moon it is.", one)
    session.forget(position=one)
    with pytest.raises(StateError, match="no verdict of this chat"):
        session.take_back(one)


def test_a_thumbs_down_is_kept_teaches_nothing_and_gives_way_to_a_correction(session):
    session.ask("What is my dog called?", lambda _: None)
    said = session.last.answer
    wrong = "noted: that was wrong; it learns what is right from a correction alone"
    assert session.judge(None, bad=True) == wrong
    assert session.judge(None, bad=True) == "noted already: bad"
    (kept,) = session.owner.buffer
    assert (kept.verdict, kept.reference, kept.response, kept.rejected) == ("bad", None, said, True)
    done = session.round()
    assert (done["train_steps"], done["rejected_sets"], done["annotated_sets"]) == (0, 1, 0)
    assert session.judge("Your dog is called Moon.") == "noted: it will learn that"
    assert session.round()["train_sets"] == 1
    assert session.judge(None, bad=True) == wrong
    (kept,) = session.owner.buffer
    assert (kept.verdict, kept.reference) == ("bad", None)
    assert session.judge(None) == "noted: fine as it was"
    assert session.verdicts == 1


def test_a_dropped_exchange_that_its_owner_calls_wrong_is_kept_after_all(session):
    session.owner.selector._policy = lambda newcomer, kept, room: None
    session.ask("What is my dog called?", lambda _: None)
    session.judge(None, bad=True)
    assert [kept.verdict for kept in session.owner.buffer] == ["bad"]


def test_an_empty_correction_is_refused_by_name(session):
    session.ask("What is my dog called?", lambda _: None)
    with pytest.raises(UsageError, match=r"^set 0: its correction is empty; give the wanted response"):
        session.judge("  ")
    assert session.verdicts == session.owner.buffer.progress.annotated == 0


def test_a_dropped_exchange_that_its_owner_corrects_is_kept_after_all(session):
    session.owner.selector._policy = lambda newcomer, kept, room: None
    exchange = session.ask("What is my dog called?", lambda _: None)
    assert not exchange.decision.admitted and len(session.owner.buffer) == 0
    assert session.forget() == "it was not kept, so there is nothing to forget"
    assert session.judge("Moon.") == "noted: it will learn that"
    progress = session.owner.buffer.progress
    assert (len(session.owner.buffer), progress.admitted, sum(progress.dropped.values()), progress.position) == (
        1,
        1,
        0,
        1,
    )
    assert session.why().startswith("kept since you judged it; before that: dropped")
    assert session.judge("Moon, your dog.") == "noted: it will learn that"
    assert next(iter(session.owner.buffer)).wanted == "Moon, your dog."
    assert session.forget().startswith("forgot 1")
    assert len(session.owner.buffer) == 0


def test_a_verdict_may_be_on_any_exchange_by_its_position(session):
    """As two pages do that each show their own."""
    first = session.ask("What is my dog called?", lambda _: None)
    session.owner.selector._policy = lambda newcomer, kept, room: None
    dropped = session.ask("What is my cat called?", lambda _: None)
    last = session.ask("Hello there", lambda _: None)
    assert [one.position for one in (first, dropped, last)] == [0, 1, 2]
    assert session.judge("Your dog is called Moon.", first.position) == "noted: it will learn that"
    assert session.judge("Your cat is called Sun.", dropped.position) == "noted: it will learn that"
    assert session.exchange(0).verdict == session.exchange(1).verdict == "corrected" and not last.verdict
    assert [(k.position, k.wanted) for k in session.owner.buffer] == [
        (0, "Your dog is called Moon."),
        (1, "Your cat is called Sun."),
    ]
    assert session.why(1).startswith("kept since you judged it") and session.why().startswith("dropped")
    assert session.judge(None, 0) == "noted already: corrected"
    with pytest.raises(StateError, match="exchange 7 is not one of the last 256 of this chat"):
        session.judge(None, 7)
    fresh = Index(stored_width(session.owner.llm.topic_width), session.owner.buffer).kept()
    assert fresh.position.tolist() == session.owner.selector._index.kept().position.tolist() == [0, 1]


def test_a_verdict_on_what_has_left_since_is_refused_and_counts_nothing(session):
    session.ask("What is my dog called?", lambda _: None)
    forget(session.owner.state, session.owner.buffer, list(session.owner.buffer))
    session.owner.selector.reload()
    assert session.judge("Moon.").startswith("too late: it has left since")
    assert session.verdicts == session.owner.buffer.progress.annotated == 0


def test_it_asks_at_most_the_rounds_number_and_only_about_what_was_just_kept(session):
    asked = 0
    for i in range(5):
        session.ask(f"Question number {i}?", lambda _: None)
        if session.may_ask:
            session.asked()
            asked += 1
    assert asked == QUICK["annotations_per_round"]


def test_a_stream_goes_on_where_it_was_after_a_chat_came_between(llm, tmp_path):
    """Sets seen, in whatever order, are each counted once: none of the file's is lost to the chat or decided twice."""
    settings = Settings.make(QUICK | {"storage": 281_000})
    with Personalizer(tmp_path / "state", settings, llm=llm) as owner:
        owner.select(sample_stream(), limit=21)  # in the middle of a micro-batch
        for i in range(3):
            Session(owner).ask(f"Something else {i}?", lambda _: None)
    with Personalizer(tmp_path / "state", settings, llm=llm) as owner:
        report = owner.select(sample_stream(), limit=43)
        kept = [k.id for k in owner.buffer]
        said = [k.question for k in owner.buffer if not k.id]
    with Personalizer(tmp_path / "plain", settings, llm=llm) as owner:
        owner.select(sample_stream(), limit=40)
        plain = [k.id for k in owner.buffer]
    assert report["seen"] == 43
    assert [name for name in kept if name] == plain and len(said) == 3


def test_a_kept_answer_is_known_by_its_name_and_its_position_after_a_restart(session):
    said = session.hear("What is my dog called?", "I do not know.", "answer-1")
    again = Session(session.owner)
    assert again.named("answer-1").position == said.position == again.exchange(said.position).position
    assert again.judge("Your dog is called Moon.", said.position) == "noted: it will learn that"
    assert session.owner.buffer.get(said.position).verdict == "corrected"
    assert again.forget(position=said.position).startswith("forgot 1")
    with pytest.raises(StateError, match="answer 'answer-1' is not one of the last 256, and was not kept"):
        again.named("answer-1")


def test_a_dropped_answer_keeps_its_name_when_it_is_corrected(session):
    session.owner.selector._policy = lambda newcomer, kept, room: None
    said = session.hear("What is my dog called?", "I do not know.", "answer-1")
    assert not said.decision.admitted and session.named("answer-1") == said
    session.judge("Moon.", said.position)
    assert [kept.id for kept in session.owner.buffer] == ["answer-1"]


def test_what_was_asked_again_is_counted_judged_and_forgotten_with_the_first(session):
    owner = session.owner
    first, again = (session.hear(question, "Moon.") for question in ("What is my dog called?", "What's my dog called?"))
    assert (again.decision.admitted, again.decision.same, session.kept) == (False, first.position, 1)
    assert session.why().startswith("counted on set 0, which asks the same, now 2 times") and not session.may_ask
    assert session.judge("Star.") == "noted: it will learn that"
    assert [kept.wanted for kept in owner.buffer] == ["Moon.", "Star."]
    third = session.hear("What is my dog called?", "Star.")
    assert third.decision.same == again.position
    assert session.forget() == "forgot 1 of what was kept" and session.last is None
    assert [kept.wanted for kept in owner.buffer] == ["Moon."]
    with pytest.raises(StateError, match="not one of the last"):
        session.exchange(third.position)


def test_an_answer_that_its_owner_takes_back_is_asked_about_first_and_why(session):
    owner = session.owner
    for question in ("Where do I live?", "What is my dog called?", "When do I get up?"):
        session.hear(question, "I cannot know.")
    assert session.why(1).endswith("\nnot judged: nothing else that you asked is like it")
    session.doubt(session.exchange(1), "Thanks.")
    assert owner.requests()[0].question == "When do I get up?"  # all alike: the newest
    session.doubt(session.exchange(1), "No, I asked for her name.")
    session.judge("In Ulm.", 0)
    session.doubt(session.exchange(0), "No, in Graz.")  # judged: the verdict stands
    assert [kept.doubted for kept in owner.buffer] == [False, True, False]
    asked = owner.requests()
    assert asked[0].position == 1
    assert reasons(owner.verdicts, asked)[0] == "what you said next takes its answer back"
    assert session.why(1).endswith("\nnot judged: what you said next takes its answer back")
    assert "\n" not in session.why(0)
    owner.buffer.check()


def test_what_is_typed_next_takes_back_what_was_answered(session):
    session.ask("What is my dog called?", lambda _: None)
    session.ask("What is my dog called?", lambda _: None)
    kept = session.owner.buffer.get(0)
    doubted = not kept.response.rstrip().endswith("?")
    session.ask("No, I meant the other dog.", lambda _: None)
    assert session.owner.buffer.get(0).doubted == doubted and session.owner.buffer.get(0).repeats == 1
