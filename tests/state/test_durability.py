"""`--admissions-per-commit N`: fewer commits, and nothing is acknowledged before its own."""

import shutil
from dataclasses import replace

import pytest

from edgepers.config import Settings
from edgepers.errors import UsageError
from edgepers.select.selector import Selector
from edgepers.state.buffer import Buffer
from edgepers.streams import Arrival, Cursor, DialogueSet

STORAGE = 96_000


def offer(buffer: Buffer, encoder, sets: int = 320, told=None) -> None:
    selector = Selector(buffer, encoder, policy="fifo")
    for first in range(buffer.progress.position // 16 * 16, sets, 16):
        dialogues = [
            DialogueSet(f"question {i} about " + f"thing{i % 7} " * (i % 40), f"answer {i}")
            for i in range(first, first + 16)
        ]
        selector.offer([Arrival(d, Cursor(0, 0), Cursor(0, 0)) for d in dialogues], first, told)


def test_a_batch_shares_a_commit_and_every_decision_is_acknowledged_in_order_once_it_is_durable(tmp_path, encoder):
    said = []

    def told(decision) -> None:
        said.append(decision.position)
        shutil.copytree(
            tmp_path / "batch", tmp_path / f"cut-{decision.position}"
        )  # as the disk would be, were the power cut
        with Buffer(tmp_path / f"cut-{decision.position}") as reader:
            assert reader.progress.position > decision.position

    with Buffer(tmp_path / "every", STORAGE) as buffer:
        offer(buffer, encoder)
        every = buffer.wear()
    with Buffer(tmp_path / "batch", STORAGE, batch=8) as buffer:
        offer(buffer, encoder, told=told)
        assert buffer.waiting == 0
        batch = buffer.wear()
        assert buffer.progress.peak_bytes <= STORAGE
        assert buffer.progress.admitted == 320
        assert len(buffer) == buffer.progress.admitted - buffer.progress.evicted
        buffer.check()
    assert said == list(range(320))
    assert batch["fsyncs"] < every["fsyncs"] / 2
    assert batch["written_bytes"] < every["written_bytes"] * 0.7


def test_an_interrupted_batch_is_decided_again_the_same_way(tmp_path, encoder):
    with Buffer(tmp_path / "whole", STORAGE, batch=8) as buffer:
        offer(buffer, encoder)
        expected = [kept.position for kept in buffer], buffer.progress.evicted

    class Cut(Exception):
        pass

    def cut(decision) -> None:
        if decision.position in (37, 161, 290) and decision.position not in seen:
            seen.add(decision.position)
            raise Cut

    seen: set[int] = set()
    for _ in range(4):
        with Buffer(tmp_path / "pieces", STORAGE, batch=8) as buffer:
            try:
                offer(buffer, encoder, told=cut)
            except Cut:
                continue
            assert ([kept.position for kept in buffer], buffer.progress.evicted) == expected


def test_a_failed_batch_leaves_what_was_durable(tmp_path, encoder):
    with Buffer(tmp_path / "state", STORAGE, batch=8) as buffer:
        offer(buffer, encoder, 32)
        kept = next(iter(buffer))
        assert len(buffer) == 32  # so that the marks are known, and must be given up with the batch
        progress = buffer.progress.decided(32, 0, buffer.progress.center, full=False)
        buffer.admit(replace(kept, position=32), [], progress)
        assert (buffer.waiting, len(buffer)) == (1, 33)
        with pytest.raises(Exception, match="set 99 was to leave"):
            buffer.admit(kept, [99], buffer.progress)
        assert (buffer.waiting, buffer.progress.position, len(buffer)) == (0, 32, 32)


@pytest.mark.parametrize("wrong", [0, -1, 1_000_000])
def test_what_is_no_number_of_admissions_is_one_line(wrong):
    with pytest.raises(UsageError, match=f"--admissions-per-commit is {wrong}; the (least|most) is"):
        Settings(admissions_per_commit=wrong)
