"""Whether a turn says that the answer before it was not what was wanted.

"No, I meant my other sister." It is told by how the turn begins, in six languages, and by an answer that asked
nothing: to "Do you like it?" a "no" says nothing of the answer.
"""

import re

__all__ = ["doubts"]

_BEGINS = re.compile(
    r"""\W*(?:(?:sorry|hm+|ähm?|well|but|actually|aber|mais|pero)\b\W*)?(?:
    (?:no|nope|nah|nein|nee|non|não)\s*(?:(?=(?P<signs>[,.!;:–—]+))(?P=signs)|-+(?=\s))\s*(?!
        # what takes no answer back
        thank|thx|problem|worr|need|no\ (?:problem|worr|need|thank)|go\ ahead|carry\ on
        |that'?s\ (?:all|it|fine|ok|great|everything)|it'?s\ (?:fine|ok)
        |i'?m\ (?:good|fine|ok)|danke|passt
        |alles|schon\ gut|merci|ça\ va|gracias|está\ bien|grazie|obrigad|of\ course|natürlich|really\b
    )(?=\S)
    | (?:no|nope|nein|non|não)\W*$
    | no\s+(?:i\ (?:meant|said|asked)|that['’]?s\ (?:wrong|not))\b
    | (?:this|it)(?:['’]?s|\ is|\ was)\ (?:wrong|incorrect|false)\s*(?:[.,!;]|$)
    | that(?:['’]?s|\ is|\ was)\ (?:not\ (?:right|correct|true|it|what|how|who|where|when|my)|wrong|incorrect|false)\b
    | that\ (?:isn|wasn)['’]?t\ (?:right|correct|true|it|what|how|who|where|when|my)\b
    | you(?:['’]re|\ are|\ got\ (?:it|that|this))\ (?:wrong|mistaken)\b
    | wrong\s*[,.!;–] | wrong$ | incorrect\b
    | i\ (?:meant|was\ asking)\b | not\ (?:that(?!\ i\ )|what\ i)\b | what\ i\ meant\b
    | das\ (?:ist|war|stimmt)\ (?:so\ )?(?:nicht|falsch)\b | stimmt\ nicht\b | falsch\s*[,.!:;–-] | falsch$
    | ich\ (?:meinte|meine)\b
    | ce\ n['’]est\ pas\ (?:ça|juste|vrai)\b | c['’]est\ faux\b | je\ (?:voulais\ dire|parlais\ d)
    | (?:eso\ )?no\ es\ (?:eso|así|correcto|verdad)\b | me\ refería\b | quise\ decir\b | está\ mal\b
    | non\ è\ (?:vero|così|giusto|corretto)\b | intendevo\b | volevo\ dire\b | [èé]\ sbagliato\b
    | não\ é\ (?:isso|assim)\b | eu\ quis\ dizer\b | está\ errado\b
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def doubts(answer: str, next_turn: str) -> bool:
    """Whether what a person says next takes an answer for wrong or beside the point.

    Args:
        answer: the assistant's, before it.
        next_turn: the person's words alone.
    """
    return not _asks(answer) and _BEGINS.match(next_turn) is not None


def _asks(answer: str) -> bool:
    """Whether an answer ends in a question mark, whatever other signs follow it."""
    for sign in reversed(answer):
        if sign in "?？":
            return True
        if sign.isalnum():
            return False
    return False
