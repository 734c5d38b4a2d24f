"""Calls that a chat program makes for itself: titles, tags, follow-up questions, search queries, completions.

They go to the same model as the owner's turns, and often look like one. Where a program says what it calls for
(`X-Edgepers-Task`), that decides; else these forms do.
"""

import re
from collections.abc import Sequence

from edgepers.model.prompts import Message
from edgepers.serve.own_words import TASK, own_words

__all__ = ["is_task"]

# How Open WebUI's templates go on after "### Task:", whatever language their user has made of the rest.
_SECTIONS = re.compile(
    r"^[ \t]*#{2,4}[ \t]*\**(?:guidelines?|output|output rules|instructions?|examples?|chat history|context"
    r"|response format)\b"
    r"|<chat_history>|<type>|\bJSON format:",
    re.IGNORECASE | re.MULTILINE,
)
_SPEAKS = re.compile(r"<chat_history>.*</chat_history>", re.DOTALL)

_TALK = (
    r"(?:chat|conversation|dialog|dialogue|discussion|exchange|talk|thread"
    r"|(?:user'?s )?(?:query|message|question|input))s?\b"
)
_COUNT = r"(?:\d+|three|four|five|six|seven|ten)"
_ONLY = (
    r"(?:\bonly\b|nothing else|without (?:any|quotation|punctuation)|concise|succinct|brief|omit|RESPOND"
    r"|no (?:quotes|quotation|punctuation|prefix|explanation)|do not (?:include|use|answer|respond|reply)"
    rf"|no longer than|at most|or less|or fewer|characters max|{_COUNT}[ -](?:to[ -]{_COUNT}[ -])?words?)"
)
_TITLE = re.compile(
    r"\A(?=.*\b(?:titles?|headings?|header|name for|a name)\b)"
    rf"(?=.*\b(?:this|the|our|previous|following|above|a|for|of) (?:[\w'’]+ ){{0,2}}{_TALK})"
    r"(?=.*\b(?:generate|create|provide|write|give|summari[sz]e\w*|suggest|reply|respond|condense|craft|come up)\b)"
    rf"(?=.*{_ONLY})",
    re.IGNORECASE | re.DOTALL,
)
_ALONE = re.compile(  # nobody says this to an assistant
    r"your task is to (?:reflect the speaker's|synthesize these responses|choose and return the correct tool)"
    r"|you are an autocompletion system"
    r"|<\|?fim[_▁](?:prefix|begin|suffix|hole)\|?>",
    re.IGNORECASE,
)
_OTHERS = re.compile(
    r"given the following conversation and a follow[- ]?up (?:question|input).*(?:rephrase|standalone)"
    r"|(?:rephrase|reformulate) the (?:follow[- ]?up|latest|user'?s? (?:latest )?) ?(?:question|query|message|input).*"
    r"(?:standalone|search)"
    r"|\byou are [^.\n]{0,60}\b(?:generates? (?:multiple |\d+ )?search queries|generates? titles)"
    r"|summari[sz]e the (?:discussion|conversation|chat|dialogue)\b.*\b(?:for|as) (?:a |the )?"
    r"(?:prompt|future|context|memory)"
    r"|generate (?:\d+|some|a few|several|three|four|five)[\w -]{0,20}(?:search quer|follow[- ]?up|tags?\b)"
    r"|suggest (?:\d|some|a few|several|three|four|five)[\w -]{0,20}(?:follow[- ]?up|(?:questions|replies)"
    r" (?:that )?the user)",
    re.IGNORECASE | re.DOTALL,
)
_BOTH_SIDES = re.compile(  # a talk that is quoted, after which nobody asks anything
    r"^[ \t]*[*\[<]*(?:user|human)\b[^\n]{0,3}:.*^[ \t]*[*\[<]*(?:assistant|ai|bot|chatgpt)\b[^\n]{0,3}:",
    re.IGNORECASE | re.DOTALL | re.MULTILINE,
)
_FORMAL = re.compile(r"<[a-z_]+>|```|json|\{\s?\"|^[ \t]*(?:user|human|assistant|ai)\s*:", re.IGNORECASE | re.MULTILINE)
_WRITER = re.compile(
    r"\byou are (?:a|an|the) [\w -]{0,40}(?:conversation (?:summari[sz]er|titles?)|title (?:generator|writer|assistant)"
    r"|conversation titles|topic (?:generator|namer)|tagging (?:assistant|system)|search query generator"
    r"|query (?:generator|rewriter)|autocompletion)",
    re.IGNORECASE,
)
MOST_READ = 8000  # characters from either end of a message; what is wanted stands at its beginning or at its end
MOST_SYSTEM = 1500  # characters of a system turn that is for one task alone; longer ones may speak of titles, too


def is_task(messages: Sequence[Message], task: str | None = None) -> bool:
    """Whether a call is the program's own.

    Args:
        messages: of the call; the last turn of the user's counts, and what the system says of the assistant.
        task: what the program calls it for, "" for an owner's turn; None: it does not say.
    """
    if task is not None:
        return bool(task)
    system = " ".join(message["content"][:MOST_READ] for message in messages if message["role"] == "system")
    user = next((message["content"] for message in reversed(messages) if message["role"] == "user"), "")
    said = _ends(user)
    if _of_template(said):
        return True
    said = _ends(own_words(user))
    return bool(
        _ALONE.search(said)
        or _ALONE.search(system)
        or _WRITER.search(system)
        or _OTHERS.search(system)
        or (len(system) < MOST_SYSTEM and _TITLE.search(system))
        or (_BOTH_SIDES.search(said) and re.search(_ONLY + r"|\bJSON\b", said, re.IGNORECASE))
        or (_bounded(said) and (_OTHERS.search(said) or any(map(_TITLE.search, _paragraphs(said)))))
    )


def _ends(text: str) -> str:
    return text if len(text) <= 2 * MOST_READ else f"{text[:MOST_READ]}\n{text[-MOST_READ:]}"


def _of_template(said: str) -> bool:
    """Whether it is one of Open WebUI's task templates; the one that brings what was retrieved is an owner's turn."""
    if not TASK.match(said):
        return False
    if "<context>" in said and not _SPEAKS.search(said):
        return False
    return _SECTIONS.search(said) is not None


def _paragraphs(said: str) -> list[str]:
    return re.split(r"\n\s*\n", said)


def _bounded(said: str) -> bool:
    """Whether it speaks of how to answer, not of the matter alone: it quotes a talk, or bounds the answer's form."""
    return bool(_FORMAL.search(said) or re.search(_ONLY, said, re.IGNORECASE))
