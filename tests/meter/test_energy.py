"""The arithmetic of a meter: a clock and sources of our own, against integrals that are known."""

import math
import sys
import threading
from types import SimpleNamespace

import pytest

from edgepers.meter.energy import EnergyMeter, Spent


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Curve:
    """A source whose watts, or joules so far, are functions of time; `broken`: how many reads fail from now on."""

    name = "curve"

    def __init__(self, clock, rails, *, counts=False, totals=None) -> None:
        self.clock, self.rails, self.counts = clock, rails, counts
        self.totals = {"a": ("a",)} if totals is None else totals
        self.broken = 0
        self.closed = False

    def read(self):
        if self.broken:
            self.broken -= 1
            raise OSError(121, "Remote I/O error")
        return {rail: f(self.clock()) for rail, f in self.rails.items()}

    def close(self):
        self.closed = True


def passed(meter, clock, seconds, step):
    """Time goes on, with a sample every `step`."""
    for _ in range(round(seconds / step)):
        clock.now += step
        meter.sample()


@pytest.fixture
def clock():
    return Clock()


def test_a_power_that_rises_evenly_is_summed_up_exactly(clock):
    meter = EnergyMeter([Curve(clock, {"a": lambda t: 3 * (t - 100)})], clock=clock, interval_seconds=0)
    with meter.window() as window:
        passed(meter, clock, 10, 0.5)
        clock.now += 0.25  # the last sample is the window's own
    assert window.spent.seconds == pytest.approx(10.25)
    assert window.spent.joules == pytest.approx(1.5 * 10.25**2)
    assert window.spent.by == {"a": window.spent.joules}


def test_a_power_that_swings_is_summed_up_within_the_error_of_trapezoids(clock):
    meter = EnergyMeter([Curve(clock, {"a": lambda t: 10 + 5 * math.sin(t)})], clock=clock, interval_seconds=0)
    step, seconds = 0.1, 20.0
    with meter.window() as window:
        passed(meter, clock, seconds, step)
    truth = 10 * seconds + 5 * (math.cos(100) - math.cos(100 + seconds))
    assert window.spent.joules == pytest.approx(truth, abs=seconds * step**2 / 12 * 5)


def test_windows_lie_inside_each_other_and_what_is_between_them_is_in_none(clock):
    meter = EnergyMeter([Curve(clock, {"a": lambda t: 2.0})], clock=clock, interval_seconds=0)
    with meter.window() as outer:
        clock.now += 1
        with meter.window() as first:
            clock.now += 3
        clock.now += 5
        with meter.window() as second:
            clock.now += 7
    clock.now += 1000
    with meter.window() as later:
        clock.now += 1
    assert [w.spent.joules for w in (outer, first, second, later)] == pytest.approx([32, 6, 14, 2])
    assert (first.spent + second.spent).joules == pytest.approx(20)


def test_a_counter_is_read_at_the_ends_and_beside_watts_it_makes_up_the_whole(clock):
    gpu = Curve(clock, {"gpu": lambda t: 40 * t}, counts=True, totals={"gpu": ("gpu",)})
    cpu = Curve(clock, {"cpu": lambda t: 5.0, "part": lambda t: 1.0}, totals={"cpu": ("cpu",)})
    meter = EnergyMeter([gpu, cpu], clock=clock, interval_seconds=0)
    with meter.window() as window:
        clock.now += 2
    assert window.spent.joules == pytest.approx(90)
    assert window.spent.by == pytest.approx({"gpu": 80, "cpu": 10, "part": 2, "gpu + cpu": 90})
    assert meter.describe()["source"] == "curve + curve" and meter.describe()["covers"] == "gpu + cpu"


def test_two_sums_are_told_by_name_and_the_first_is_the_total(clock):
    rails = {"a": lambda t: 1.0, "b": lambda t: 2.0}
    meter = EnergyMeter(
        [Curve(clock, rails, totals={"a": ("a",), "a + b": ("a", "b")})], clock=clock, interval_seconds=0
    )
    with meter.window() as window:
        clock.now += 10
    assert window.spent.joules == pytest.approx(10)
    assert window.spent.by == pytest.approx({"a": 10, "b": 20, "a + b": 30})


