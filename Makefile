# Two commands need nothing but Python 3.11+, make and the package index: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
COMPILED := .venv-compiled
ARGS ?=

.PHONY: demo test venv lint bench chaos proto lock compiled test-compiled help

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

venv: $(VENV)/.installed ## create .venv from the lock file

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Foedus needs Python 3.11 or newer: set PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: venv ## five states on this machine; ARGS="--json out.json" passes arguments on
	$(BIN)/foedus demo $(ARGS)

test: venv ## the whole test suite
	$(BIN)/python -m pytest $(ARGS)

lint: venv ## formatting, lint rules, types, protocol files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/buf lint

bench: venv ## throughput and latency on loopback
	$(BIN)/foedus bench localnet $(ARGS)

chaos: venv ## real nodes on hosts of their own, and faults: MINUTES=30 draws them for so long; needs root and Linux
	$(BIN)/python -m tests.chaos $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

compiled: venv ## .venv-compiled: the same program with law and reading compiled; needs a C compiler and some five minutes
	rm -rf build $(COMPILED)
	FOEDUS_COMPILED=1 $(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir build/compiled .
	$(PYTHON) -m venv $(COMPILED)
	$(COMPILED)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(COMPILED)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps build/compiled/foedus-*.whl
	touch $(COMPILED)/.installed

test-compiled: ## tests of law and log against what `make compiled` made
	cd $(COMPILED) && bin/python -m pytest -o pythonpath= --import-mode=append --rootdir .. -c ../pyproject.toml $(addprefix ../,$(or $(ARGS),tests/scenarios tests/property/treaty tests/property/log tests/property/ledger tests/unit/treaty tests/unit/log tests/unit/ledger tests/unit/consensus tests/unit/audit))

proto: venv ## regenerate the protocol stubs
	$(BIN)/python proto/generate.py

lock: venv ## renew requirements.lock from pyproject.toml
	$(BIN)/uv pip compile --universal --generate-hashes --no-header --no-emit-index-url --all-extras --python-version 3.11 pyproject.toml -o requirements.lock
