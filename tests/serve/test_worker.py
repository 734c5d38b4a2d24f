import threading

import pytest

from edgepers.errors import BusyError
from edgepers.serve.worker import Worker
from tests.serve.running import until


@pytest.fixture
def gate():
    return threading.Event()


@pytest.fixture
def worker(gate):
    faults = []
    made = Worker(2, on_fault=faults.append)
    made.faults = faults
    yield made
    gate.set()
    made.close()


def test_answers_come_in_the_order_of_asking_and_what_can_wait_comes_after_them(worker, gate):
    done = []
    worker.submit(lambda _: gate.wait())
    until(lambda: worker.waiting == 0)
    worker.later(lambda: done.append("chore"))
    for number in range(2):
        worker.submit(lambda _, number=number: done.append(number))
    gate.set()
    until(lambda: len(done) == 3)
    assert done == [0, 1, "chore"]


def test_more_than_may_wait_are_refused_until_one_leaves(worker, gate):
    worker.submit(lambda _: gate.wait())
    until(lambda: worker.waiting == 0)
    tickets = [worker.submit(lambda _: None) for _ in range(2)]
    with pytest.raises(BusyError, match="2 requests wait already; ask again in 1 s"):
        worker.submit(lambda _: None)
    worker.leave(tickets[0])
    assert worker.waiting == 1 and tickets[0].left.is_set()
    worker.submit(lambda _: None)


def test_a_job_that_fails_ends_no_other(worker):
    done = []

    def fails(_):
        raise ValueError("secret")

    worker.submit(fails)
    worker.submit(lambda _: done.append(1))
    until(lambda: done)
    assert [type(fault) for fault in worker.faults] == [ValueError]


def test_idle_is_since_the_last_answer(worker, gate):
    worker.submit(lambda _: gate.wait())
    assert worker.idle_seconds == 0.0
    gate.set()
    until(lambda: worker.idle_seconds > 0.0)


def test_chores_wait_until_it_is_calm_and_are_done_at_the_end_all_the_same():
    done, worker = [], Worker(2, calm=lambda: False, on_fault=lambda _: None)
    worker.later(lambda: done.append(1))
    worker.submit(lambda _: done.append("answer"))
    until(lambda: done)
    assert done == ["answer"] and worker.chores == 1
    worker.close()
    assert done == ["answer", 1]


def test_too_many_chores_lose_the_oldest(monkeypatch):
    monkeypatch.setattr("edgepers.serve.worker.MOST_CHORES", 2)
    done, worker = [], Worker(2, calm=lambda: False, on_fault=lambda _: None)
    for number in range(3):
        worker.later(lambda number=number: done.append(number))
    assert worker.chores_lost == 1
    worker.close()
    assert done == [1, 2]
