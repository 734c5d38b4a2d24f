"""Orders of asking other than by coverage, each beside a slow one."""

import math

import numpy as np
import pytest

from edgepers.annotate.orders import ORDERS
from edgepers.annotate.requests import annotate, requests
from edgepers.annotate.sources import Answer
from edgepers.config import Settings
from edgepers.errors import UsageError
from edgepers.select.selector import Selector
from edgepers.select.verdicts import Verdicts
from edgepers.state.buffer import Buffer
from edgepers.state.embedding import scale
from edgepers.streams import Arrival, Cursor, DialogueSet
from tests.conftest import WordEncoder

TEXTS = [f"dog number {i} eats {'fish' if i % 3 else 'bread and rice'}" for i in range(20)]


class LossEncoder(WordEncoder):
    def losses(self, pairs, *, adapter):
        assert not adapter
        return [float(int(question.split()[2]) * 7 % 11) for question, _ in pairs]


@pytest.fixture
def selector(tmp_path):
    with Buffer(tmp_path, 100_000) as buffer:
        made = Selector(buffer, LossEncoder(), with_losses=True)
        made.offer([Arrival(DialogueSet(text, f"{text}, then."), Cursor(0), Cursor(0)) for text in TEXTS])
        annotate(made, lambda kept: Answer("No."), 1, 3, "newest")
        yield made


def order(selector, ask):
    return [kept.position for kept in requests(selector, 2, 99, ask)]


@pytest.mark.parametrize("ask", ["coverage", *ORDERS])
def test_every_order_asks_about_each_unjudged_set_once(selector, ask):
    assert sorted(order(selector, ask)) == list(range(17))


@pytest.mark.parametrize("ask", ["coverage", *ORDERS])
def test_every_order_is_one_of_nothing_where_there_is_nothing(tmp_path, ask):
    with Buffer(tmp_path / "none", 100_000) as buffer:
        assert requests(Verdicts(buffer), 1, 16, ask) == []


def test_the_loss_that_is_asked_about_first_is_the_highest(selector):
    losses = [selector.buffer.get(position).loss for position in order(selector, "loss")]
    assert losses == sorted(losses, reverse=True) and len(set(losses)) > 3


def test_losses_that_nobody_has_measured_come_last_and_newest_first(tmp_path):
    with Buffer(tmp_path / "state", 100_000) as buffer:
        for measured, texts in ((False, TEXTS[:3]), (True, TEXTS[3:5])):
            made = Selector(buffer, LossEncoder(), with_losses=measured)
            made.offer([Arrival(DialogueSet(text, "Yes."), Cursor(0), Cursor(0)) for text in texts])
        found = requests(made, 1, 16, "loss")
        assert [kept.position for kept in found][2:] == [2, 1, 0]
        assert [math.isnan(kept.loss) for kept in found] == [False, False, True, True, True]


def test_quality_is_the_sum_of_ranks_of_the_three_scores(selector):
    sets = list(selector.buffer)
    size = scale(sets[0].embedding.size) ** 2

    def dissimilarity(one):
        others = [o for o in sets if o.domain == one.domain and o is not one]
        return 1 - np.mean([one.embedding.astype(int) @ o.embedding.astype(int) / size for o in others])

    columns = [[one.entropy for one in sets], [one.domain_score for one in sets], [dissimilarity(one) for one in sets]]
    columns = [np.rint(np.array(column) * 4096) for column in columns]  # as scores are compared
    value = [sum(2 * int((c < c[i]).sum()) + int((c == c[i]).sum()) for c in columns) for i in range(len(sets))]
    assert order(selector, "quality") == sorted(range(17), key=lambda i: (-value[i], -i))


def test_kcenter_asks_about_what_is_farthest_from_all_that_was_asked_about(selector):
    sets = {kept.position: kept.embedding.astype(int) for kept in selector.buffer}
    asked, left, slow = [17, 18, 19], list(range(17)), []
    while left:
        slow.append(min(left, key=lambda i: (max(sets[i] @ sets[j] for j in asked), -i)))
        asked.append(slow[-1])
        left.remove(slow[-1])
    assert order(selector, "kcenter") == slow


def test_the_owner_gets_losses_measured_where_the_order_needs_them(llm, tmp_path):
    from edgepers.personalize import Personalizer

    for ask in ("loss", "newest"):
        with Personalizer(tmp_path / ask, Settings.make({"ask": ask}), llm=llm) as owner:
            owner.selector.offer([Arrival(DialogueSet("My dog?", "Moon."), Cursor(0), Cursor(0))])
            (kept,) = owner.buffer
            assert math.isnan(kept.loss) == (ask == "newest")


def test_an_encoder_without_losses_is_refused_where_they_are_needed(tmp_path):
    with Buffer(tmp_path / "state", 100_000) as buffer, pytest.raises(UsageError, match="has no 'losses'"):
        Selector(buffer, WordEncoder(), with_losses=True)
