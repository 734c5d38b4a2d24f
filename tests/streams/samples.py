"""One small record, or a few, of each form as it is published; every text is our own."""

MESSAGES = {
    "id": "m1",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "I have a dog."},
        {"role": "assistant", "content": "What is she called?"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Moon."}, {"type": "image_url", "image_url": {"url": "data:,"}}],
        },
        {"role": "assistant", "content": None, "tool_calls": [{"id": "t", "type": "function"}]},
        {"role": "tool", "content": "42", "tool_call_id": "t"},
        {"role": "assistant", "content": "A fine name."},
    ],
}
SHAREGPT = {
    "id": "s1",
    "conversations": [
        {"from": "gpt", "value": "How can I help?"},
        {"from": "human", "value": "Name a river."},
        {"from": "gpt", "value": "The Elbe."},
    ],
}
OPENWEBUI = {
    "id": "w1",
    "title": "Tea",
    "chat": {
        "history": {
            "currentId": "d",
            "messages": {
                "a": {
                    "id": "a",
                    "parentId": None,
                    "childrenIds": ["b", "d"],
                    "role": "user",
                    "content": "Green or black?",
                },
                "b": {
                    "id": "b",
                    "parentId": "a",
                    "childrenIds": [],
                    "role": "assistant",
                    "content": "An answer that was made anew.",
                },
                "d": {"id": "d", "parentId": "a", "childrenIds": [], "role": "assistant", "content": "Green."},
            },
        },
        "messages": [{"role": "user", "content": "Green or black?"}, {"role": "assistant", "content": "flat"}],
    },
}


def _node(name, parent, children, role=None, parts=(), **message):
    content = {"content_type": "text", "parts": list(parts)}
    said = (
        None
        if role is None
        else {"author": {"role": role}, "content": content, "recipient": "all", "metadata": {}, **message}
    )
    return {"id": name, "parent": parent, "children": children, "message": said}


CHATGPT = {
    "title": "Bread",
    "conversation_id": "c1",
    "current_node": "h",
    "mapping": {
        "r": _node("r", None, ["s"]),
        "s": _node("s", "r", ["a"], "system", [""], metadata={"is_visually_hidden_from_conversation": True}),
        "a": _node("a", "s", ["b", "c"], "user", ["What rises?"]),
        "b": _node("b", "a", [], "assistant", ["The branch that was left."]),
        "c": _node("c", "a", ["d"], "assistant", ["Dough."]),
        "d": _node(
            "d", "c", ["e"], "user", [{"content_type": "image_asset_pointer", "asset_pointer": "file://x"}, "And this?"]
        ),
        "e": _node("e", "d", ["f"], "assistant", ["search()"], recipient="browser"),
        "f": _node("f", "e", ["g"], "tool", ["a page"]),
        "g": _node("g", "f", ["h"], "assistant", [], content={"content_type": "thoughts", "thoughts": []}),
        "h": _node("h", "g", [], "assistant", ["A loaf."]),
    },
}
ALPACA = [
    {"instruction": "Sort these.", "input": "3, 1, 2", "output": "1, 2, 3"},
    {"instruction": "Greet me.", "input": "", "output": "Good morning!"},
]
DOLLY = [
    {"instruction": "Who baked?", "context": "Ada baked a cake.", "response": "Ada.", "category": "closed_qa"},
    {"instruction": "Say hi.", "context": "", "response": "Hi!", "category": "open_qa"},
]
PROSOCIAL = {
    "context": "May I read my brother's diary?",
    "response": "Ask him first; it is his.",
    "rots": ["One should ask before reading what is private."],
    "safety_label": "__needs_caution__",
    "safety_annotations": [],
    "dialogue_id": 7,
    "response_id": 2,
    "episode_done": False,
}


def _said(conversation, number, speaker, text):
    return {
        "conv_id": conversation, "utterance_idx": number, "context": "proud", "prompt": "My son_comma_ he won.",
        "speaker_idx": speaker, "utterance": text, "selfeval": "5|5|5", "tags": "",
    }  # fmt: skip


EMPATHETIC = [
    _said("hit:1_conv:2", 1, 3, "My son_comma_ he won!"),
    _said("hit:1_conv:2", 2, 4, "How lovely."),
    _said("hit:1_conv:2", 3, 3, "We cried."),
    _said("hit:1_conv:2", 4, 4, "Of joy_comma_ I hope."),
    _said("hit:3_conv:6", 1, 5, "The bus left early."),
    _said("hit:3_conv:6", 2, 6, "Oh no."),
]
OPENORCA = {
    "id": "flan.1",
    "system_prompt": "You are an assistant.",
    "question": "Is ice cold?",
    "response": "Yes, it is.",
}
MEDDIALOG = [
    {
        "description": "A cough.",
        "utterances": ["patient: I cough.", "doctor: Since when?", "patient: Monday.", "doctor: Rest."],
    },
    {
        "file_name": "x",
        "dialogue_id": 5,
        "dialogue_url": "u",
        "dialogue_turns": {"speaker": [0, 1], "utterance": ["My eye itches.", "Do not rub it."]},
    },
    {"description": "咳嗽", "utterances": ["病人：我咳嗽。", "医生：多久了?"]},
]
