"""Each chat program's export in its real shape: the answer that counts, and nothing that stands beside it."""

import json

import pytest

from edgepers.errors import StreamError
from edgepers.streams import Cursor, DialogueSet, open_stream
from tests.streams import export_samples as exports
from tests.streams.samples import CHATGPT, OPENWEBUI

ANEW = "left out: an answer beside the branch that was last seen (made anew, or of another model)"
NO_WORDS = "left out: an answer to a picture, a file or a voice message without words"


def read(path, **way):
    said: list[str] = []
    complaints: list[str] = []
    sets = [a.dialogue for a in open_stream(path, log=said.append, **way).read(Cursor(), complaints.append)]
    return sets, [line.removeprefix(f"stream {path}: ") for line in said], complaints


def river(identity, response="The Elbe.", verdict="", question="Name a river."):
    return DialogueSet(question, response, None, identity, verdict)


EXPORTS = {
    "openwebui-feedback": (
        exports.OPENWEBUI_FEEDBACK,
        [river("f1-0", verdict="good")],
        ["left out: a comment on a thumb"],
    ),
    "claude": (exports.CLAUDE, [river("u1-0")], [NO_WORDS]),
    "gemini": (exports.GEMINI, [river(None)], [NO_WORDS]),
    "aistudio": (exports.AISTUDIO, [river(None)], [NO_WORDS, "left out: an answer that was never finished"]),
    "deepseek": (exports.DEEPSEEK, [river("d1-0")], ["no current_node: the newest leaf was taken", ANEW]),
    "grok": (exports.GROK, [river("g1-0")], ["no current response: the newest leaf was taken", ANEW]),
    "copilot": (exports.COPILOT, [river("Rivers-0")], []),
    "librechat": (exports.LIBRECHAT, [river("l1-0", verdict="good")], []),
    "lmstudio": (exports.LMSTUDIO, [river(None)], [ANEW]),
    "chatbox": (exports.CHATBOX, [river("b0-0", "Como.", question="Name a lake."), river("b1-0")], []),
    "huggingchat": (
        exports.HUGGINGCHAT,
        [river("h1-0", verdict="bad")],
        ["no current message: the newest leaf was taken", ANEW],
    ),
    "anythingllm": (exports.ANYTHINGLLM, [river("1", "A lake.", "bad"), river("2")], []),
    "sillytavern": (
        exports.SILLYTAVERN,
        [river("2024-1-1-0", question="Assistant: Hello.\n\nName a river.")],
        [ANEW],
    ),
    "characterai": (exports.CHARACTERAI, [river("c1-0"), river("c2-0")], [ANEW]),
    "textgen": (
        exports.TEXTGEN,
        [river(None, "The Elbe & more.", question="Assistant: Hello.\n\nName a river.")],
        [],
    ),
}


@pytest.mark.parametrize("spread", [False, True], ids=["lines", "spread"])
@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_gives_its_answers_and_says_what_it_leaves_out(tmp_path, name, spread):
    sample, sets, left_out = EXPORTS[name]
    path = tmp_path / "export.json"
    records = sample if isinstance(sample, list) else [sample]
    path.write_text("\n".join(json.dumps(record, indent=1 if spread else None) for record in records))
    found, said, complaints = read(path)
    assert found == sets
    assert said[0].startswith(f"read as {name} (")
    assert said[1:] == left_out
    assert complaints == []


def test_takeout_gives_prompts_with_their_answers_and_one_line_for_other_activities(tmp_path):
    path = tmp_path / "MyActivity.json"
    path.write_text(json.dumps(exports.TAKEOUT, indent=1))
    sets, _, complaints = read(path)
    assert sets == [river("2025-01-02T03:04:05.678Z-0", "The Elbe.\n\n1 < 2")]
    assert [line.partition(": ")[2] for line in complaints] == ["record 2: an activity without a prompt and an answer"]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda record: {"data": [record, record]},
        lambda record: {"version": 1, "chats": {"list": [record, record]}},
        lambda record: {"success": True, "conversations": [record, record], "projects": []},
        lambda record: {"session:1": record, "session:2": record, "settings": {"theme": "dark"}},
    ],
)
@pytest.mark.parametrize("name", ["claude", "grok", "chatbox", "librechat"])
def test_conversations_inside_of_one_object_are_found(tmp_path, wrap, name):
    sample, sets, _ = EXPORTS[name]
    path = tmp_path / "export.json"
    path.write_text(json.dumps(wrap(sample), indent=1))
    found, _, complaints = read(path)
    assert found == [*sets, *sets]
    assert complaints == []


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_a_file_of_one_object_is_resumed_inside_of_it(tmp_path, cut):
    path = tmp_path / "export.json"
    path.write_text(json.dumps({"data": [exports.CLAUDE, {"chat_messages": 0}, exports.CLAUDE, exports.CHATBOX]}))
    whole = list(open_stream(path).read(Cursor(), lambda _: None))
    assert len(whole) == 4
    assert list(open_stream(path).read(whole[cut].here, lambda _: None)) == whole[cut:]
    assert list(open_stream(path).read(whole[cut].after, lambda _: None)) == whole[cut + 1 :]


