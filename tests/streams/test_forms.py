import csv
import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepers.config import FORMATS
from edgepers.errors import StreamError
from edgepers.streams.chats import CONTEXT_CHARS, Turn, with_context, without_context
from edgepers.streams.file import FileStream
from edgepers.streams.form import Way
from edgepers.streams.forms import FORMS, detect
from edgepers.streams.types import Cursor, DialogueSet
from tests.streams import samples
from tests.streams.test_exports import EXPORTS

MESSAGE_ROWS = [
    {"role": role, "content": text}
    for role, text in (
        ("user", "Name a river."),
        ("assistant", "The Elbe."),
        ("user", "A lake?"),
        ("assistant", "Como."),
    )
]
FORM_OF = {
    "message": MESSAGE_ROWS,
    "columns": [{"query": "Name a river.", "answer": "The Elbe.", "id": 3}],
    "prompt": [{"prompt": "Name a river.", "completion": "The Elbe."}, {"prompt": "Hi.", "response": "Hello."}],
    "text": [{"text": "### Instruction:\nName a river.\n\n### Response:\nThe Elbe."}],
    "preference": [{"prompt": "Name a river.", "chosen": "The Elbe.", "rejected": "A lake."}],
    "kto": [{"prompt": "Name a river.", "completion": "A lake.", "label": False}],
    "ultrachat": [{"id": "0", "data": ["Name a river.", "The Elbe.", "And a lake?", "Como."]}],
    "messages": [samples.MESSAGES],
    "sharegpt": [samples.SHAREGPT],
    "openwebui": [samples.OPENWEBUI],
    "chatgpt": [samples.CHATGPT],
    "instruction": samples.ALPACA,
    "dolly": samples.DOLLY,
    "prosocial": [samples.PROSOCIAL],
    "empathetic": samples.EMPATHETIC,
    "openorca": [samples.OPENORCA],
    "meddialog": samples.MEDDIALOG,
    "question": [{"question": "Q", "response": "R", "reference": "W", "id": 7}],
}
SETS_OF = {
    "message": [
        DialogueSet("Name a river.", "The Elbe."),
        DialogueSet("User: Name a river.\nAssistant: The Elbe.\n\nA lake?", "Como."),
    ],
    "columns": [DialogueSet("Name a river.", None, "The Elbe.", "3")],
    "prompt": [DialogueSet("Name a river.", None, "The Elbe."), DialogueSet("Hi.", "Hello.")],
    "text": [DialogueSet("Name a river.", None, "The Elbe.")],
    "preference": [DialogueSet("Name a river.", "A lake.", "The Elbe.", None, "bad")],
    "kto": [DialogueSet("Name a river.", "A lake.", verdict="bad")],
    "ultrachat": [
        DialogueSet("Name a river.", "The Elbe.", None, "0-0"),
        DialogueSet("User: Name a river.\nAssistant: The Elbe.\n\nAnd a lake?", "Como.", None, "0-1"),
    ],
    "messages": [
        DialogueSet("I have a dog.", "What is she called?", None, "m1-0"),
        DialogueSet("User: I have a dog.\nAssistant: What is she called?\n\nMoon.", "A fine name.", None, "m1-1"),
    ],
    "sharegpt": [DialogueSet("Assistant: How can I help?\n\nName a river.", "The Elbe.", None, "s1-0")],
    "openwebui": [DialogueSet("Green or black?", "Green.", None, "w1-0")],
    "chatgpt": [
        DialogueSet("What rises?", "Dough.", None, "c1-0"),
        DialogueSet("User: What rises?\nAssistant: Dough.\n\nAnd this?", "A loaf.", None, "c1-1"),
    ],
    "instruction": [
        DialogueSet("Sort these.\n\n3, 1, 2", None, "1, 2, 3"),
        DialogueSet("Greet me.", None, "Good morning!"),
    ],
    "dolly": [DialogueSet("Who baked?\n\nAda baked a cake.", None, "Ada."), DialogueSet("Say hi.", None, "Hi!")],
    "prosocial": [DialogueSet("May I read my brother's diary?", None, "Ask him first; it is his.", "7-2")],
    "empathetic": [
        DialogueSet("My son, he won!", None, "How lovely.", "hit:1_conv:2-0"),
        DialogueSet(
            "User: My son, he won!\nAssistant: How lovely.\n\nWe cried.", None, "Of joy, I hope.", "hit:1_conv:2-1"
        ),
        DialogueSet("The bus left early.", None, "Oh no.", "hit:3_conv:6-0"),
    ],
    "openorca": [DialogueSet("Is ice cold?", None, "Yes, it is.", "flan.1")],
    "meddialog": [
        DialogueSet("I cough.", None, "Since when?"),
        DialogueSet("User: I cough.\nAssistant: Since when?\n\nMonday.", None, "Rest."),
        DialogueSet("My eye itches.", None, "Do not rub it.", "5-0"),
        DialogueSet("我咳嗽。", None, "多久了?"),
    ],
    "question": [DialogueSet("Q", "R", "W", "7")],
}


