import ctypes
import os
import subprocess
import sys

import pytest

FREES = """
import os, sys
from edgepers.model.heap import eager_trim, tune_malloc
if sys.argv[1] == "settled":
    tune_malloc()
import numpy, psutil
own = psutil.Process()
def rss():
    return own.memory_info().rss
numpy.ones(1)
before = rss()
held = [numpy.ones(1000, dtype=numpy.uint8) for i in range(200)]
with eager_trim(small=False):
    more = [numpy.ones(200_000 + 1000 * i, dtype=numpy.uint8) for i in range(400)]
    last = numpy.ones(90_000, dtype=numpy.uint8)
    del more
    after = rss()
print(after - before - sum(x.nbytes for x in held))
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_what_training_frees_goes_back_at_once():
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", FREES, "settled"], capture_output=True, text=True, check=True, env=environment
    )
    assert int(done.stdout) < 20_000_000  # of 160 MB that were freed


def test_what_the_user_has_set_stays(monkeypatch):
    from edgepers.model import heap

    called = []
    monkeypatch.setattr(heap, "_of_glibc", lambda name: lambda *_: called.append(name))
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")
    heap.tune_malloc()
    assert called == []
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "0"