def test_chats_between_people_are_read_for_whom_they_are_named_and_not_otherwise(tmp_path):
    telegram, apple, android = tmp_path / "result.json", tmp_path / "_chat.txt", tmp_path / "chat.txt"
    telegram.write_text(json.dumps(exports.TELEGRAM, indent=1))
    apple.write_text(exports.WHATSAPP)
    android.write_text(exports.WHATSAPP_ANDROID)
    for path in (telegram, apple, android):
        with pytest.raises(StreamError, match=r"a chat between people \(Ada, Moon\); say which .* --me NAME"):
            read(path)
        assert read(path, me="Nobody")[0] == []
        assert "--me" in read(path, me="Nobody")[2][0]
    answered = [DialogueSet("Name a river.", None, "The Elbe.", "7-2024-01-01-0")]
    assert read(telegram, me="moon")[0] == answered  # "Yes." comes on another day, and answers nothing
    assert read(android, me="Moon")[0] == [DialogueSet("Name a river.", None, "The Elbe.")]
    (found,), said, complaints = read(apple, me="Moon")
    assert found.question.endswith("Name a river.\nAny.")
    assert found.reference == "The Elbe."
    assert said[1:] == [NO_WORDS]
    assert complaints == []


def test_a_chat_between_people_is_resumed_at_any_answer(tmp_path):
    path = tmp_path / "chat.txt"
    path.write_text(exports.WHATSAPP_ANDROID * 3)
    whole = list(open_stream(path, me="Moon").read(Cursor(), print))
    assert len(whole) == 3
    for i, arrival in enumerate(whole):
        assert list(open_stream(path, me="Moon").read(arrival.after, print)) == whole[i + 1 :]
        assert open_stream(path, me="Moon").reference_at(arrival.here) == "The Elbe."


def chatgpt(*messages, current="last"):
    """A conversation of (role, content, more) one after another."""
    names = ["root", *(f"n{i}" for i in range(len(messages) - 1)), "last"]
    mapping = {"root": {"id": "root", "parent": None, "message": None}}
    for above, name, (role, content, more) in zip(names, names[1:], messages, strict=False):
        parts = content if isinstance(content, dict) else {"content_type": "text", "parts": [content]}
        said = {"author": {"role": role}, "content": parts, "recipient": "all", "metadata": {}, **more}
        mapping[name] = {"id": name, "parent": above, "message": said}
    return {"id": "c", "current_node": current, "mapping": mapping}


def messages(path, *records):
    path.write_text("\n".join(map(json.dumps, records)))
    return read(path)


ASK = ("user", "Name a river.", {})


@pytest.mark.parametrize(
    ("turns", "answer"),
    [
        ([ASK, ("assistant", "The Elbe.\ue200cite\ue202turn0search0\ue201", {})], "The Elbe."),
        ([ASK, ("assistant", "The Elbe【4:0†source】.", {})], "The Elbe."),
        ([ASK, ("assistant", 'The \ue200entity\ue202["river","Elbe",0]\ue201.', {})], "The Elbe."),
        ([ASK, ("assistant", "Let me look.", {"recipient": "web"}), ("assistant", "The Elbe.", {})], "The Elbe."),
        ([ASK, ("assistant", "I look.", {"channel": "commentary"}), ("assistant", "The Elbe.", {})], "The Elbe."),
        ([ASK, ("assistant", "I look.", {}), ("tool", "page", {}), ("assistant", "The Elbe.", {})], "The Elbe."),
        ([ASK, ("assistant", {"content_type": "thoughts", "thoughts": []}, {}), ("assistant", "Elbe", {})], "Elbe"),
        ([ASK, ("assistant", "The El", {"status": "in_progress"})], None),
        ([ASK, ("assistant", "The El", {"metadata": {"finish_details": {"type": "interrupted"}}})], None),
        ([ASK, ("assistant", "The Elbe.", {"weight": 0.0})], None),
        ([ASK, ("assistant", "I look.", {}), ("tool", "page", {})], None),
        ([ASK, ("assistant", "half \ud83d", {})], None),
    ],
)
def test_chatgpt_gives_the_answer_alone_or_nothing(tmp_path, turns, answer):
    sets, _, complaints = messages(tmp_path / "c.json", chatgpt(*turns))
    assert [s.response for s in sets] == ([] if answer is None else [answer])
    assert len(complaints) == (answer is None)


