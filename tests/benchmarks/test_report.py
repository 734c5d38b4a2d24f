"""Pages made from lines of results."""

from benchmarks.report import wrapped


def test_prose_of_the_page_is_wrapped_and_tables_are_not():
    row = "| " + "wide " * 40 + "|"
    page = wrapped(f"# Title\n\n{'some words ' * 30}\nmore\n\n{row}\n{row}\n")
    assert page.endswith(f"\n\n{row}\n{row}\n")
    assert all(len(line) <= 120 for line in page.splitlines() if not line.startswith("|"))
    assert page.split() == f"# Title {'some words ' * 30} more {row} {row}".split()
