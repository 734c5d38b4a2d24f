"""What is written to the disk, counted from outside by a shim around the system's calls."""

import os
import shutil
import subprocess
import sys
import textwrap

import pytest

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static long syncs, bytes;
static int ours(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return strstr(path, "/buffer.db") != NULL;
}
static int our_folder(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return n > 6 && strcmp(path + n - 6, "/state") == 0;
}
int fsync(int fd) { syncs += ours(fd) || our_folder(fd); return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd); }
int fdatasync(int fd) { syncs += ours(fd) || our_folder(fd); return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(fd); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    if (ours(fd)) bytes += size;
    return ((ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64"))(fd, data, size, at);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }
ssize_t write(int fd, const void *data, size_t size) {
    if (ours(fd)) bytes += size;
    return ((ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write"))(fd, data, size);
}
void counts(long *out) { out[0] = syncs; out[1] = bytes; }
"""
PROGRAM = """
import ctypes, json, random, sys
from tests.state.test_buffer import admit, make, opened
out = (ctypes.c_long * 2)()
counts = lambda: (ctypes.CDLL(None).counts(out), *out)[1:]
with opened(sys.argv[1]) as buffer:
    def offer(i):
        order = [k.position for k in buffer]
        random.Random(i).shuffle(order)
        admit(buffer, make(i), order)
    for i in range(50):
        offer(i)
    before, noted = counts(), buffer.wear()
    for i in range(50, 150):
        offer(i)
    one_by_one = counts()[0] - before[0]
    for start in range(150, 250, 10):
        with buffer.exclusive():
            for i in range(start, start + 10):
                offer(i)
    held = counts()[0] - before[0] - one_by_one
    assert (one_by_one, held) == (500, 410), (one_by_one, held)
    now, after = counts(), buffer.wear()
    syncs, wrote = now[0] - before[0], now[1] - before[1]
    counted = after["fsyncs"] - noted["fsyncs"]
    assert syncs == counted, (syncs, counted, after["commits"] - noted["commits"])
    claimed = after["written_bytes"] - noted["written_bytes"]
    assert abs(claimed / wrote - 1) < 0.15, (claimed, wrote)
    buffer.advance(buffer.progress.set_dropped("policy"))
    assert counts() == now
"""


def test_fsyncs_and_bytes_are_what_the_system_saw(tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("g++")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler and Linux")
    (tmp_path / "shim.c").write_text(SHIM)
    shim = tmp_path / "shim.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-x", "c", tmp_path / "shim.c", "-o", shim, "-ldl"], check=True
    )
    env = os.environ | {"LD_PRELOAD": str(shim)}
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(tmp_path / "state")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
