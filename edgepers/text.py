"""Text on a terminal: widths as it shows them (Chinese and emoji take two columns), tables, columns side by side."""

import re
from collections.abc import Sequence

from wcwidth import wcswidth, wcwidth

__all__ = ["beside", "clip", "pad", "table", "width", "wrap"]

_NUMBER = re.compile(r"[+-]?[.\d][\d.,]*( ?(%|s|x|B|[KMGT]B|of \d+))?")


def width(text: str) -> int:
    """Columns that a text takes; control characters take none."""
    whole = wcswidth(text)
    return whole if whole >= 0 else sum(max(wcwidth(c), 0) for c in text)


def pad(text: str, columns: int, *, right: bool = False) -> str:
    """Filled up with blanks to a number of columns."""
    blanks = " " * max(columns - width(text), 0)
    return blanks + text if right else text + blanks


def clip(text: str, columns: int) -> str:
    """One line of at most so many columns, with … for what is cut off."""
    text = " ".join(text.split())
    if width(text) <= columns:
        return text
    taken = ""
    for character in text:
        if width(taken + character) > columns - 1:
            break
        taken += character
    return taken + "…"


def wrap(text: str, columns: int) -> list[str]:
    """Lines of at most so many columns, broken at blanks where there are any."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            joined = f"{line} {word}" if line else word
            if width(joined) <= columns:
                line = joined
                continue
            if line:
                lines.append(line)
            line = ""
            for character in word:  # a word longer than a line, or writing without blanks
                if width(line + character) > columns:
                    lines.append(line)
                    line = ""
                line += character
        lines.append(line)
    return lines


def beside(left: tuple[str, str], right: tuple[str, str], columns: int) -> str:
    """Two texts, each under its heading: next to each other where there is room, else one below the other."""
    if columns < 60:
        return "\n".join(
            line for head, text in (left, right) for line in (f"{head}:", *(f"  {x}" for x in wrap(text, columns - 2)))
        )
    each = (columns - 3) // 2
    parts = [[head, "-" * width(head), *wrap(text, each)] for head, text in (left, right)]
    rows = max(map(len, parts))
    one, two = ([*part, *[""] * (rows - len(part))] for part in parts)
    return "\n".join(f"{pad(a, each)} | {b}".rstrip() for a, b in zip(one, two, strict=True))


def table(rows: Sequence[Sequence[object]], head: Sequence[str] = ()) -> str:
    """Aligned columns, numbers to the right."""
    cells = [[*map(str, head)]] * bool(head) + [[str(cell) for cell in row] for row in rows]
    if not cells:
        return ""
    widths = [max(width(row[i]) for row in cells) for i in range(len(cells[0]))]
    numeric = [all(_is_number(str(row[i])) for row in rows) for i in range(len(widths))]
    lines = [
        "  ".join(pad(c, w, right=n) for c, w, n in zip(row, widths, numeric, strict=True)).rstrip() for row in cells
    ]
    if head:
        lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(lines)


def _is_number(cell: str) -> bool:
    return cell in ("", "-", "yes", "no") or _NUMBER.fullmatch(cell) is not None