def lines(records) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def read(path, form=None):
    said: list[str] = []
    complaints: list[str] = []
    sets = [a.dialogue for a in FileStream(path, form, said.append).read(Cursor(), complaints.append)]
    return sets, said, complaints


def test_the_settings_know_every_form():
    assert set(FORMATS) == set(FORMS)
    assert set(FORM_OF) | {*EXPORTS, "takeout", "whatsapp", "telegram"} == set(FORMS)


@pytest.mark.parametrize("as_array", [False, True], ids=["lines", "array"])
@pytest.mark.parametrize("name", FORM_OF)
def test_a_form_is_detected_said_in_one_line_and_read_as_its_data_set_means(tmp_path, name, as_array):
    path = tmp_path / "s.json"
    records = FORM_OF[name]
    path.write_text(json.dumps(records, indent=1) if as_array else lines(records), encoding="utf-8")
    sets, said, complaints = read(path)
    assert sets == SETS_OF[name]
    assert complaints == []
    whole = "messages" if name == "message" and as_array else name  # an array of messages is one conversation
    assert [line.startswith(f"stream {path}: read as {whole} (") for line in said[:1]] == [True] * (name != "question")
    assert all(": left out: an answer beside the branch" in line for line in said[1:])
    if whole == name:
        assert read(path, name) == (sets, said[1:], [])  # a form that is forced needs no saying


