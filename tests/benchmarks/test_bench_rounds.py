from benchmarks.bench_rounds import WORDINGS, Change, fact_of, stream_of
from studies.owners.owners import load_owner

OWNERS = [load_owner("emily"), load_owner("priya")]


def test_the_stream_is_both_owners_and_as_much_other_talk_in_an_order_of_the_seed():
    stream = stream_of(OWNERS, 0)
    facts = {f"{one.name}/{fact.id}": fact for one in OWNERS for fact in one.facts}
    own = [one for one in stream if fact_of(one.id or "") in facts]
    assert 2 * len(own) == len(stream)
    for name, fact in facts.items():
        asked = [one for one in own if fact_of(one.id) == name]
        assert [one.question for one in sorted(asked, key=lambda one: one.id)] == list(fact.asked[:WORDINGS])
        assert {one.reference for one in asked} == {fact.reference}
    assert stream == stream_of(OWNERS, 0) != stream_of(OWNERS, 1)


def test_a_changed_fact_is_told_as_before_with_another_value():
    fact = next(fact for fact in OWNERS[0].facts if any(word in fact.reference for word in fact.keywords))
    made = Change(fact, "Zephyrine")
    assert "Zephyrine" in made.reference and made.reference != fact.reference
    assert not fact.known(made.reference)
