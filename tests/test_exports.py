import subprocess
import sys

import edgepers


def test_every_public_name_can_be_imported_and_is_listed():
    for name in edgepers.__all__:
        assert getattr(edgepers, name) is not None
        assert name in dir(edgepers)


def test_importing_the_package_loads_no_torch():
    code = "import edgepers, edgepers.cli, sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
