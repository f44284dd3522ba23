# Installs what is missing, then does it. `make help` lists the targets.

# Any Python 3.13 or newer; the tools refuse an older one by name.
PYTHON ?= $(shell command -v python3.13 >/dev/null 2>&1 && python3.13 --version >/dev/null 2>&1 && echo python3.13 || echo python3)
PORT ?= 7071
QUEUE_PORT ?= 10001
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install demo start test test-oldest lint clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/|/' | awk -F'|' '{printf "make %-12s%s\n", $$1, $$2}'

install: .venv/installed node_modules/.installed ## what development needs, into this folder

.venv/installed: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 13) else f"Python 3.13 is needed; {sys.executable} is {sys.version.split()[0]}. Name one: make PYTHON=/path/to/python3.13")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

node_modules/.installed: package.json package-lock.json
	@command -v npm >/dev/null || { echo "Node.js 20 or newer with npm is needed (for Azurite, the storage emulator)." >&2; exit 1; }
	npm ci --silent --no-audit --no-fund
	@touch $@

demo: install ## send every kind of delivery to the running app, show where each ended
	@$(BIN)/python -m tools demo

start: install ## run the app and Azurite until Ctrl-C (PORT=, QUEUE_PORT=)
	@$(BIN)/python -m tools start --port $(PORT) --queue-port $(QUEUE_PORT)

test: install test-oldest ## every test
	$(BIN)/python -m pytest

lint: install ## ruff and mypy --strict
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

clean: ## remove what was installed and made here
	rm -rf .venv .venv-3.* node_modules .azurite .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
