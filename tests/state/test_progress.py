from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest

from edgepers.state.progress import Progress
from edgepers.state.records import CenterSum
from edgepers.streams import Cursor


def test_a_progress_comes_back_from_its_bytes_with_every_field():
    center = CenterSum(2, 9, np.arange(4, dtype=np.float32))
    one = Progress(stream="abc", rouge1_before=0.25, center=center).batch_begun(32, Cursor(700, 40, 3, 1))
    one = one.decided(35, 3, center, full=True).set_dropped("policy").set_admitted(35).verdict_given()
    one = one.round_done(1, synthesized=2, refused={"same": 1}, published="0001", keep=3).key_retired(4)
    again = Progress.unpack(one.pack(), center)
    assert again == one
    assert [type(getattr(again, f.name)) for f in fields(one)] == [type(getattr(one, f.name)) for f in fields(one)]


def test_nobody_changes_a_progress_in_place():
    progress = Progress()
    with pytest.raises(FrozenInstanceError):
        progress.position = 3
    progress.set_dropped("policy"), progress.set_admitted(0), progress.spoken()
    assert progress == Progress()


def test_a_chat_in_the_middle_of_a_micro_batch_makes_the_stream_pass_over_what_it_had_decided():
    here, after = Cursor(100, 16), Cursor(300, 32)
    middle = replace(Progress().batch_begun(16, here), position=21)  # five of the micro-batch are decided
    spoken = middle.spoken()
    assert (spoken.batch_skip, spoken.batch_position, spoken.batch_cursor) == (5, 22, middle.batch_cursor)
    twice = spoken.decided(21, 0, None, full=False).spoken()
    assert (twice.position, twice.batch_skip, twice.batch_position) == (22, 5, 23)
    done = twice.decided(22, 0, None, full=False).batch_begun(23, here).batch_done(34, after)
    assert (done.batch_skip, done.batch_position, done.batch_cursor) == (0, 34, (300, 32, 0, 0))


def test_the_next_round_is_at_the_next_multiple_after_the_last():
    for seen, every, due in ((0, 200, 200), (199, 200, 200), (200, 200, 400), (230, 200, 400), (60, 24, 72)):
        assert Progress(round_position=seen).next_round(every) == due


def test_what_is_published_follows_rounds_rollbacks_and_withdrawals():
    progress = Progress()
    for number, name in ((1, "0001"), (2, None), (3, "0003"), (4, "0004")):
        progress = progress.round_done(number, synthesized=0, refused={}, published=name, keep=2)
    assert (progress.published, progress.earlier, progress.rounds) == ("0004", ("0001", "0003"), 4)
    assert progress.rolled_back().published == "0003"
    assert progress.rolled_back().rolled_back().rolled_back().published == ""
    withdrawn = progress.adapters_withdrawn(("0003", "0004"))
    assert (withdrawn.published, withdrawn.earlier, withdrawn.withdrawn) == ("0001", (), ("0003", "0004"))
    assert progress.adapters_withdrawn(("0001",)).published == "0004"
    assert withdrawn.withdrawal_done().withdrawn == ()


def test_the_first_stream_names_the_state_and_a_later_one_does_not():
    first = Progress().batch_begun(0, Cursor(), "one")
    assert first.batch_begun(16, Cursor(9, 9), "other").stream == "one"