def test_a_tree_without_a_current_node_takes_the_newest_leaf_and_says_so_once(tmp_path):
    for sample, named in ((CHATGPT, "current_node"), (OPENWEBUI, "currentId")):
        records = []
        for _ in range(2):
            record = json.loads(json.dumps(sample))
            if named == "current_node":
                del record["current_node"]
            else:
                record["chat"]["history"]["currentId"] = None
            records.append(record)
        sets, said, _ = messages(tmp_path / "c.json", *records)
        assert sets[-1].response in ("A loaf.", "Green.")
        assert f"no {named}: the newest leaf was taken (2 times)" in said


FOLD = '<details type="tool_calls" done="true" result="&quot;a &gt; b&quot;">\n<summary>Tool</summary>\n</details>\n'
THOUGHT = '<details done="true" type="reasoning">\n<summary>Thought</summary>\n> <details>x</details>\n</details>\n'


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (f"{THOUGHT}{FOLD}{THOUGHT}The Elbe.", "The Elbe."),
        (f"Let me look.\n{FOLD}\nThe Elbe.", "The Elbe."),
        ('<details type="code_interpreter" done="true"><summary>x</summary>1</details>The Elbe.', "The Elbe."),
        ("<details>\n<summary>Thinking…</summary>\n> hm\n</details>\nThe Elbe.", "The Elbe."),
        ("The Elbe.\n<details><summary>Hint</summary>Long.</details>", None),
        (f"Let me look.\n{FOLD}", ""),
        ('<details type="reasoning" done="false">\n<summary>Thinking', ""),
    ],
)
def test_what_open_webui_folds_away_is_no_part_of_the_answer(tmp_path, content, answer):
    history = {
        "currentId": "b",
        "messages": {
            "a": {"id": "a", "parentId": None, "role": "user", "content": "Name a river."},
            "b": {"id": "b", "parentId": "a", "role": "assistant", "content": content},
        },
    }
    sets, _, complaints = messages(tmp_path / "c.json", {"chat": {"history": history}})
    wanted = content if answer is None else answer
    assert [s.response for s in sets] == ([wanted] if wanted else [])
    assert len(complaints) == (not wanted)


def test_le_chats_lists_and_jans_lines_are_conversations(tmp_path):
    chat = [
        {"id": "1", "chatId": "c", "role": "user", "content": "Name a river.", "contentChunks": None},
        {
            "id": "2",
            "chatId": "c",
            "role": "assistant",
            "content": "",
            "contentChunks": [{"type": "tool_call", "name": "web"}, {"type": "text", "text": "The Elbe."}],
            "reaction": "like",
        },
    ]
    path = tmp_path / "chat-c.json"
    path.write_text(json.dumps(chat, indent=2))
    assert read(path)[0] == [river(None, verdict="good")]
    text = {"value": "The Elbe.", "annotations": []}
    jan = [
        {"object": "thread.message", "thread_id": "t", "role": "user", "content": "Name a river.", "status": "ready"},
        {"thread_id": "t", "role": "assistant", "content": [{"type": "text", "text": text}], "status": "ready"},
        {"thread_id": "t", "role": "user", "content": "More.", "status": "ready"},
        {"thread_id": "t", "role": "assistant", "content": [{"type": "text", "text": text}], "status": "stopped"},
    ]
    sets, said, complaints = messages(tmp_path / "messages.jsonl", *jan)
    assert sets == [river("t-0")]
    assert said[1:] == ["left out: an answer that was never finished"]
    assert complaints == []


def test_qwens_phases_are_told_apart(tmp_path):
    phases = [
        {"phase": "think", "content": "hm", "status": "finished"},
        {"phase": "web_search", "content": "a page", "status": "finished"},
        {"phase": "answer", "content": "The Elbe.", "status": "finished"},
    ]
    nodes = {
        "a": {"id": "a", "parentId": None, "role": "user", "content": "Name a river."},
        "b": {"id": "b", "parentId": "a", "role": "assistant", "content": "", "content_list": phases},
    }
    record = {"success": True, "data": [{"id": "q", "chat": {"history": {"messages": nodes, "currentId": "b"}}}]}
    path = tmp_path / "q.json"
    assert messages(path, record)[0] == [river("q-0")]
    phases[-1]["status"] = "typing"
    assert messages(path, record)[0] == []
