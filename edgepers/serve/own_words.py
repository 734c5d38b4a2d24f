"""What the owner has written of a turn: without what a program has retrieved and put around it."""

import re

__all__ = ["own_words"]

_QUERY = re.compile(r"<user_query>(.*?)</user_query>|<user_question>(.*?)</user_question>", re.DOTALL | re.IGNORECASE)
_BLOCKS = re.compile(
    r"<(context|attached_files|sources?|documents?|search_results?|files?_?(?:info|content)?|retrieved\w*|memor(?:y|ies))"
    r"(?:\s[^<>]*)?>.*?</\1>"
    r"|<!--\s*SYSTEM CONTEXT.*?END SYSTEM CONTEXT\s*-->",
    re.DOTALL | re.IGNORECASE,
)
_TEMPLATE = re.compile(r"\s*#{1,4}\s*task\s*:", re.IGNORECASE)
_LEARNED = re.compile(r"\s*use the following (?:pieces of )?(?:context|information)\b", re.IGNORECASE)
_ASKED = re.compile(r"^\s*(?:query|question|user question|my question)\s*:\s*", re.IGNORECASE | re.MULTILINE)


def own_words(text: str) -> str:
    """The owner's own words of a user turn; "" where nothing of it is."""
    if found := _QUERY.search(text):
        return (found[1] or found[2] or "").strip()
    around = _TEMPLATE.match(text) or _LEARNED.match(text)
    if not around:
        return _BLOCKS.sub("", text).strip()
    _, closed, after = text.rpartition("</context>")
    if asked := list(_ASKED.finditer(after)):
        return after[asked[-1].end() :].strip()
    return _BLOCKS.sub("", after if closed else text).strip()
