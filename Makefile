# `make` lists the targets. All files are in .venv and .sightline; nothing outside the checkout changes.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
MODEL ?= inpaint
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# --no-deps, because a lock is complete: pip needs no resolver and installs nothing without a hash.
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCKED := $(PIP_INSTALL) --require-hashes --no-deps
# Outside the lock: builds for CPU and for each CUDA version have different hashes. PyPI's builds contain CUDA and also
# run on a CPU.
TORCH := torch==2.14.1 torchvision==0.29.1

.PHONY: help
help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: $(BIN)/python locks/cpu.txt pyproject.toml shared/pyproject.toml
	@echo "Installing the CPU runtime into $(VENV) (once, takes a minute or two) ..."
	@$(LOCKED) -r locks/cpu.txt
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e shared -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime locks/dev.txt
	@echo "Installing the packages for tests and training into $(VENV) (once, takes some minutes) ..."
	@$(LOCKED) -r locks/dev.txt
	@$(PIP_INSTALL) $(TORCH)
	@touch $@

.PHONY: up
up: $(VENV)/.runtime ## Start the gateway, the services and an embedded Redis; Ctrl-C stops them
	@exec $(BIN)/sightline up $(ARGS)

.PHONY: down
down: ## Stop the processes that `make up` left running
	@if [ -x $(BIN)/sightline ]; then exec $(BIN)/sightline down; else echo "Nothing is running."; fi

.PHONY: test
test: $(VENV)/.dev $(VENV)/.docs ## Run all tests, on up to four cores
	@exec $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal $(ARGS)

.PHONY: test-stack
test-stack: $(VENV)/.dev ## Run the long tests, which kill processes of a fleet, on this machine and in containers
	@exec $(BIN)/python -m pytest -m stack -s tests/stack $(ARGS)

.PHONY: lint
lint: $(VENV)/.dev ## Check style, types and import contracts
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

.PHONY: format
format: $(VENV)/.dev ## Fix formatting and simple findings of `make lint`
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

# The warning announces another generator.
MKDOCS = NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs

$(VENV)/.docs: $(VENV)/.runtime locks/docs.txt
	@$(LOCKED) -r locks/docs.txt
	@touch $@

.PHONY: docs
docs: $(VENV)/.docs ## Build the documentation into .site/, and check its links
	@$(MKDOCS) build --quiet
	@echo "Open .site/index.html; for the search: make docs-serve"

.PHONY: docs-serve
docs-serve: $(VENV)/.docs ## Show the documentation at http://localhost:8008, with its search
	@exec env $(MKDOCS) serve --quiet --dev-addr localhost:8008

.PHONY: dashboards
dashboards: $(VENV)/.dev ## Regenerate Grafana's dashboards
	@$(BIN)/python deploy/grafana/dashboards.py

.PHONY: console
console: $(VENV)/.dev ## Regenerate the console's views from the models' declarations
	@$(BIN)/python deploy/console_views.py

.PHONY: reference
reference: $(VENV)/.dev ## Regenerate the API reference in docs/ from the gateway's OpenAPI document
	@$(BIN)/python deploy/api_reference.py

.PHONY: typescript
typescript: ## Install the compiler with which the tests run the pages in TypeScript (needs npm)
	@npm ci --silent --no-audit --no-fund --prefix tests/docs/typescript

.PHONY: evaluate
evaluate: $(VENV)/.dev ## Compare a model with its baselines: make evaluate MODEL=inpaint ARGS="..."
	@exec $(BIN)/sightline evaluate $(MODEL) $(ARGS)

.PHONY: bench
bench: $(VENV)/.runtime ## Compare throughput with a bare ONNX Runtime loop: make bench MODEL=inpaint
	@exec $(BIN)/sightline bench $(MODEL) $(ARGS)

PIP_COMPILE = CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
	--no-emit-index-url --no-emit-find-links --resolver=backtracking --find-links $(CLIENT_WHEEL)
OF_PROJECT = --build-deps-for editable
# The client of this checkout: the one of the index may be another.
CLIENT_WHEEL := .client-wheel

.PHONY: lock
lock: $(BIN)/python ## Resolve pyproject.toml into locks/ (needs Python 3.11)
	@$(PIP_INSTALL) 'pip-tools>=7.6,<8'
	@$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir $(CLIENT_WHEEL) ./shared
	@$(PIP_COMPILE) $(OF_PROJECT) --extra cpu --extra trace -o locks/cpu.txt pyproject.toml
	@$(PIP_COMPILE) $(OF_PROJECT) --extra gpu --extra trace -c locks/cpu.txt -o locks/gpu.txt pyproject.toml
	@$(PIP_COMPILE) -o locks/sbom.txt locks/sbom.in
	@printf '%s\n' $(TORCH) > locks/torch.in
	@$(PIP_COMPILE) $(OF_PROJECT) --extra cpu --extra trace --extra dev --extra train -c locks/cpu.txt -c locks/torch.in -o locks/dev.all pyproject.toml
	@awk '/^[a-z]/ { skip = /^(torch|torchvision|triton)==|^(nvidia|cuda)-/ } !skip' locks/dev.all > locks/dev.txt
	@for lock in cpu gpu dev; do awk '/^[a-z]/ { skip = /^sightline==/ } !skip' locks/$$lock.txt > locks/lock.new && mv locks/lock.new locks/$$lock.txt; done
	@$(PIP_COMPILE) -c locks/dev.txt -o locks/docs.txt locks/docs.in
	@rm -r locks/torch.in locks/dev.all $(CLIENT_WHEEL)

.PHONY: wheels
wheels: $(BIN)/python ## Build the wheels of the client and of the server into dist/
	@rm -rf dist
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist ./shared .
	@ls -l dist

.PHONY: clean
clean: down ## Remove the environment, caches and state
	@rm -rf $(VENV) .sightline .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .site dist