@pytest.mark.parametrize("name", FORM_OF)
def test_a_forced_form_that_is_wrong_is_one_line_with_line_and_missing_field(tmp_path, name):
    path = tmp_path / "s.jsonl"
    other = "chatgpt" if name in ("question", "openorca", "columns", "preference") else "question"
    path.write_text(lines(FORM_OF[other]), encoding="utf-8")
    with pytest.raises(
        StreamError, match=rf"s.jsonl:1: '.*' is missing(, .*)?, which --format {name} needs; .* form {other}"
    ) as error:
        read(path, name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"messages": []}, "'messages' is empty"),
        ({"messages": "hi"}, "'messages' is str, not a list"),
        ({"messages": ["hi"]}, "'messages[0]' is str, not an object"),
        ({"messages": [{"content": "hi"}]}, "'messages[0].role' is missing"),
        ({"messages": [{"role": "wizard", "content": "hi"}]}, "'messages[0].role' is 'wizard'"),
        ({"messages": [{"role": "user", "content": 5}]}, "'messages[0].content' is int, not text"),
        ({"messages": [{"role": "assistant", "content": "hi"}]}, "no assistant turn after a user turn"),
        (
            {"messages": [{"role": "user", "content": "\ud800"}, {"role": "assistant", "content": "Hi."}]},
            "'messages' has nothing to learn: an answer to a question with half a character",
        ),
        ({"conversations": [{"from": "human"}]}, "no assistant turn"),
        ({"chat": {"messages": 3}}, "'chat.messages' is int"),
        ({"chat": {"history": {"messages": {}, "currentId": "x"}}}, "'chat.history.messages' is empty"),
        (
            {"chat": {"history": {"messages": {"a": {"role": "user"}}, "currentId": "x"}}},
            "'chat.history.messages' has no message 'x'",
        ),
        ({"mapping": 3}, "'mapping' is int, not an object"),
        ({"mapping": {}}, "'mapping' is empty"),
        ({"mapping": {"a": {"parent": "a"}}, "current_node": "a"}, "'mapping' runs in a circle at 'a'"),
        ({"mapping": {"a": {"message": {}}}, "current_node": "a"}, "author' is missing"),
        ({"instruction": "x", "output": ""}, "'output' is empty"),
        ({"instruction": "x", "context": [], "response": "y"}, "'context' is list, not text"),
        ({"context": "x", "response": None, "rots": []}, "'response' is missing"),
        ({"conv_id": 4, "utterance": "x"}, "'conv_id' is int, not text"),
        ({"conv_id": "4", "utterance": "x"}, "'speaker_idx' is missing"),
        ({"system_prompt": "", "question": "", "response": "y"}, "'question' is empty"),
        ({"utterances": ["hello"]}, "'utterances[0]' does not begin with 'patient:'"),
        ({"utterances": []}, "'utterances' is empty"),
        ({"dialogue_turns": 7}, "'dialogue_turns' is int"),
        ({"text": "x"}, "no known form has the fields that are there (text)"),
        ([1], "a list where an object"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_malformed_record_is_named_and_costs_itself_alone(tmp_path, record, says):
    path = tmp_path / "s.jsonl"
    good = {"messages": samples.MESSAGES["messages"][:3]} if detect(record) is None else FORM_OF[detect(record).name][0]
    path.write_text(json.dumps(record) + "\n" + lines([good] * 2), encoding="utf-8")
    sets, _, complaints = read(path)
    assert len(complaints) == 1
    assert complaints[0].startswith(f"{path}:1: ")
    assert says in complaints[0]
    assert sets or detect(record).name == "empathetic"  # one utterance alone is no set


def test_earlier_turns_are_bounded_whole_lines_the_last_of_them():
    turns = [Turn(role, f"{i} " + "word " * i) for i, role in enumerate(["user", "assistant"] * 40)]
    text = with_context(turns, "Now?")
    head, _, question = text.partition("\n\n")
    assert question == "Now?"
    assert len(head) <= CONTEXT_CHARS
    kept = head.split("\n")
    assert kept[-1].startswith("Assistant: 79 word")
    assert len(kept) == 2
    assert all(line.endswith("…") for line in kept)
    assert with_context([], "Now?") == "Now?"


@pytest.mark.parametrize(
    "thought",
    [
        "<think>\nHm.\n</think>\n\n",
        '<details type="reasoning" done="true">\n<summary>3 s</summary>\n> Hm.\n</details>\n',
    ],
)
def test_what_a_model_thought_is_no_part_of_its_answer(tmp_path, thought):
    path = tmp_path / "s.jsonl"
    turns = [
        ("user", "Is <think>a</think> a tag?"),
        ("assistant", f"{thought}Yes: `<think>`."),
        ("user", "So?"),
        ("assistant", thought),
    ]
    path.write_text(lines([{"messages": [{"role": role, "content": text} for role, text in turns]}]))
    assert read(path)[0] == [DialogueSet("Is <think>a</think> a tag?", "Yes: `<think>`.")]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = sorted({key for records in FORM_OF.values() for record in records for key in record})


@given(st.dictionaries(st.sampled_from(KEYS), json_values, max_size=6) | json_values)
def test_no_json_value_crashes_detection_or_a_form(value):
    found = detect(value)
    for form in FORMS.values() if isinstance(value, dict) else ():
        try:
            if form.key is not None:
                form.key(value)
            sets = form.sets({"rows": [value]} if form.key is not None else value, Way("Moon"))
        except ValueError as error:
            assert str(error)
        else:
            assert all(s.question.strip() for s in sets)
            assert found is not None or not sets or form.name in ("preference", "whatsapp")


@given(
    st.sampled_from(["messages", "conversations"]),
    st.lists(
        st.fixed_dictionaries(
            {}, optional={"role": json_values, "from": st.just("gpt"), "content": json_values, "value": json_values}
        )
    ),
)
def test_no_list_of_turns_crashes_a_chat_form(field, turns):
    record = {field: turns}
    try:
        sets = detect(record).sets(record, Way())
    except ValueError:
        return
    assert all(s.question.strip() and s.response.strip() and s.reference is None for s in sets)


DATA = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="the data sets are not in ../shared/data")
@pytest.mark.parametrize("path", sorted(DATA.glob("*.jsonl")) or [DATA], ids=lambda path: path.stem)
def test_the_data_sets_at_hand_are_read_whole(path):
    sets, said, complaints = read(path)
    assert all(": columns that are not read: " in line for line in said)
    assert len(sets) + len(complaints) == sum(1 for line in path.read_bytes().split(b"\n") if line.strip())
    assert len(complaints) <= len(sets) / 100
    assert all(s.reference for s in sets[:100])


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="the data sets are not in ../shared/data")
def test_real_text_survives_its_data_sets_own_columns(tmp_path):
    for name, columns in (
        ("dolly", ("instruction", "response")),
        ("alpaca", ("instruction", "output")),
        ("openorca", ("question", "response")),
    ):
        path = tmp_path / f"{name}.jsonl"
        rows = [json.loads(line) for line in (DATA / f"{name}.jsonl").read_bytes().splitlines()][:200]
        more = {"system_prompt": ""} if name == "openorca" else {}
        path.write_text(
            lines({columns[0]: r["question"], columns[1]: r["reference"], **more} for r in rows), encoding="utf-8"
        )
        sets, said, complaints = read(path)
        assert [(s.question, s.reference) for s in sets] == [
            (r["question"], r["reference"]) for r in rows if r["reference"].strip()
        ]
        assert len(complaints) == len(rows) - len(sets)
        assert "the reference" in said[0]


