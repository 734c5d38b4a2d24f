"""The answer alone: without thoughts, calls of tools and marks of citation that chat programs store inside it."""

import json
import re

from edgepers.streams.reasoning import answer_of

__all__ = ["HALF_CHARACTER", "UNFINISHED", "alone", "half_character"]

UNFINISHED = "an answer that was never finished"
ENDS_IN_TOOL = "an answer that ends in a tool's call"
HALF_CHARACTER = "half a character (a lone surrogate)"

# Open WebUI folds thoughts and tools away in <details>; older versions of it wrote no type.
_ATTRIBUTE = r"""\s+[\w:-]+(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'>]+))?"""
_FOLD = re.compile(rf"<details(?P<attributes>(?:{_ATTRIBUTE})*)\s*>|(?P<end></details\s*>)", re.IGNORECASE)
_TYPE = re.compile(r"""\btype\s*=\s*["']?(\w+)""", re.IGNORECASE)
_SUMMARY = re.compile(r"\s*<summary>\s*(?P<first>\w+)", re.IGNORECASE)
_THOUGHT_WORDS = {"thought", "thinking", "thoughts", "reasoning", "reasoned"}
_TOOL_WORDS = {"tool", "tools", "executed", "executing", "analyzed", "analyzing", "searched", "used", "calling"}
_TOOL_TYPES = {"tool_calls", "tool_call", "code_interpreter", "tool", "web_search", "code_execution"}

# ChatGPT writes marks between private-use characters: U+E200 kind U+E202 fields U+E201.
_MARK = re.compile("(?P<before>[ \\t]*)\ue200(?P<kind>\\w*)\ue202?(?P<fields>[^\ue200\ue201]{0,4000}?)(?:\ue201|\\Z)")
_SOURCE = re.compile(r"[ \t]*【\d+(?::\d+)?†[^】]{0,400}】")
_STRAY = re.compile("[\ue200-\ue206]")
_LABELLED = {"entity", "product_entity", "product"}
_LINKS = {"url", "link_title"}
# Reasoning models write the answer between marks of its own.
_WRAPPED = re.compile(
    r"\s*(?:<(?P<tag>answer|response|final_answer|solution)>(?P<tagged>.*)</(?P=tag)>"
    r"|<\|(?:begin_of_solution|START_RESPONSE)\|>(?P<marked>.*?)(?:<\|(?:end_of_solution|END_RESPONSE)\|>)?)\s*",
    re.DOTALL,
)
_SURROGATE = re.compile("[\ud800-\udfff]")


def alone(text: str) -> tuple[str, str]:
    """An answer without what is none of it, stripped; and "" or why nothing may be learned of it."""
    text, lost = _without_folds(text)
    if lost:
        return "", lost
    answer = answer_of(text)
    if answer is None:
        return "", UNFINISHED
    answer = _unwrapped(_without_marks(answer))
    return ("", f"an answer with {HALF_CHARACTER}") if half_character(answer) else (answer, "")


def half_character(text: str) -> bool:
    """Whether a text was cut in the middle of a character."""
    return _SURROGATE.search(text) is not None


def _unwrapped(text: str) -> str:
    """The answer inside of what marks it as the answer, where nothing stands outside."""
    found = _WRAPPED.fullmatch(text) if text[:1] == "<" else None
    return (found["tagged"] or found["marked"] or "").strip() if found else text


def _without_folds(text: str) -> tuple[str, str]:
    """The text outside of folded thoughts and tools; what comes before a tool is talk about it, and goes with it."""
    if "<details" not in text.lower():
        return text, ""
    kept, at, depth, after_tool = "", 0, 0, False
    for found in _FOLD.finditer(text):
        if depth:
            depth += -1 if found["end"] else 1
            if not depth:
                at = found.end()
            continue
        if found["end"]:
            continue
        kind = _kind(found["attributes"], text[found.end() : found.end() + 200])
        if not kind:
            continue
        kept, depth = ("" if kind == "tool" else kept + text[at : found.start()]), 1
        after_tool = after_tool or kind == "tool"
    if depth:
        return "", UNFINISHED
    kept += text[at:]
    return kept, (ENDS_IN_TOOL if after_tool and not kept.strip() else "")


def _kind(attributes: str, content: str) -> str:
    """Whether a fold holds a "thought" or a "tool", or is a part of the answer: ""."""
    kind = _TYPE.search(attributes)
    if kind is not None:
        name = kind[1].lower()
        return "thought" if name == "reasoning" else "tool" if name in _TOOL_TYPES else ""
    summary = _SUMMARY.match(content)
    word = summary["first"].lower() if summary else ""
    return "thought" if word in _THOUGHT_WORDS else "tool" if word in _TOOL_WORDS else ""


def _without_marks(text: str) -> str:
    if "【" in text:
        text = _SOURCE.sub("", text)
    if _STRAY.search(text):
        text = _STRAY.sub("", _MARK.sub(_written_out, text))
    return text.strip()


def _written_out(mark: re.Match[str]) -> str:
    """What a reader of the page sees of a mark: the name of a thing, the title of a link, nothing of a citation."""
    if mark["kind"] in _LINKS:
        return mark["before"] + mark["fields"].partition("\ue202")[0]
    if mark["kind"] in _LABELLED:
        try:
            fields = json.loads(mark["fields"])
        except ValueError:
            return ""
        if isinstance(fields, list) and len(fields) > 1 and isinstance(fields[1], str):
            return mark["before"] + fields[1]
    return ""
