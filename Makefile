# `make demo` and `make test` are all that a newcomer needs; `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:  # two pip processes in one environment would disturb each other

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input

# The first interpreter that is new enough; override with `make test PYTHON=/path/to/python3.12`.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { command -v "$$python"; break; }; done)

# The folder with the 24 real patch pairs that the tests use.
SAMPLE ?= $(CURDIR)/.sample

# Anything else for pytest, for example `make test ARGS="tests/spec -x"`.
ARGS ?=

ON_SAMPLE := REBEN_SAMPLE="$(SAMPLE)" REBEN_REQUIRE_SAMPLE=1

##@ The two commands of the README

.PHONY: demo
demo: $(STAMPS)/package  ## real patches, end to end: sample, train, evaluate, card, load, predict
	REBEN_SAMPLE="$(SAMPLE)" PATH="$(CURDIR)/$(BIN):$$PATH" bash scripts/demo.sh

.PHONY: test
test: sample  ## the default test suite, on the real sample
	$(ON_SAMPLE) $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

##@ More tests

.PHONY: test-slow
test-slow: sample  ## the tests that take more than a few seconds each
	$(ON_SAMPLE) $(BIN)/python -m pytest -m "slow and not network and not gpu and not browser" $(ARGS)

.PHONY: test-browser
test-browser: sample  ## the demo page in Chromium, which has to be on the machine
	$(ON_SAMPLE) $(BIN)/python -m pytest -m browser $(ARGS)

.PHONY: fuzz
fuzz: sample  ## damaged inputs for every reader, 100,000 for each; FUZZ_SEED=N for others
	$(ON_SAMPLE) REBEN_FUZZ_CASES=100000 REBEN_FUZZ_SEED=$${FUZZ_SEED:-0} \
		$(BIN)/python -m pytest -n auto tests/fuzz $(ARGS)

.PHONY: coverage
coverage: sample  ## the default suite with a table of the lines that no test runs
	$(ON_SAMPLE) $(BIN)/python -m pytest --cov --cov-report=term-missing:skip-covered $(ARGS)

.PHONY: sample
sample: $(STAMPS)/package $(STAMPS)/test  ## fetch the 24 real patch pairs into SAMPLE, once
	$(BIN)/reben sample "$(SAMPLE)"

.PHONY: notebooks
notebooks: sample  ## the notebooks of examples/, executed in a temporary folder
	REBEN_SAMPLE="$(SAMPLE)" $(BIN)/python scripts/run_notebooks.py examples/*.ipynb

##@ Checks

.PHONY: lint
lint: $(STAMPS)/lint  ## style and likely mistakes
	$(BIN)/ruff check
	$(BIN)/ruff format --check

.PHONY: types
types: $(STAMPS)/package $(STAMPS)/lint  ## types, strictly
	$(BIN)/mypy

.PHONY: contracts
contracts: $(STAMPS)/package $(STAMPS)/lint  ## who may import whom
	$(BIN)/lint-imports

.PHONY: docs
docs: $(STAMPS)/package $(STAMPS)/docs  ## the documentation, into site/; a dead link is an error
	$(BIN)/zensical build --clean --strict

.PHONY: dist
dist: sample $(STAMPS)/dist  ## sdist and wheel into dist/; the wheel runs the README's Python
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/python scripts/check_dist.py dist "$(SAMPLE)"

##@ Housekeeping

.PHONY: format
format: $(STAMPS)/lint  ## rewrite the code in the house style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: clean
clean:  ## remove what the targets above wrote, but not .venv and not the sample
	rm -rf .cache .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -rf build dist htmlcov site
	if [ -e demo/.written-by-the-reben-demo ]; then rm -rf demo; fi
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help:  ## this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@ / { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

# One stamp for each thing installed: a second call installs nothing until pyproject.toml changes.

$(STAMPS)/venv:
	@test -n "$(PYTHON)" || { echo "reben needs Python 3.11 or newer, and none was found." \
		"Install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(BIN)/python -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv $(VENV)
	$(PIP) install "pip>=25.1"
	mkdir -p $(STAMPS)
	touch $@

$(STAMPS)/package: pyproject.toml | $(STAMPS)/venv
	@echo "Installing reben and what it needs into $(VENV); torch alone takes a few minutes."
	$(PIP) install --editable .
	touch $@

$(STAMPS)/test $(STAMPS)/lint $(STAMPS)/docs $(STAMPS)/dist: pyproject.toml | $(STAMPS)/venv
	$(PIP) install --group $(notdir $@)
	touch $@
