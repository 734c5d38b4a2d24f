from hypothesis import given
from hypothesis import strategies as st

from edgepers.state.marks import Mark, Marks

CHANGES = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3), st.booleans(), st.booleans()), max_size=60)


@given(CHANGES)
def test_marks_count_and_order_as_a_plain_list_does_after_any_changes(changes):
    marks, plain = Marks(), {}
    for position, asked, annotated, stays in changes:
        if stays:
            mark = Mark(asked, annotated, 100 + position)
            marks.put(position, mark)
            plain[position] = mark
        elif position in plain:
            marks.drop(position)
            del plain[position]
    rows = sorted(plain.items())
    assert [(position, marks[position]) for position in marks] == rows and len(marks) == len(rows)
    assert marks.asked == sum(mark.asked > 0 for _, mark in rows)
    assert marks.annotated == sum(mark.annotated for _, mark in rows)
    assert list(marks.unjudged()) == [position for position, mark in rows if not mark.annotated]
    for number in range(4):
        assert marks.asked_in(number) == sum(mark.asked == number for _, mark in rows)
        waiting = [(m.asked, -p) for p, m in rows if not m.annotated and m.asked != number]
        assert marks.pending(number) == [-negative for _, negative in sorted(waiting)]


def test_marks_say_what_they_hold():
    marks = Marks([(3, Mark(0, False, 90))])
    assert 3 in marks and 4 not in marks
