# Installs what is missing, then does it. `make help` lists the targets.

# The Python that the app is deployed with; any later one serves for development.
DECLARED ?= $(shell cat .python-version)
PYTHON ?= $(shell python$(DECLARED) --version >/dev/null 2>&1 && echo python$(DECLARED) || echo python3)
# The older ones that the app runs on too; its unit tests pass on those that are here.
OLDER := 3.11 3.12
PORT ?= 7071
QUEUE_PORT ?= 10001
# Most tests wait for something, so that two cores serve more than two workers.
WORKERS ?= 4
PYTEST := .venv/bin/python -m pytest -q
# These targets need no Node.js.
WITHOUT_NODE := test-unit test-older lock .venv/run .venv/installed
REQUIRED = tools/prerequisites.sh $(PYTHON) $(DECLARED) $(if $(filter-out $(WITHOUT_NODE),$(MAKECMDGOALS)),node)
PIP := -u -m pip install --disable-pip-version-check
NPM := --no-audit --no-fund --no-update-notifier --loglevel=http

.DEFAULT_GOAL := help
.PHONY: help install demo start test-unit test test-older test-az mutants lock bench bench-quick lint clean

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-17s%s\n", $$1, $$2}'

install: .venv/installed node_modules/installed ## what development needs, into this folder

# What runs the app and Azurite: .venv/run and node_modules/run. What development needs comes on top.
.venv/run: requirements-run.txt
	@$(REQUIRED)
	@echo "Installing what runs the app into .venv, with $$($(PYTHON) --version): 100 MB, half a minute."
	@$(PYTHON) -m venv --clear .venv
	@tools/progress.sh .venv/bin/python $(PIP) --require-hashes -r requirements-run.txt
	@touch $@

.venv/installed: .venv/run requirements-dev.txt
	@# A package that the lock file names no longer must not stay.
	@if [ -e $@ ]; then rm .venv/run && $(MAKE) --no-print-directory .venv/run; fi
	@echo "Installing what tests and checks need into .venv: 260 MB more, a minute or two."
	@tools/progress.sh .venv/bin/python $(PIP) --require-hashes -r requirements-dev.txt
	@touch $@

node_modules/run: package.json package-lock.json
	@$(REQUIRED)
	@echo "Installing Azurite, the storage emulator, into node_modules: 130 MB, half a minute."
	@tools/progress.sh npm ci --omit=dev $(NPM)
	@touch $@

node_modules/installed: node_modules/run
	@echo "Installing what the tests of templates and documents need into node_modules: 90 MB more."
	@tools/progress.sh npm install --no-save $(NPM)
	@# npm has removed the first, as it is no package.
	@touch node_modules/run $@

demo: .venv/run node_modules/run ## run the app and Azurite, send every kind of delivery, end both
	@.venv/bin/python -m tools demo

start: .venv/run node_modules/run ## Azurite and the app until Ctrl-C (PORT=7071 QUEUE_PORT=10001)
	@exec .venv/bin/python -m tools start --under-make --port $(PORT) --queue-port $(QUEUE_PORT) \
		$(if $(DELIVERY_LOG),--delivery-log)

test-unit: .venv/installed ## the pure tests: no network, no Node.js (seconds)
	@$(PYTEST) -n logical tests/unit

test: install ## every test, in parallel; COVERAGE=1: its coverage too (minutes)
	@rm -f .coverage*
	@$(PYTEST) -n $(WORKERS) --dist worksteal -m "not timing" $(if $(COVERAGE),--cov)
	@echo "Tests whose promise is a time, one after another"
	@$(PYTEST) -m timing

test-older: ## the unit tests on the older Pythons that are here
	@for version in $(OLDER); do \
		if PYENV_VERSION=$$version python$$version -c 'import ensurepip' 2>/dev/null; then \
			$(MAKE) --no-print-directory .venv-$$version/installed && \
			echo "Unit tests on Python $$version" && \
			.venv-$$version/bin/python -m pytest -q -n logical tests/unit || exit 1; \
		else \
			echo "Skipped: unit tests on Python $$version, which is not installed here."; \
		fi; \
	done

test-az: install .venv-az/installed ## the documents' az commands, by az's own parser (large download)
	.venv/bin/python -m pytest -q tests/infra/test_commands.py

.venv-az/installed: requirements-az.txt
	@echo "Installing az, whose parser checks the commands of the documents, into .venv-az."
	@$(PYTHON) -m venv --clear .venv-az
	@tools/progress.sh .venv-az/bin/python $(PIP) -r requirements-az.txt
	@touch $@

.venv-%/installed: requirements-older.txt
	@echo "Installing what the unit tests need on Python $* into .venv-$*."
	@PYENV_VERSION=$* python$* -m venv --clear .venv-$*
	@tools/progress.sh .venv-$*/bin/python $(PIP) --require-hashes -r requirements-older.txt
	@touch $@

mutants: install ## changes to the pure modules that no test notices (ONLY=routing)
	@.venv/bin/python -m tools.mutants --only "$(ONLY)"

lock: .venv/bin/uv ## lock files from requirements*.in (UPGRADE=1 DECLARED=3.14)
	@echo $(DECLARED) >.python-version
	$(call lock,requirements,$(DECLARED),$(if $(UPGRADE),--upgrade))
	$(call lock,requirements-run,$(DECLARED),$(if $(UPGRADE),--upgrade))
	$(call lock,requirements-dev,$(DECLARED),$(if $(UPGRADE),--upgrade))
	@# uv keeps to the versions that it finds where it writes.
	@cp requirements-dev.txt requirements-older.txt
	$(call lock,requirements-older,$(firstword $(OLDER)))

# Dependabot takes its options from the lock file's first lines.
lock = .venv/bin/uv pip compile --quiet --universal --python-version $2 --generate-hashes $3 \
	--custom-compile-command 'make lock (uv pip compile --universal --python-version $2 --generate-hashes)' \
	--no-config --output-file $1.txt $1.in

.venv/bin/uv:
	@$(MAKE) --no-print-directory .venv/installed

bench: install tools/bench/express/node_modules/installed ## what the app costs (minutes)
	@.venv/bin/python -m tools bench

bench-quick: install ## the same, some rows, less precise (less than a minute)
	@.venv/bin/python -m tools bench --quick

tools/bench/express/node_modules/installed: tools/bench/express/package-lock.json
	@echo "Installing the receiver for Node.js that the app is compared with."
	@cd tools/bench/express && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

lint: install ## ruff, mypy --strict, import-linter, codespell, zizmor
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/codespell
	.venv/bin/zizmor --offline --quiet .github

clean: ## remove what was installed and made here
	rm -rf .venv .venv-* node_modules .azurite .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
