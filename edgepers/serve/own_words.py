"""What the owner has written of a turn: without what a program has retrieved and put around it."""

import re

__all__ = ["TASK", "own_words"]

TASK = re.compile(r"\s*#{1,4}\s*task\s*:", re.IGNORECASE)  # how Open WebUI's templates begin

_QUERY = (("<user_query>", "</user_query>"), ("<user_question>", "</user_question>"))
MOST_READ = 12_000  # characters in which blocks are looked for; longer turns were put together by a program
_BLOCKS = re.compile(
    r"<(context|attached_files|sources?|documents?|search_results?|files?_?(?:info|content)?|retrieved\w*|memory|memories)"
    r"(?:\s[^<>]*)?>.*?</\1>"
    r"|<!--\s*SYSTEM CONTEXT.*?END SYSTEM CONTEXT\s*-->",
    re.DOTALL | re.IGNORECASE,
)
_LEARNED = re.compile(r"\s*use the following (?:pieces of )?(?:context|information)\b", re.IGNORECASE)
_ASKED = re.compile(r"^\s*(?:query|question|user question|my question)\s*:\s*", re.IGNORECASE | re.MULTILINE)


def own_words(text: str) -> str:
    """The owner's own words of a user turn; "" where nothing of it is."""
    for begin, end in _QUERY:
        _, found, rest = text.rpartition(begin)
        said, closed, _ = rest.partition(end)
        if found and closed:
            return said.strip()
    around = TASK.match(text) or _LEARNED.match(text)
    if not around:
        return _without_blocks(text)
    _, closed, after = text.rpartition("</context>")
    if asked := list(_ASKED.finditer(after)):
        return after[asked[-1].end() :].strip()
    return _without_blocks(after if closed else text)


def _without_blocks(text: str) -> str:
    return "" if len(text) > MOST_READ else _BLOCKS.sub("", text).strip()
