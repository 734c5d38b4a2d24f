# Two commands do all the set-up: `make demo` and `make test`. TORCH=system takes the torch that is already installed.
PYTHON ?= python3
VENV ?= .venv
TORCH ?=
DEMO ?= edgepers-demo
BENCH ?= edgepers-bench
SERVE ?= edgepers-serve
MODEL ?=
ROUNDS ?=
JOBS ?= 2
BIN := $(VENV)/bin

# What the compiled kernels are made of: a change builds them again.
CSRC := setup.py $(wildcard csrc/*.* csrc/cpu/*)
CXX_SOURCES := $(filter %.h %.cpp %.cu,$(CSRC) $(wildcard csrc/tests/*))

.PHONY: demo serve test check bench wheel clean

# On SmolLM2-135M; MODEL=packaged: on the packaged test model. ROUNDS=3: of three rounds instead of two.
demo: $(VENV)/.plot
	$(BIN)/edgepers demo --out $(DEMO) $(if $(MODEL),--model $(MODEL)) $(if $(ROUNDS),--rounds $(ROUNDS))

# A server with OpenAI's interface on SmolLM2-135M, or MODEL; it prints its address, and Ctrl-C ends it.
serve: $(VENV)/.serve
	$(BIN)/edgepers serve --state $(SERVE) --model $(or $(MODEL),smollm2)

# Files of tests go to JOBS processes, which share the cores.
test: $(VENV)/.dev
	$(BIN)/pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(CXX_SOURCES)
	$(BIN)/typos
	$(BIN)/python scripts/check_version.py

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.all --out $(BENCH)

# dist/: the source archive, and a wheel for each machine that there is a compiler for.
wheel: $(VENV)/.dev
	$(BIN)/python scripts/build_wheels.py

$(VENV)/.plot: pyproject.toml $(CSRC) scripts/setup.sh constraints/*.txt
	PYTHON="$(PYTHON)" TORCH="$(TORCH)" scripts/setup.sh $(VENV) plot
	touch $@

$(VENV)/.serve: pyproject.toml $(CSRC) scripts/setup.sh constraints/*.txt
	PYTHON="$(PYTHON)" TORCH="$(TORCH)" scripts/setup.sh $(VENV) serve
	touch $@

$(VENV)/.dev: pyproject.toml $(CSRC) scripts/setup.sh constraints/*.txt
	PYTHON="$(PYTHON)" TORCH="$(TORCH)" scripts/setup.sh $(VENV) dev
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
