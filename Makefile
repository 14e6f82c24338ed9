# Two commands matter: `make demo` and `make test`. `make` alone lists them all.
PYTHON ?= python3
VENV ?= .venv
# An extra index for the CPU build of torch (README, "Set-up"); empty: the registry pip is configured for.
TORCH_INDEX ?=
JOBS ?= 2
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
export OMP_NUM_THREADS := 1
export TOKENIZERS_PARALLELISM := false
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo check test nightly bench docs clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "posttrain needs Python 3.11 or newer with its venv module (Debian: apt install python3 python3-venv); $(PYTHON) is not that. Choose another with make PYTHON=..."; exit 4; }
	$(PYTHON) -m venv $(VENV)

# torch first and pinned: a bare `torch` pulls gigabytes of CUDA packages on Linux.
$(VENV)/.run: $(BIN)/python constraints.txt pyproject.toml
	$(PIP) torch==2.13.0
	$(PIP) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	$(PIP) -e '.[dev]'
	@touch $@

demo: $(VENV)/.run  ## make a tiny model, train it through the whole spectrum recipe, show what it learned
	$(BIN)/posttrain run spectrum --profile tiny

check: $(VENV)/.dev  ## static checks: style, types, rooms (under a minute)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/basedpyright
	$(BIN)/python -m pytest -q -p no:randomly tests/house

test: $(VENV)/.dev  ## the test suite
	$(BIN)/python -m pytest -q -n $(JOBS) -m 'not nightly'

nightly: $(VENV)/.dev  ## what takes longer: tiny profiles with learning gates, long chaos and fuzz, benches, coverage
	$(BIN)/python -m coverage run -m pytest -q -m 'not nightly'
	$(BIN)/python -m coverage report
	$(BIN)/python -m pytest -q -s -p no:randomly -m nightly
	$(MAKE) bench

bench: $(VENV)/.dev  ## side-by-side measurements against peers; prints ratios
	@for script in bench/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

docs: $(VENV)/.dev  ## generate the references under docs/
	$(BIN)/python dev/acceptance.py
	$(BIN)/python dev/reference.py

clean:  ## remove the environment and everything generated
	rm -rf $(VENV) runs .pytest_cache .ruff_cache .hypothesis .coverage
