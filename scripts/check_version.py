"""Fail unless the newest entry of CHANGELOG.md is the package's version."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Compare the two, and say which differs."""
    found = re.search(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    package = re.search(
        r'^__version__ = "(.+)"', (ROOT / "edgepers" / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE
    )
    named = {
        name: match[1] if match else None
        for name, match in (("CHANGELOG.md", found), ("pyproject.toml", version), ("__init__.py", package))
    }
    if len(set(named.values())) == 1 and None not in named.values():
        return 0
    print(f"versions differ: {named}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
