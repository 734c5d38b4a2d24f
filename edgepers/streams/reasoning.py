"""What a reasoning model thought before it answered, told apart from its answer: one table of forms for everybody.

Readers of streams, answers that are shown and sets that are learned all leave it out.
"""

import re
from typing import NamedTuple

__all__ = ["REASONING_TOKENS", "answer_of", "closing_of", "visible_answer"]


class _Form(NamedTuple):
    """How one family of models marks its thoughts.

    Patterns of the opening and of the end, and the end as it is written.
    """

    opening: str
    end: str
    written_end: str


def _tag(name: str) -> _Form:
    """`<name>` with any attributes, and `</name>`; not where it is quoted as code."""
    return _Form(rf"(?<!`)<{name}(?:\s[^<>]*)?>", rf"</{name}\s*>(?!`)", f"</{name}>")


_TAGS = (
    "think",
    "thinking",
    "reasoning",
    "thought",
    "thoughts",
    "reflection",
    "seed:think",
    "antThinking",
    "scratchpad",
    "inner_monologue",
)
_FORMS = (
    *map(_tag, _TAGS),
    _Form(r"\[THINK\]", r"\[/THINK\]", "[/THINK]"),  # Mistral's
    _Form("◁think▷", "◁/think▷", "◁/think▷"),  # Kimi's
    _Form(r"<\|channel>\s*thought", r"<channel\|>", "<channel|>"),  # Gemma's
    _Form(r"<\|begin_of_thought\|>", r"<\|end_of_thought\|>", "<|end_of_thought|>"),
    _Form(r"<\|thinking\|>", r"<\|/thinking\|>", "<|/thinking|>"),
    _Form(r"<\|START_THINKING\|>", r"<\|END_THINKING\|>", "<|END_THINKING|>"),  # Cohere's
    _Form(r"<\|inner_prefix\|>", r"<\|inner_suffix\|>", "<|inner_suffix|>"),  # Apertus'
)
_MARKER = re.compile(
    "|".join(f"(?P<o{i}>{form.opening})|(?P<e{i}>{form.end})" for i, form in enumerate(_FORMS)), re.IGNORECASE
)
_SIGN = re.compile(r"[<\[◁]")  # with which every marker begins: most answers have none, and need no closer look
# Harmony (gpt-oss): <|start|>assistant<|channel|>analysis<|message|>...<|end|>, of which the channel "final" is the
# answer
_CHANNEL = re.compile(
    r"(?:<\|start\|>[^<]*)?<\|channel\|>(?P<name>[^<]*)(?:<\|constrain\|>[^<]*)?<\|message\|>(?P<text>.*?)"
    r"(?P<end><\|end\|>|<\|return\|>|<\|call\|>|(?=<\|start\|>)|\Z)",
    re.DOTALL,
)
_HARMONY = re.compile(r"<\|(?:channel|start|message|end|return|call)\|>")
_BEGUN = re.compile(
    r"(?:<\|channel>\s*[a-z]*|<[/|]?(?:[\w:/|]+(?:\s[^<>]{0,40})?)?|\[/?[A-Za-z]*|◁/?[a-zA-Z]*)\Z"
)  # perhaps a marker, not whole yet

REASONING_TOKENS = re.compile(  # tokens of a vocabulary that mark thoughts; some tokenizers call them special
    rf"</?(?:{'|'.join(_TAGS)})>|\[/?THINK\]|◁/?think▷|<\|channel>|<channel\|>|<\|(?:begin|end)_of_thought\|>"
    r"|<\|/?thinking\|>|<\|(?:START|END)_THINKING\|>|<\|inner_(?:prefix|suffix)\|>|<\|(?:channel|message)\|>",
    re.IGNORECASE,
)


def answer_of(text: str) -> str | None:
    """The answer alone, stripped; None where a thought has begun and not ended, for then there is no answer yet.

    Blocks go wherever they stand. What comes before an end without an opening was a thought, too: its opening was in
    the prompt.
    """
    if "<|channel|>" in text:
        finals = [found["text"] for found in _CHANNEL.finditer(text) if found["name"].strip() == "final"]
        return finals[-1].strip() if finals else None
    answer, thinking = _without_thoughts(text)
    return None if thinking else answer.strip()


def visible_answer(text: str, *, whole: bool = True) -> str:
    """What may be shown of an answer: no thought, whether it has ended or not.

    Args:
        text: as far as the answer is written.
        whole: False while it goes on: what may become a marker at its end waits.
    """
    if "<|channel|>" in text:
        finals = [found["text"] for found in _CHANNEL.finditer(text) if found["name"].strip() == "final"]
        shown = finals[-1] if finals else ""
    else:
        shown, _ = _without_thoughts(text)
    if not whole and (begun := _BEGUN.search(shown)):
        shown = shown[: begun.start()]
    return _HARMONY.sub("", shown) if "<|" in shown else shown


def closing_of(prompt: str) -> str:
    """What ends the thought in which a prompt ends, "" where it ends in none: `</think>` after `...<think>`."""
    last = None
    for marker in _MARKER.finditer(prompt):
        last = marker
    if last is None or last.lastgroup is None or last.lastgroup.startswith("e"):
        return ""
    return "" if prompt[last.end() :].strip() else _FORMS[int(last.lastgroup[1:])].written_end


def _without_thoughts(text: str) -> tuple[str, bool]:
    """The text outside of thoughts, and whether one is still open at its end."""
    if _SIGN.search(text) is None:
        return text, False
    kept, at = "", 0
    inside: str | None = None  # number of the form whose thought this is
    for marker in _MARKER.finditer(text):
        kind, form = str(marker.lastgroup)[0], str(marker.lastgroup)[1:]
        if inside is None:
            kept = _joined(kept, text[at : marker.start()]) if kind == "o" else ""
            inside = form if kind == "o" else None
            at = marker.end()
        elif kind == "e" and form == inside:
            inside, at = None, marker.end()
    return (kept, True) if inside is not None else (_joined(kept, text[at:]), False)


def _joined(before: str, after: str) -> str:
    return before + (after.lstrip() if not before.strip() or before[-1].isspace() else after)
