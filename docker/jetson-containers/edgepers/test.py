#!/usr/bin/env python3
"""What jetson-containers runs in the finished image, on the board.

Every op on its GPU against float64, and the doctor.
"""

import subprocess

import torch

from edgepers import ops

assert torch.cuda.is_available(), "torch sees no GPU; is the container run with --runtime nvidia?"
print("ops on the GPU:", ops.backends("cuda"))  # each one is checked before it serves
subprocess.run(["edgepers", "doctor"], check=False)
subprocess.run(["edgepers", "--version"], check=True)
