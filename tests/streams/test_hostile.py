"""Any damage to a record of any form costs that record; nothing crashes, and nothing is read in its place."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepers.errors import StreamError
from edgepers.streams import Cursor, open_stream
from tests.streams import export_samples as exports
from tests.streams.samples import CHATGPT, OPENWEBUI
from tests.streams.test_exports import EXPORTS
from tests.streams.test_forms import FORM_OF, json_values

SAMPLES = {
    **FORM_OF,
    **{name: sample if isinstance(sample, list) else [sample] for name, (sample, *_) in EXPORTS.items()},
    "takeout": exports.TAKEOUT,
    "telegram": [exports.TELEGRAM],
    "chatgpt": [CHATGPT],
    "openwebui": [OPENWEBUI],
}


def places(value, path=()):
    """The path of every value inside of a value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in inside:
        yield (*path, name)
        yield from places(inner, (*path, name))


def damaged(records, path, value):
    """A copy of records with another value in one place."""
    made = copy.deepcopy(records)
    holder = made
    for name in path[:-1]:
        holder = holder[name]
    holder[path[-1]] = value
    return made


def read_whole(path):
    complaints: list[str] = []
    try:
        found = list(open_stream(path, me="Moon").read(Cursor(), complaints.append))
    except StreamError as error:
        assert "\n" not in str(error)
        return
    assert all("\n" not in line for line in complaints)
    for arrival in found:
        dialogue = arrival.dialogue
        assert dialogue.question.strip()
        for text in (dialogue.question, dialogue.response, dialogue.reference):
            (text or "").encode()  # no half characters
        assert dialogue.response is None or dialogue.response.strip()
    if found:
        again = list(open_stream(path, me="Moon").read(found[-1].here, lambda _: None))
        assert again[0] == found[-1]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_with_any_one_value_replaced_is_read_or_refused(tmp_path, name):
    path = tmp_path / "s.json"
    for place in places(SAMPLES[name]):
        for value in (None, 7, [], {"parts": 3}, "\ud800"):
            path.write_text(json.dumps(damaged(SAMPLES[name], place, value)))
            read_whole(path)


@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_a_sample_with_any_json_in_any_place_is_read_or_refused(tmp_path_factory, name, data):
    place = data.draw(st.sampled_from(list(places(SAMPLES[name]))))
    path = tmp_path_factory.mktemp("s") / "s.json"
    path.write_text(json.dumps(damaged(SAMPLES[name], place, data.draw(json_values))))
    read_whole(path)


def test_a_quote_that_is_never_closed_costs_the_rows_behind_it_and_one_line(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('question,answer\nQ,A\nQ,"A\n' + "Q,A\n" * 100_000)
    complaints: list[str] = []
    found = list(open_stream(path).read(Cursor(), complaints.append))
    assert [arrival.dialogue.reference for arrival in found] == ["A"]
    assert len(complaints) == 1
    assert "no row of a table" in complaints[0]


def test_a_message_between_people_that_never_ends_is_bounded(tmp_path):
    path = tmp_path / "chat.txt"
    path.write_text(exports.WHATSAPP_ANDROID.splitlines()[1] + "\nmore" * 500_000 + "\n" + exports.WHATSAPP_ANDROID)
    found = list(open_stream(path, me="Moon").read(Cursor(), print))
    assert len(found) == 1
    assert len(found[0].dialogue.question) < 1_100_000
