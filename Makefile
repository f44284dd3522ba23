# Installs what is missing, then does it. `make help` lists the targets.

# Any Python from 3.13 on.
PYTHON ?= $(shell python3.13 --version >/dev/null 2>&1 && echo python3.13 || echo python3)
# The older ones that the app runs on too; its unit tests pass on those that are here.
OLDER := 3.11 3.12
PORT ?= 7071
QUEUE_PORT ?= 10001
# Most tests wait for something, so that two cores serve more than two workers.
WORKERS ?= 4
PYTEST := .venv/bin/python -m pytest -q
PIP := -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help install demo start test-unit test test-older test-az bench lint clean

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-16s%s\n", $$1, $$2}'

install: .venv/installed node_modules/installed ## what development needs, into this folder

.venv/installed: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 13) or sys.exit("Python 3.13 is needed, but $(PYTHON) is " + sys.version.split()[0] + ". Name one: make PYTHON=/path/to/python3.13 ...")'
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python $(PIP) -r requirements-dev.txt
	@touch $@

node_modules/installed: package.json package-lock.json
	@command -v npm >/dev/null || { echo "npm is needed (it comes with Node.js 20 or newer): Azurite, the storage emulator, is one of its packages." >&2; exit 1; }
	npm ci --silent --no-audit --no-fund
	@touch $@

demo: install ## send every kind of delivery to the running app, show where each ended
	@.venv/bin/python -m tools demo

start: install ## run the app and Azurite until Ctrl-C (PORT=7071 QUEUE_PORT=10001)
	@.venv/bin/python -m tools start --port $(PORT) --queue-port $(QUEUE_PORT)

test-unit: .venv/installed ## the pure tests: no network, no Node.js (seconds)
	@$(PYTEST) -n logical tests/unit

test: install ## every test on Python 3.13, in parallel, with the coverage (minutes)
	@rm -f .coverage*
	@$(PYTEST) -n $(WORKERS) --dist worksteal -m "not timing" --cov --cov-report=
	@echo "Tests whose promise is a time, one after another"
	@$(PYTEST) -m timing --cov --cov-append

test-older: ## the unit tests on the older Pythons that are here
	@for version in $(OLDER); do \
		if PYENV_VERSION=$$version python$$version -c 'import ensurepip' 2>/dev/null; then \
			$(MAKE) --no-print-directory .venv-$$version/installed && \
			echo "Unit tests on Python $$version" && \
			.venv-$$version/bin/python -m pytest -q tests/unit || exit 1; \
		else \
			echo "Skipped: unit tests on Python $$version, which is not installed here."; \
		fi; \
	done

test-az: install .venv-az/installed ## the az commands of the documents, through az's own parser (a large download)
	.venv/bin/python -m pytest -q tests/infra/test_commands.py

.venv-az/installed: requirements-az.txt
	$(PYTHON) -m venv --clear .venv-az
	.venv-az/bin/python $(PIP) -r requirements-az.txt
	@touch $@

.venv-%/installed: requirements.txt requirements-dev.txt
	PYENV_VERSION=$* python$* -m venv --clear .venv-$*
	.venv-$*/bin/python $(PIP) -r requirements-dev.txt
	@touch $@

bench: install ## measure the app against the plain SDK (minutes); writes docs/benchmarks.md
	@.venv/bin/python -m tools bench

lint: install ## ruff and mypy --strict
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

clean: ## remove what was installed and made here
	rm -rf .venv .venv-* node_modules .azurite .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
