"""One small record, or a few, of each chat program's export, in its real shape; every text is our own.

Each asks for a river and gets the Elbe, and holds what must not be learned beside it.
"""

OPENWEBUI_FEEDBACK = {
    "id": "f1",
    "user_id": "u",
    "version": 0,
    "type": "rating",
    "data": {"rating": 1, "model_id": "m", "sibling_model_ids": ["n"], "reason": "correct", "comment": "Short."},
    "meta": {"model_id": "m", "message_id": "b", "message_index": 2, "chat_id": "w"},
    "snapshot": {
        "chat": {
            "id": "w",
            "chat": {
                "history": {
                    "currentId": "d",
                    "messages": {
                        "a": {"id": "a", "parentId": None, "role": "user", "content": "Name a river."},
                        "b": {"id": "b", "parentId": "a", "role": "assistant", "content": "The Elbe."},
                        "c": {"id": "c", "parentId": "b", "role": "user", "content": "More."},
                        "d": {"id": "d", "parentId": "c", "role": "assistant", "content": "The Rhine."},
                    },
                }
            },
        }
    },
}
CLAUDE = {
    "uuid": "u1",
    "name": "Rivers",
    "summary": "",
    "account": {"uuid": "z"},
    "chat_messages": [
        {
            "uuid": "1",
            "sender": "human",
            "text": "Name a river.",
            "content": [{"type": "text", "text": "Name a river.", "citations": []}],
            "attachments": [],
            "files": [],
        },
        {
            "uuid": "2",
            "sender": "assistant",
            "text": "Let me look.\n\n```\nThis block is not supported on your current device yet.\n```\n\nThe Elbe.",
            "content": [
                {"type": "thinking", "thinking": "hm"},
                {"type": "text", "text": "Let me look."},
                {"type": "tool_use", "name": "search", "input": {}},
                {"type": "tool_result", "content": [{"type": "text", "text": "a page"}]},
                {"type": "text", "text": "The Elbe."},
            ],
        },
        {"uuid": "3", "sender": "human", "text": "", "content": [], "attachments": [{"file_name": "a.pdf"}]},
        {"uuid": "4", "sender": "assistant", "text": "It is about bees.", "content": []},
    ],
}
GEMINI = {
    "systemInstruction": {"role": "system", "parts": [{"text": "Be brief."}]},
    "contents": [
        {"role": "user", "parts": [{"text": "Name a river."}]},
        {"role": "model", "parts": [{"text": "hm", "thought": True}, {"text": "The Elbe."}]},
        {"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": ""}}]},
        {"role": "model", "parts": [{"text": "A cat."}]},
    ],
}
AISTUDIO = {
    "runSettings": {"model": "models/gemini"},
    "systemInstruction": {},
    "chunkedPrompt": {
        "chunks": [
            {"text": "Name a river.", "role": "user", "tokenCount": 4},
            {"text": "hm", "role": "model", "isThought": True},
            {"text": "The Elbe.", "role": "model", "finishReason": "STOP"},
            {"driveImage": {"id": "x"}, "role": "user"},
            {"text": "A cat.", "role": "model", "finishReason": "STOP"},
            {"text": "Tell me a story.", "role": "user"},
            {"text": "Once", "role": "model", "finishReason": "MAX_TOKENS"},
        ],
        "pendingInputs": [],
    },
}
TAKEOUT = [
    {
        "header": "Gemini Apps",
        "title": "Prompted Name a river.",
        "time": "2025-01-02T03:04:05.678Z",
        "products": ["Gemini Apps"],
        "safeHtmlItem": [{"html": "<p>The <b>Elbe</b>.</p>\n<ul><li>1 &lt; 2</li></ul>"}],
    },
    {"header": "Gemini Apps", "title": "Created a canvas", "time": "2025", "products": ["Gemini Apps"]},
]
DEEPSEEK = {
    "id": "d1",
    "title": "t",
    "inserted_at": "x",
    "mapping": {
        "root": {"id": "root", "parent": None, "children": ["1"], "message": None},
        "1": {
            "id": "1",
            "parent": "root",
            "children": ["2", "3"],
            "message": {"inserted_at": "2025-01-01", "fragments": [{"type": "REQUEST", "content": "Name a river."}]},
        },
        "2": {
            "id": "2",
            "parent": "1",
            "children": [],
            "message": {"inserted_at": "2025-01-02", "fragments": [{"type": "RESPONSE", "content": "A lake."}]},
        },
        "3": {
            "id": "3",
            "parent": "1",
            "children": [],
            "message": {
                "inserted_at": "2025-01-03",
                "fragments": [
                    {"type": "THINK", "content": "hm"},
                    {"type": "RESPONSE", "content": "Let me look."},
                    {"type": "SEARCH", "results": []},
                    {"type": "RESPONSE", "content": "The Elbe."},
                ],
            },
        },
    },
}


