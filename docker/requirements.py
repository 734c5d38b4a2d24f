"""Print what edgepers and its server stand on, one a line, but the packages that are named.

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
project = tomllib.loads(Path(file).read_text(encoding="utf-8"))["project"]
for requirement in [*project["dependencies"], *project["optional-dependencies"]["serve"]]:
    if re.split(r"[^\w-]", requirement)[0] not in without:
        print(requirement)