def test_without_a_source_or_without_a_whole_joules_are_null_and_seconds_are_told(clock):
    for sources in ([], [Curve(clock, {"a": lambda t: 1.0}, totals={})]):
        meter = EnergyMeter(sources, clock=clock, interval_seconds=0)
        meter.measure_idle(sleep=lambda seconds: setattr(clock, "now", clock.now + seconds))
        with meter.window() as window:
            clock.now += 4
        assert (window.spent.seconds, window.spent.joules, window.spent.idle_joules) == (4, None, None)
        assert meter.describe()["source"] == ("curve" if sources else "none") and meter.describe()["idle_watts"] is None
        assert meter.cost_share is None


def test_power_at_rest_is_measured_and_stands_beside_the_gross_figure(clock):
    meter = EnergyMeter([Curve(clock, {"a": lambda t: 4.0 if t < 101.5 else 9.0})], clock=clock, interval_seconds=0)
    meter.measure_idle(sleep=lambda seconds: setattr(clock, "now", clock.now + seconds))
    clock.now += 1
    with meter.window() as window:
        clock.now += 10
    assert meter.idle_watts == pytest.approx(4)
    assert (window.spent.joules, window.spent.idle_joules) == pytest.approx((90, 40))


def test_a_sample_that_fails_is_bridged_and_an_end_that_cannot_be_read_makes_the_window_null(clock):
    source = Curve(clock, {"a": lambda t: 2 * t})
    meter = EnergyMeter([source], clock=clock, interval_seconds=0)
    with meter.window() as window:
        clock.now += 1
        source.broken = 1
        with pytest.raises(OSError, match="Remote"):
            meter.sample()
        clock.now += 1
        source.broken = 2  # the end asks three times
    assert window.spent.joules == pytest.approx(102**2 - 100**2)
    with meter.window() as window:
        clock.now += 1
        source.broken = 3
    assert window.spent.joules is None and window.spent.seconds == 1
    with meter.window() as window:
        clock.now += 1
    assert window.spent.joules is not None


def test_a_window_that_ends_in_an_error_is_metered_and_the_gpu_is_waited_for_before_the_meter_is_read(
    clock, monkeypatch
):
    order = []
    source = Curve(clock, {"a": lambda t: order.append("read") or 1.0})
    cuda = SimpleNamespace(is_initialized=lambda: True, synchronize=lambda: order.append("synchronize"))
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    meter = EnergyMeter([source], clock=clock, interval_seconds=0)
    with pytest.raises(KeyboardInterrupt), meter.window() as window:
        order.append("work")
        clock.now += 1
        raise KeyboardInterrupt
    assert order == ["synchronize", "read", "work", "synchronize", "read"]
    assert window.spent.joules == pytest.approx(1)
    cuda.is_initialized = lambda: False
    order.clear()
    with meter.window():
        pass
    assert order == ["read", "read"]


def test_what_was_not_metered_throughout_is_null_in_the_sum_and_nothing_is_the_sum_of_nothing():
    metered, unmetered = Spent(1.0, 5.0, 2.0, {"a": 5.0}), Spent(1.0)
    assert metered + metered == Spent(2.0, 10.0, 4.0, {"a": 10.0})
    assert metered + unmetered == unmetered + metered == Spent(2.0)
    assert Spent() + metered == metered + Spent() == metered
    assert Spent(1.23456, None, 2.34567).record() == {"seconds": 1.235, "joules": None, "idle_joules": 2.346, "by": {}}


def test_the_thread_samples_while_a_window_is_open_and_knows_what_it_costs():
    sampled = threading.Semaphore(0)
    source = Curve(lambda: 0.0, {"a": lambda t: sampled.release() or 2.0})
    meter = EnergyMeter([source], interval_seconds=0.001)
    with meter.window():
        with meter.window():
            pass
        for _ in range(20):  # more than the ends of the windows take: the thread goes on after the inner one
            assert sampled.acquire(timeout=30)
    meter.close()
    assert meter.cost_share is not None and meter.cost_share >= 0
    assert source.closed
    assert "edgepers-sampler" not in {thread.name for thread in threading.enumerate()}
