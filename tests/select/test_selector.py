import random

import pytest

from edgepers.annotate.requests import annotate
from edgepers.annotate.sources import Answer
from edgepers.config import POLICIES
from edgepers.errors import BudgetError, StateError, UsageError
from edgepers.hashing import hash_text, mix
from edgepers.select.lexicon import Lexicon, Lexicons
from edgepers.select.micro_batches import MICRO_BATCH, MicroBatches
from edgepers.select.policy import GRID, UNKNOWN
from edgepers.select.scores import CENTER_SETS
from edgepers.select.selector import Selector
from edgepers.state.buffer import Buffer
from edgepers.state.progress import Progress
from edgepers.streams import Cursor, DialogueSet, IterableStream
from tests.conftest import WordEncoder

WORDS = "cook bread doctor pain river mountain train ticket piano song bank money sister brother goal team".split()


def stream(n: int) -> IterableStream:
    rng = random.Random(1)

    def text(least: int) -> str:
        return " ".join(
            rng.choice(WORDS) + str(rng.randrange(30)) * rng.randrange(2) for _ in range(rng.randrange(least, 60))
        )

    return IterableStream([DialogueSet(text(3), text(1), text(1), str(i)) for i in range(n)])


def feed_all(
    buffer: Buffer, encoder, source: IterableStream, policy="quality", stop_at=None, leave_at=None, **options
) -> None:
    """The rest of a stream, decided as the product decides it.

    Interrupted once a set at or after `stop_at` is decided; left between two micro-batches at or after `leave_at`.
    """
    selector = Selector(buffer, encoder, policy=policy, **options)
    batches = MicroBatches(source, buffer.progress, strict=False, log=lambda _: None)

    def interrupt(decision):
        if stop_at is not None and decision.position >= stop_at:
            raise KeyboardInterrupt

    while batch := batches.next():
        selector.decide(batch, interrupt)
        if leave_at is not None and batch.end >= leave_at:
            return


def contents(buffer: Buffer) -> list[tuple]:
    return [(k.position, k.question, k.domain, k.entropy, k.domain_score, k.embedding.tobytes()) for k in buffer]


class LosingEncoder(WordEncoder):
    """Also tells losses: any fixed number of the pair will do."""

    def losses(self, pairs, *, adapter):
        assert not adapter
        return [mix(*map(hash_text, pair)) / 2**63 for pair in pairs]


@pytest.fixture
def encoder() -> LosingEncoder:
    return LosingEncoder()


@pytest.mark.parametrize("policy", POLICIES)
def test_an_interrupted_stream_decides_as_an_uninterrupted_one(tmp_path, encoder, policy):
    source = stream(420)
    with Buffer(tmp_path / "whole", 64_000) as buffer:
        feed_all(buffer, encoder, source, policy)
        expected, progress = contents(buffer), buffer.progress
        assert progress.position == progress.admitted + sum(progress.dropped.values())
        assert len(buffer) == progress.admitted - progress.evicted
        assert progress.evicted > 0
    rng = random.Random(2)
    at = 0
    while at < 420:
        at += rng.randrange(5, 120)  # hardly ever a multiple of 32: in the middle of a micro-batch
        buffer, how = Buffer(tmp_path / "pieces", 64_000), rng.choice(["killed", "interrupted", "left", "left"])
        if at >= 420:
            feed_all(buffer, encoder, source, policy)
        elif how == "left":
            feed_all(buffer, encoder, source, policy, leave_at=at)
        else:
            with pytest.raises(KeyboardInterrupt):
                feed_all(buffer, encoder, source, policy, stop_at=at)
        if how != "killed":  # whoever leaves in order notes the position
            buffer.save(buffer.progress)
        buffer.close()
    with Buffer(tmp_path / "pieces", 64_000) as buffer:
        feed_all(buffer, encoder, source, policy)
        assert contents(buffer) == expected
        assert (buffer.progress.admitted, buffer.progress.evicted, buffer.progress.dropped) == (
            progress.admitted,
            progress.evicted,
            progress.dropped,
        )


