"""Result files: JSON lines that the harness wrote, one a case."""

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Measured", "append_line", "lines_there", "measured", "read_lines"]

Row = dict[str, Any]


def read_lines(file: Path) -> list[Row]:
    """All lines of a result file; what is wrong with it ends the program in one line."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"{file}: {getattr(error, 'strerror', None) or error}; give a file of JSON lines") from None
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise SystemExit(f"{file}:{number}: not JSON ({error.msg}); give a file of JSON lines") from None
        if not isinstance(row, dict):
            raise SystemExit(f"{file}:{number}: a {type(row).__name__} where an object belongs")
        rows.append(row)
    return rows


def lines_there(file: Path) -> list[Row]:
    """`read_lines` of a file that may not be there yet."""
    return read_lines(file) if file.exists() else []


def append_line(file: Path, row: Row) -> None:
    """One more line, whole before the next is begun."""
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(row) + "\n")


@dataclass(frozen=True, slots=True)
class Measured:
    """One case, over all its lines in a file.

    The median of their medians, and the widest of their spreads, in milliseconds.
    """

    p20: float
    p50: float
    p80: float
    rows: list[Row]


def measured(rows: list[Row]) -> dict[tuple[str, str], Measured]:
    """Cases by (group, name); lines without a median and a spread are left out."""
    by_case: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.keys() >= {"group", "name", "p20_ms", "p50_ms", "p80_ms"}:
            by_case.setdefault((row["group"], row["name"]), []).append(row)
    return {
        case: Measured(
            min(row["p20_ms"] for row in own),
            statistics.median(row["p50_ms"] for row in own),
            max(row["p80_ms"] for row in own),
            own,
        )
        for case, own in by_case.items()
    }
