# `make demo` and `make test` need python3 (3.11 or later), npm and git; the rest is fetched into
# .venv and into MAKE_CACHE. uv's own cache stays where uv has it.

SHELL := /bin/bash
.DEFAULT_GOAL := help

MAKE_CACHE ?= $(CURDIR)/.cache
export ROLLDOCK_AGENT_CACHE ?= $(MAKE_CACHE)/agents
export npm_config_cache := $(MAKE_CACHE)/npm
export PYRIGHT_PYTHON_CACHE_DIR := $(MAKE_CACHE)/pyright
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1
export UV_PYTHON_DOWNLOADS := never

UV_VERSION := 0.13.9
OWN_UV := $(MAKE_CACHE)/uv/bin/uv
UV := $(shell uv --version >/dev/null 2>&1 && echo uv || echo $(OWN_UV))
SYNCED := .venv/.synced
BIN := .venv/bin

.PHONY: help demo up test test-all lint fmt bench chaos sync agents machine

help:
	@echo "make demo      run the example tasks on a stack of its own, then end it"
	@echo "make up        run the stack until Ctrl-C"
	@echo "make test      the tests;  make test-all: the slow ones"
	@echo "make lint      ruff, pyright, import-linter;  make fmt: format"
	@echo "make bench     the benchmarks"
	@echo "make chaos     every process killed and paused at every stage; writes docs/chaos.md"

demo: agents
	$(BIN)/python examples/demo.py

up: agents
	@exec $(BIN)/rolldock up $(ARGS)

test: agents
	$(BIN)/pytest -m "not slow" -n 2 --dist loadfile $(ARGS)

test-all: sync
	@$(BIN)/rolldock agents install opencode claude-code codex mini-swe-agent terminus-2
	$(BIN)/pytest -m slow $(ARGS)

lint: sync
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

fmt: sync
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: agents
	$(BIN)/python benchmarks/overhead.py $(ARGS)

chaos: sync
	$(BIN)/python -m tests.chaos.full $(ARGS)

agents: sync
	@$(BIN)/rolldock agents install opencode

sync: $(SYNCED)

$(SYNCED): pyproject.toml uv.lock $(if $(filter uv,$(UV)),,$(OWN_UV)) | machine
	$(UV) sync --locked
	@touch $@

$(OWN_UV): | machine
	@python3 -m venv $(MAKE_CACHE)/uv || { echo "make: python3 cannot make an environment: install python3-venv" >&2; exit 2; }
	$(MAKE_CACHE)/uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

machine:
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "make: python3 is $$(python3 --version 2>&1 || true): Python 3.11 or later is needed" >&2; exit 2; }
	@command -v npm >/dev/null || { echo "make: npm is missing: install Node.js with npm (agents come from there)" >&2; exit 2; }
	@command -v git >/dev/null || { echo "make: git is missing: install git" >&2; exit 2; }
