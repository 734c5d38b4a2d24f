import pytest

from edgepers.text import beside, clip, pad, table, width, wrap


@pytest.mark.parametrize(
    ("text", "columns"),
    [("abc", 3), ("你好", 4), ("é", 1), ("e\u0301", 1), ("👍", 2), ("नमस्ते", 4), ("a\x07b", 2), ("", 0)],
)
def test_width_is_what_a_terminal_shows(text, columns):
    assert width(text) == columns


def test_pad_and_clip_count_columns():
    assert pad("你好", 6) == "你好  " and pad("7", 3, right=True) == "  7"
    assert clip("one  two\nthree", 20) == "one two three"
    assert clip("你好世界", 6) == "你好…" and width(clip("你好世界", 6)) <= 6


@pytest.mark.parametrize(
    "text",
    [
        "some words of a sentence",
        "你好世界你好世界",
        "averylongwordwithoutanyblank x",
        "",
        "a\n\nb",
        "смешанный text 混合",
    ],
)
def test_wrapped_lines_fit_and_lose_nothing(text):
    lines = wrap(text, 9)
    assert all(width(line) <= 9 for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_wide_characters_align_in_tables_and_side_by_side():
    lines = table([("中文", 1), ("word", 22)], ("language", "sets")).split("\n")
    assert len({width(line) for line in lines}) == 1
    both = beside(("你", "你好 世界"), ("base", "hello"), 80).split("\n")
    assert len({width(line[: line.index("|")]) for line in both}) == 1
    assert "|" not in beside(("a", "b"), ("c", "d"), 40)
    assert table([]) == ""
