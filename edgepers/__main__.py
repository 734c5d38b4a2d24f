"""`python -m edgepers`."""

import sys

from edgepers.cli import main

sys.exit(main())