def _response(name, parent, sender, message, number):
    return {
        "response": {
            "_id": name,
            "parent_response_id": parent,
            "sender": sender,
            "message": message,
            "create_time": {"$date": {"$numberLong": str(number)}},
        }
    }


GROK = {
    "conversation": {"id": "g1", "title": "t"},
    "responses": [
        _response("1", None, "human", "Name a river.", 1),
        _response("2", "1", "ASSISTANT", "A lake.", 2),
        _response("3", "1", "ASSISTANT", "The Elbe.", 3),
    ],
}
COPILOT = [
    {"conversation": "Rivers", "time": "2024-01-01T00:00:01", "author": "AI", "message": "The Elbe."},
    {"conversation": "Rivers", "time": "2024-01-01T00:00:00", "author": "Human", "message": "Name a river."},
]
LIBRECHAT = {
    "conversationId": "l1",
    "endpoint": "e",
    "title": "t",
    "recursive": True,
    "messages": [
        {
            "messageId": "1",
            "parentMessageId": "00000000-0000-0000-0000-000000000000",
            "sender": "User",
            "text": "Name a river.",
            "isCreatedByUser": True,
            "children": [
                {
                    "messageId": "2",
                    "parentMessageId": "1",
                    "sender": "GPT-4",
                    "text": "",
                    "content": [
                        {"type": "think", "think": "hm"},
                        {"type": "text", "text": {"value": "The Elbe."}},
                    ],
                    "isCreatedByUser": False,
                    "feedback": {"rating": "thumbsUp"},
                    "children": [],
                }
            ],
        }
    ],
}
LMSTUDIO = {
    "name": "t",
    "messages": [
        {
            "versions": [
                {"type": "singleStep", "role": "user", "content": [{"type": "text", "text": "Name a river."}]}
            ],
            "currentlySelected": 0,
        },
        {
            "versions": [
                {"type": "singleStep", "role": "assistant", "content": [{"type": "text", "text": "A lake."}]},
                {
                    "type": "multiStep",
                    "role": "assistant",
                    "steps": [
                        {
                            "type": "contentBlock",
                            "style": {"type": "thinking"},
                            "content": [{"type": "text", "text": "hm"}],
                        },
                        {"type": "contentBlock", "content": [{"type": "text", "text": "The "}]},
                        {"type": "contentBlock", "content": [{"type": "text", "text": "Elbe."}]},
                        {"type": "debugInfoBlock", "debugInfo": "x"},
                    ],
                },
            ],
            "currentlySelected": 1,
        },
    ],
}
CHATBOX = {
    "id": "b1",
    "name": "t",
    "messages": [
        {"id": "1", "role": "user", "contentParts": [{"type": "text", "text": "Name a river."}]},
        {
            "id": "2",
            "role": "assistant",
            "contentParts": [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": "The Elbe."}],
        },
    ],
    "threads": [
        {
            "id": "b0",
            "messages": [
                {"role": "user", "contentParts": [{"type": "text", "text": "Name a lake."}]},
                {"role": "assistant", "contentParts": [{"type": "text", "text": "Como."}]},
            ],
        }
    ],
}
HUGGINGCHAT = {
    "id": "h1",
    "title": "t",
    "rootMessageId": "0",
    "messages": [
        {"id": "0", "from": "system", "content": "", "children": ["1"]},
        {"id": "1", "from": "user", "content": "Name a river.", "ancestors": ["0"], "children": ["2", "3"]},
        {"id": "2", "from": "assistant", "content": "A lake.", "ancestors": ["0", "1"], "createdAt": "2024-01-01"},
        {
            "id": "3",
            "from": "assistant",
            "content": "The Elbe.",
            "reasoning": "hm",
            "ancestors": ["0", "1"],
            "createdAt": "2024-01-02",
            "score": -1,
        },
    ],
}
ANYTHINGLLM = [
    {"id": 1, "username": "u", "workspace": "w", "prompt": "Name a river.", "response": "A lake.", "rating": "BAD"},
    {"id": 2, "workspace": "w", "prompt": "Name a river.", "response": "<think>hm</think>The Elbe.", "rating": "--"},
]
SILLYTAVERN = [
    {"user_name": "U", "character_name": "C", "create_date": "2024-1-1", "chat_metadata": {}},
    {"name": "C", "is_user": False, "is_system": False, "mes": "Hello."},
    {"name": "U", "is_user": True, "is_system": False, "mes": "Name a river."},
    {
        "name": "C",
        "is_user": False,
        "is_system": False,
        "mes": "The Elbe.",
        "swipe_id": 1,
        "swipes": ["A lake.", "The Elbe."],
        "extra": {"reasoning": "hm"},
    },
]
CHARACTERAI = [
    {
        "external_id": "c1",
        "msgs": [
            {"src": {"is_human": True, "name": "U"}, "text": "Name a river."},
            {"src": {"is_human": False, "name": "C"}, "text": "The Elbe."},
        ],
    },
    {
        "chat_id": "c2",
        "turns": [
            {"author": {"is_human": True}, "candidates": [{"candidate_id": "1", "raw_content": "Name a river."}]},
            {
                "author": {"author_id": "9", "name": "C"},
                "candidates": [
                    {"candidate_id": "2", "raw_content": "A lake."},
                    {"candidate_id": "3", "raw_content": "The Elbe."},
                ],
                "primary_candidate_id": "3",
            },
        ],
    },
]
TEXTGEN = {
    "internal": [["<|BEGIN-VISIBLE-CHAT|>", "Hello."], ["Name a river.", "The Elbe &amp; more."]],
    "visible": [["", "Hello."], ["Name a river.", "The Elbe &amp; more."]],
}
TELEGRAM = {
    "name": "Ada",
    "type": "personal_chat",
    "id": 7,
    "messages": [
        {"id": 1, "type": "service", "date": "2024-01-01T08:00:00", "actor": "Ada", "action": "joined"},
        {
            "id": 2,
            "type": "message",
            "date": "2024-01-01T09:00:00",
            "from": "Ada",
            "from_id": "user1",
            "text": ["Name a ", {"type": "bold", "text": "river."}],
        },
        {
            "id": 3,
            "type": "message",
            "date": "2024-01-01T09:01:00",
            "from": "Moon",
            "from_id": "user2",
            "text": "The Elbe.",
        },
        {"id": 4, "type": "message", "date": "2024-01-01T10:00:00", "from": "Ada", "from_id": "user1", "text": "Lake?"},
        {"id": 5, "type": "message", "date": "2024-01-02T10:00:00", "from": "Moon", "from_id": "user2", "text": "Yes."},
    ],
}
WHATSAPP = """[01.02.24, 10:00:00] Ada: \u200eMessages are encrypted.
[01.02.24, 10:00:00] Ada: Name a river.
Any.
[01.02.24, 10:00:05] Moon: The Elbe.
[01.02.24, 10:01:00] Ada: \u200eimage omitted
[01.02.24, 10:02:00] Moon: Lovely!
"""
WHATSAPP_ANDROID = """01/02/24, 10:00 am - Messages are end-to-end encrypted.
01/02/24, 10:00\u202fam - Ada: Name a river.
01/02/24, 10:00\u202fam - Moon: The Elbe. <This message was edited>
01/02/24, 10:01\u202fam - Ada: Thanks.
01/02/24, 10:02\u202fam - Moon: This message was deleted
02/02/24, 9:00\u202fam - Moon: Good morning.
"""
