"""Write docs/commands.md from the command line's own help: python scripts/write_commands.py."""

import argparse
import sys
from pathlib import Path
from typing import Any

NOT_RUN = {
    "demo": "takes minutes, and has its own test",
    "guard": "needs a file that llama.cpp has quantized",
    "serve": "serves until it is ended",
}
PAGE = Path(__file__).parent.parent / "docs" / "commands.md"


def _options(actions: list[Any]) -> list[str]:
    rows = []
    for action in actions:
        if isinstance(action, argparse._HelpAction):
            continue
        names = ", ".join(f"`{name}`" for name in action.option_strings) or f"`{action.metavar or action.dest}`"
        value = (
            ""
            if not action.option_strings or action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction)
            else action.metavar
        )
        if action.choices is not None:
            value = " or ".join(map(str, action.choices))
        text = (action.help or "").replace("%%", "%").replace("|", "\\|")
        rows.append(
            f"| {names}{f' {value}' if value else ''} |"
            f" {text}{' (required)' if action.required and action.option_strings else ''} |"
        )
    return rows


def page(parser: argparse.ArgumentParser) -> str:
    """The whole page; settings, which most commands share, stand once at its end."""
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    lines = [
        "# Commands",
        "",
        "Made from the commands' own help by `scripts/write_commands.py`. Every command takes `--json`: one JSON"
        " object on",
        "stdout, everything else on stderr. Exit codes: 0 done, 1 a known failure in one line, 2 wrong usage.",
        "",
    ]
    settings: list[Any] = []
    for name, sub in commands.choices.items():
        own, shared = [], []
        for group in sub._action_groups:
            (shared if group.title == "settings" else own).extend(group._group_actions)
        settings = shared or settings
        example = sub.epilog.split("\n  ", 1)[1]
        mark = [f"<!-- not run: {NOT_RUN[name]} -->"] if name in NOT_RUN else []
        lines += [
            f"## {name}",
            "",
            sub.description,
            "",
            *mark,
            "```sh",
            example,
            "```",
            "",
            "| argument | meaning |",
            "| --- | --- |",
            *_options(own),
            "",
        ]
        if shared:
            lines += ["And the [settings](#settings).", ""]
    lines += ["## Settings", "", "Kept in the state's `edgepers.toml`; what is given again replaces what is there.", ""]
    lines += ["| setting | meaning |", "| --- | --- |", *_options(settings)]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the page."""
    from edgepers.cli import build_parser

    PAGE.write_text(page(build_parser()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