def test_the_center_is_frozen_after_256_sets_and_the_same_after_reopening(tmp_path, encoder):
    source = stream(300)
    with Buffer(tmp_path, 100_000) as buffer:
        feed_all(buffer, encoder, source)
        center = buffer.progress.center
        assert center is not None
        assert center.sets == CENTER_SETS
        hidden, _ = encoder.encode([f"{d.question}\n{d.response}" for d in source._dialogues[:CENTER_SETS]])
        assert (center.total / center.rows) == pytest.approx(hidden.double().mean(0).numpy(), abs=1e-5)
        buffer.save(buffer.progress)
    with Buffer(tmp_path, 100_000) as buffer:
        assert buffer.progress.center.total.tobytes() == center.total.tobytes()


def test_micro_batches_are_aligned_to_the_position_whatever_came_before():
    source = stream(100)
    feed = MicroBatches(
        source,
        Progress(),
        strict=False,
        log=print,
    )
    ends = []
    while batch := feed.next(40):
        ends.append((feed.position, len(batch)))
    assert ends == [(32, MICRO_BATCH), (40, 8)]
    assert [len(feed.next()) for _ in range(4)] == [24, 32, 4, 0]


def test_annotated_sets_leave_only_when_nothing_else_can(tmp_path, encoder):
    source = stream(200)
    with Buffer(tmp_path, 64_000) as buffer:
        feed_all(buffer, encoder, source, "fifo")
        selector = Selector(buffer, encoder, policy="fifo")
        oldest = next(iter(buffer)).position
        assert selector.annotate(oldest, "What I wanted.", 1) == ""
        kept = buffer.get(oldest)
        assert (kept.wanted, kept.verdict, kept.asked) == ("What I wanted.", "corrected", 1)
        rest = list(IterableStream(stream(400)._dialogues[200:]).read(Cursor(), lambda _: None))
        selector.offer(rest[:16], 200)
        selector.offer(rest[16:32], 216)
        assert selector.holds(oldest)
        assert selector.annotate(buffer.get(oldest).position, None, 2) == ""
        assert buffer.get(oldest).wanted == kept.response


def test_an_annotation_makes_room_or_says_why_not(tmp_path, encoder):
    with Buffer(tmp_path, 64_000) as buffer:
        feed_all(buffer, encoder, stream(200))
        selector = Selector(buffer, encoder)
        position = max(kept.position for kept in buffer)
        before = len(buffer)
        assert selector.annotate(position, " ".join(str(i * 7919) for i in range(300)), 1) == ""
        assert len(buffer) < before
        assert len(buffer) == buffer.progress.admitted - buffer.progress.evicted
        assert selector.annotate(position, "".join(chr(200 + i % 5000) for i in range(30_000)), 1) == "too_big"
        assert buffer.progress.annotated == 2
        assert buffer.disk_bytes() <= 64_000


def test_answers_that_cannot_be_kept_are_asked_for_once_in_a_full_buffer(tmp_path, encoder):
    endless = Answer("".join(chr(200 + i % 5000) for i in range(30_000)))
    with Buffer(tmp_path, 48_000) as buffer:
        feed_all(buffer, encoder, stream(600), "fifo")
        selector = Selector(buffer, encoder, policy="fifo")
        before = len(buffer)
        assert annotate(selector, lambda kept: endless, 1, 600) == {"too_big": before}
        assert [kept.asked for kept in buffer] == [1] * before
        assert buffer.disk_bytes() <= 48_000


def test_noting_that_a_set_was_asked_about_makes_room_where_there_is_none(tmp_path, encoder, monkeypatch):
    with Buffer(tmp_path, 64_000) as buffer:
        feed_all(buffer, encoder, stream(300), "fifo")
        selector = Selector(buffer, encoder, policy="fifo")
        kept, newest = len(buffer), max(one.position for one in buffer)
        monkeypatch.setattr(buffer, "mark_asked", lambda position, round_number: False)
        selector.mark_asked(newest, 7)
        assert buffer.get(newest).asked == 7
        assert kept - 1 <= len(buffer) <= kept
        assert selector.holds(newest)


def test_a_record_too_big_for_the_budget_is_dropped_with_its_reason(tmp_path, encoder):
    big = DialogueSet(" ".join(str(i * 7919) for i in range(5000)), "r", None, "big")
    with Buffer(tmp_path, 64_000) as buffer:
        decisions = Selector(buffer, encoder).offer(list(IterableStream([big]).read(Cursor(), print)))
        assert (decisions[0].admitted, decisions[0].reason) == (False, "too_big")