@pytest.mark.parametrize("name", ["instruction", "dolly", "empathetic", "openorca"])
def test_a_csv_file_with_a_forms_columns_is_read_and_resumed(tmp_path, name):
    path = tmp_path / "s.csv"
    records = [dict(record) for record in FORM_OF[name]]
    sets = SETS_OF[name]
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, records[0])
        writer.writeheader()
        if name == "empathetic":  # published without quotes
            file.write("".join(",".join(map(str, record.values())) + "\r\n" for record in records))
        else:
            records[0]["response" if "response" in records[0] else "output"] = 'Two\nlines, and a "quote".'
            sets = [dataclasses.replace(sets[0], reference='Two\nlines, and a "quote".'), *sets[1:]]
            writer.writerows(records)
        file.write("x\r\n")
    complaints: list[str] = []
    whole = list(FileStream(path).read(Cursor(), complaints.append))
    assert [a.dialogue for a in whole] == sets
    assert len(complaints) == 1
    assert " is missing: 1 fields, and the header has " in complaints[0]
    for i, arrival in enumerate(whole):
        assert list(FileStream(path).read(arrival.here, complaints.append)) == whole[i:]
        assert FileStream(path).reference_at(arrival.here) == arrival.dialogue.reference


def test_two_csv_files_of_one_form_are_two_streams(tmp_path):
    path = tmp_path / "s.csv"
    prints = []
    for row in ("a,b\n", "a,b\nc,d\n", "c,d\n"):
        path.write_text("question,response\n" + row)
        prints.append(FileStream(path).fingerprint)
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason="the data sets are not in ../shared/data")
def test_real_conversations_survive_their_data_sets_own_rows(tmp_path):
    path = tmp_path / "s.jsonl"
    rows = [json.loads(line) for line in (DATA / "empathetic_dialogues.jsonl").read_bytes().splitlines()][:400]
    spoken = ((row, i, text) for row in rows for i, text in enumerate((row["question"], row["reference"])))
    path.write_text(
        lines(
            {
                "conv_id": row["dialogue_id"],
                "utterance_idx": 0,
                "speaker_idx": i,
                "utterance": text.replace(",", "_comma_"),
            }
            for row, i, text in spoken
        ),
        encoding="utf-8",
    )
    sets, said, complaints = read(path)
    assert "read as empathetic (" in said[0]
    assert complaints == []
    assert [s.reference for s in sets] == [row["reference"].strip() for row in rows]
    assert all(s.question.endswith(row["question"].strip()) for s, row in zip(sets, rows, strict=True))
    talks = [json.loads(line) for line in (DATA / "meddialog.jsonl").read_bytes().splitlines()]
    path.write_text(
        lines({"utterances": [f"patient: {t['question']}", f"doctor: {t['reference']}"]} for t in talks),
        encoding="utf-8",
    )
    sets, _, complaints = read(path)
    assert complaints == []
    assert [(s.question, s.reference) for s in sets] == [(t["question"].strip(), t["reference"].strip()) for t in talks]


@pytest.mark.parametrize("question", ["Can she swim?", "One.\n\nTwo.", ""])
def test_a_question_is_parted_from_the_turns_before_it(question):
    earlier = [Turn("user", "I have a dog.\n\nMoon."), Turn("assistant", "Nice: a dog.")]
    found = without_context(with_context(earlier, question))
    assert found == ("User: I have a dog. Moon.\nAssistant: Nice: a dog.", question)
    assert without_context(with_context([], question)) == ("", question)
