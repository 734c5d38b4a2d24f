#!/bin/bash
# Test the C++ kernels by themselves: as they are, under sanitizers, and compiled for aarch64 under an emulator.
# What a machine cannot do is skipped with a line that says so; with --all (as CI runs it) it is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
all=${1:-}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=${PYTHON:-python3}

skip() {
    echo "csrc: $1" >&2
    [ "$all" != --all ] || exit 1
}

check() { # NAME COMPILER FLAGS RUNNER...
    local name=$1 cxx=$2 flags=$3
    shift 3
    echo "csrc: $name"
    "$python" csrc/build.py cpu "$folder/test" --test --cxx "$cxx" --flags="$flags"
    "$@" "$folder/test"
}

cxx=${CXX:-c++}
if ! command -v "${cxx%% *}" >/dev/null; then
    skip "no C++ compiler ($cxx): nothing tested"
    exit 0
fi
check "as it is" "$cxx" ""
check "address and undefined behaviour" "$cxx" "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"
check "threads" "$cxx" "-O1 -g -fsanitize=thread"

emulator=$(command -v qemu-aarch64-static || command -v qemu-aarch64 || true)
if command -v aarch64-linux-gnu-g++ >/dev/null && [ -n "$emulator" ]; then
    check "aarch64 under $(basename "$emulator")" aarch64-linux-gnu-g++ "-static -O2" "$emulator" -cpu max
else
    skip "no aarch64 compiler or emulator: not tested for Arm (Debian, Ubuntu: apt install g++-aarch64-linux-gnu qemu-user-static)"
fi
