"""The one prompt that asks for a variation, and how its answer is read (paper, section 3.3)."""

import re

__all__ = ["PROMPT", "parse"]

PROMPT = (
    "Please refine and generate a text semantically similar to the following text block, no need to answer it, no need"
    " to explain, "
    "use [ ] to hold your generated response: "
)

_NARROW = str.maketrans("［］【】", "[][]")  # as models write them among Chinese and Japanese characters


def parse(answer: str) -> str | None:
    """Take the text between the first `[` and the last `]` after it.

    An unclosed bracket runs to the end; without a bracket there is None.
    """
    narrow = answer.translate(_NARROW)
    match = re.search(r"\[(.*)\]", narrow, re.DOTALL) or re.search(r"\[(.*)", narrow, re.DOTALL)
    if match is None or not match[1].strip():
        return None
    return " ".join(answer[slice(*match.span(1))].split())
