"""The JSON of one record, as forgiving as it can be without guessing: what it holds is what a person reads there."""

import json
import re
from dataclasses import dataclass
from typing import Any

__all__ = ["MAX_LINE_BYTES", "NotJson", "Values", "decode"]

MAX_LINE_BYTES = 64 << 20  # a longer record is malformed; it bounds what one bad record can cost in memory
_MOST_DIGITS = 4000  # Python converts no more than 4300 in one number
_BOM = b"\xef\xbb\xbf"
_BETWEEN = re.compile(r"[\s,]*")
_TRAILING = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])')


class NotJson(ValueError):
    """What stands there is no JSON at all."""


@dataclass(frozen=True, slots=True)
class Values:
    """Several values on one line; an error stands for one that is malformed."""

    values: tuple[object, ...]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        first: dict[str, Any] = {}
        for name, value in pairs:
            if first.setdefault(name, value) != value:
                raise ValueError(f"the name {name[:40]!r} stands twice in one object, with different values")
    return found


def _whole(digits: str) -> int | str:
    """A number, or where it is longer than any quantity, the digits as they stand there."""
    return int(digits) if len(digits) <= _MOST_DIGITS else digits


def _fraction(digits: str) -> float | str:
    value = float(digits)
    return digits if value in (float("inf"), float("-inf")) else value


def _no_number(_: str) -> None:
    """NaN and infinities, which programs write where a value is missing."""


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_whole, parse_float=_fraction, parse_constant=_no_number
)


def decode(data: bytes) -> object:
    """The JSON value of one record's bytes; `Values` where there are several.

    Raises:
        ValueError: says what is wrong and where.
    """
    if len(data) > MAX_LINE_BYTES:
        raise ValueError(f"longer than {MAX_LINE_BYTES >> 20} MiB")
    try:
        text = data.removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"byte {error.start + 1} is not UTF-8; where the file is in another encoding, give --encoding (latin-1,"
            " cp1252, ...)"
        ) from None
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        return _several(text, error)
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None


def _several(text: str, first: json.JSONDecodeError) -> object:
    """What is not one value: several of them, or one with a comma too many."""
    values = _read(text)
    if not values or isinstance(values[-1], json.JSONDecodeError):
        again = _read(_TRAILING.sub(lambda found: found[1] or "", text)) if first.pos and "," in text else []
        values = again if again and not isinstance(again[-1], json.JSONDecodeError) else values
    if not values or isinstance(values[0], json.JSONDecodeError):
        raise NotJson(_said(first)) from None
    if len(values) > 1:
        return Values(
            tuple(ValueError(_said(value)) if isinstance(value, json.JSONDecodeError) else value for value in values)
        )
    return values[0]


def _read(text: str) -> list[object]:
    """Objects and lists one after another; the last is an error where something else stands there."""
    values: list[object] = []
    at = _BETWEEN.match(text).end()  # type: ignore[union-attr]
    while at < len(text):
        try:
            if text[at] not in "{[":
                raise json.JSONDecodeError("Expecting value", text, at)
            value, at = _DECODER.raw_decode(text, at)
        except json.JSONDecodeError as error:
            return [*values, error]
        except RecursionError:
            raise ValueError("not JSON: nested too deeply") from None
        values.append(value)
        at = _BETWEEN.match(text, at).end()  # type: ignore[union-attr]
    return values


def _said(error: json.JSONDecodeError) -> str:
    line = f"line {error.lineno} of the record, " if error.lineno > 1 else ""
    return f"not JSON at {line}column {error.colno}: {error.msg}"
