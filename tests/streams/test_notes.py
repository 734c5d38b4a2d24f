"""What is left out or malformed is said once a kind, with a count."""

from edgepers.streams.notes import Complaints, Notes


def test_notes_are_one_line_a_kind_with_a_count():
    notes = Notes()
    for _ in range(3):
        notes.left_out("a refusal")
    notes.add("no current_node: the newest leaf was taken")
    notes.left_out("nothing", 0)
    for column in ("b", "a", "b"):
        notes.not_read(column)
    assert list(notes.lines()) == [
        "left out: a refusal (3 times)",
        "no current_node: the newest leaf was taken",
        "columns that are not read: b, a",
    ]


def test_complaints_of_one_kind_differ_in_numbers_alone():
    complaints = Complaints()
    assert not complaints
    for place in (":1", ":22", " (a.json): record 3"):
        complaints.add(f"s.jsonl{place}: not JSON at column {len(place)}: Expecting value")
    complaints.add("s.jsonl:4: 'messages' is empty")
    assert complaints.total == 4
    assert complaints.first == "s.jsonl:1: not JSON at column 2: Expecting value"
    assert list(complaints.lines()) == [
        "s.jsonl:1: not JSON at column 2: Expecting value (and 2 more like it)",
        "s.jsonl:4: 'messages' is empty",
    ]
