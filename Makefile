# Two commands do all the set-up: `make demo` and `make test`. TORCH=system takes the torch that is already installed.
PYTHON ?= python3
VENV ?= .venv
TORCH ?=
DEMO ?= edgepers-demo
BIN := $(VENV)/bin

.PHONY: demo test check clean

demo: $(VENV)/.plot
	$(BIN)/edgepers demo --out $(DEMO)

test: $(VENV)/.dev
	$(BIN)/pytest

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python scripts/check_version.py


$(VENV)/.plot: pyproject.toml scripts/setup.sh constraints/*.txt
	PYTHON="$(PYTHON)" TORCH="$(TORCH)" scripts/setup.sh $(VENV) plot
	touch $@

$(VENV)/.dev: pyproject.toml scripts/setup.sh constraints/*.txt
	PYTHON="$(PYTHON)" TORCH="$(TORCH)" scripts/setup.sh $(VENV) dev
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
