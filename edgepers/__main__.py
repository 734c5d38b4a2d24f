"""`python -m edgepers`."""

import sys

from edgepers.cli.parser import main

sys.exit(main())