def test_a_policy_is_a_plain_callable_and_must_make_room(tmp_path, encoder):
    arrivals = list(stream(120).read(Cursor(), print))
    with Buffer(tmp_path / "a", 64_000) as buffer:
        Selector(buffer, encoder, policy=lambda new, kept, room: None).offer(arrivals)
        assert len(buffer) == 0
    with Buffer(tmp_path / "b", 64_000) as buffer, pytest.raises(BudgetError, match="a policy must evict more"):
        Selector(buffer, encoder, policy=lambda new, kept, room: []).offer(arrivals)
    with Buffer(tmp_path / "c", 64_000) as buffer, pytest.raises(UsageError, match="'best' is unknown"):
        Selector(buffer, encoder, policy="best")


def test_a_buffer_of_another_encoder_seed_or_lexicons_is_refused(tmp_path, encoder):
    with Buffer(tmp_path, 64_000) as buffer:
        Selector(buffer, encoder, seed=1)
        with pytest.raises(StateError, match="another seed"):
            Selector(buffer, encoder, seed=2)
        with pytest.raises(StateError) as refused:
            Selector(buffer, encoder, seed=1, lexicons=Lexicons((Lexicon("bees", frozenset({"hive"})),)))
        assert str(refused.value) == (
            f"state {tmp_path}: made with other lexicons than these (bees); "
            "give --lexicons with the folder as it was then, or a new --state"
        )
        encoder.identity = "other"
        with pytest.raises(StateError, match="another model"):
            Selector(buffer, encoder, seed=1)


def test_a_policy_is_told_the_losses_that_it_needs_and_no_encoder_is_asked_in_vain(tmp_path, encoder):
    arrivals = list(stream(16).read(Cursor(), print))
    told = []

    def by_loss(new, kept, room):
        told.append(new.loss)
        return []

    with Buffer(tmp_path / "a", 64_000) as buffer:
        Selector(buffer, encoder, policy=by_loss).offer(arrivals[:3])
        assert told == [UNKNOWN] * 3
        by_loss.needs = ("loss",)
        Selector(buffer, encoder, policy=by_loss).offer(arrivals[3:6])
        pairs = [(a.dialogue.question, a.dialogue.response) for a in arrivals[3:6]]
        assert told[3:] == [round(loss * GRID) for loss in encoder.losses(pairs, adapter=False)]
        by_loss.needs = ("price",)
        with pytest.raises(UsageError, match="policy by_loss: needs 'price'; a selector can find out 'loss' alone"):
            Selector(buffer, encoder, policy=by_loss)
    with Buffer(tmp_path / "b", 64_000) as buffer:
        with pytest.raises(
            UsageError, match="policy loss needs the loss of each response, and WordEncoder has no 'losses'"
        ):
            Selector(buffer, WordEncoder(), policy="loss")
        Selector(buffer, WordEncoder())


def test_what_is_told_of_a_newcomer_is_told_of_it_when_kept(tmp_path, encoder):
    seen = []

    def note(new, kept, room):
        seen.append((new, kept.characters.tolist(), kept.stored_bytes.tolist()))
        return []

    with Buffer(tmp_path, 100_000) as buffer:
        Selector(buffer, encoder, policy=note).offer(list(stream(5).read(Cursor(), print)))
        Selector(buffer, encoder, policy=note).offer(
            list(stream(6).read(Cursor(), print))
        )  # after reading the buffer again
        news = [new for new, _, _ in seen]
        assert seen[-1][1:] == ([new.characters for new in news[:-1]], [new.stored_bytes for new in news[:-1]])
        assert [new.characters for new in news] == [len(k.question) + len(k.response) for k in buffer]


def test_decisions_say_why_only_where_the_selector_explains(tmp_path, encoder):
    arrivals = list(stream(4).read(Cursor(), print))
    with Buffer(tmp_path, 64_000) as buffer:
        assert Selector(buffer, encoder).offer(arrivals[:2])[0].why == ""
        assert Selector(buffer, encoder, explain=True).offer(arrivals[2:], 2)[0].why.startswith("kept: there was room")
