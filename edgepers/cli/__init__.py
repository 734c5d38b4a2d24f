"""The command line; `--help` loads no torch."""

from edgepers.cli.parser import build_parser
from edgepers.cli.run import main

__all__ = ["build_parser", "main"]
