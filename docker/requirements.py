"""Print what edgepers stands on, one a line, but the packages that are named.

A layer of its own, which a change of code does not touch.
"""

import re
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib  # in every environment that has pip

file, *without = sys.argv[1:]
for requirement in tomllib.loads(Path(file).read_text(encoding="utf-8"))["project"]["dependencies"]:
    if re.split(r"[^\w-]", requirement)[0] not in without:
        print(requirement)
