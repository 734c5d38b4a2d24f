import pytest
import torch

from edgepers.model.batches import length_groups, retry_halved

QUESTIONS = ["Hi", "What is bread?", "Where do cats sleep?", "Name a color.", "Who are you?"]


def test_length_groups_hold_every_index_once_within_the_budget():
    lengths = [5, 100, 7, 300, 7, 1]
    groups = list(length_groups(lengths, 210))
    assert sorted(i for group in groups for i in group) == list(range(6))
    assert all(len(group) == 1 or len(group) * max(lengths[i] for i in group) <= 210 for group in groups)


def test_a_batch_that_does_not_fit_is_run_in_halves():
    tried, done = [], []

    def run(group):
        tried.append(len(group))
        if len(group) > 2:
            raise torch.OutOfMemoryError
        done.extend(group)

    retry_halved([5, 3, 8, 1, 9], run)
    assert done == [5, 3, 8, 1, 9]
    assert tried == [5, 2, 3, 1, 2]


@pytest.mark.parametrize(
    ("error", "times"), [(MemoryError(), 3), (RuntimeError("shapes differ"), 1), (ValueError("odd"), 1)]
)
def test_one_set_that_does_not_fit_and_any_other_error_is_raised(error, times):
    tried = []

    def run(group):
        tried.append(group)
        raise error

    with pytest.raises(type(error)):
        retry_halved([0, 1, 2, 3], run)
    assert len(tried) == times


def test_memory_that_runs_out_in_a_batch_changes_no_answer_state_or_loss(llm, monkeypatch):
    pairs = [(question, "Fine.") for question in QUESTIONS]
    want = llm.answer(QUESTIONS, max_new_tokens=8), llm.encode(QUESTIONS)[0], llm.losses(pairs)
    pad, failed = llm._pad, []

    def padded(rows, *, left):
        if len(rows) > 2:
            failed.append(len(rows))
            raise MemoryError
        return pad(rows, left=left)

    monkeypatch.setattr(llm, "_pad", padded)
    assert llm.answer(QUESTIONS, max_new_tokens=8) == want[0]
    torch.testing.assert_close(llm.encode(QUESTIONS)[0], want[1])
    assert llm.losses(pairs) == pytest.approx(want[2], rel=1e-5)
    assert failed.count(5) == 3
