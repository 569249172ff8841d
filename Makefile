# Everything runs from .venv, which is made on first use: a machine needs Python >= 3.11 and make.

PYTHON ?= $(shell for one in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$one -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$one && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: demo test bench clean

# Ten seconds of a simulated machine, then what a real one recorded.
demo: .venv/installed
	@echo '$$ execsnoop --kernel sim:shell -d 10'
	@$(BIN)/execsnoop --kernel sim:shell -d 10
	@echo
	@echo '$$ execsnoop --kernel replay:tests/data/build.perf.data'
	@$(BIN)/execsnoop --kernel replay:tests/data/build.perf.data

test: .venv/developed
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -n auto

bench: .venv/developed
	$(BIN)/python -m tests.bench.start
	$(BIN)/python -m tests.bench.compile
	$(BIN)/python -m tests.bench.size
	$(BIN)/python -m tests.bench.engine
	$(BIN)/python -m tests.bench.packets
	$(BIN)/python -m tests.bench.arenas
	$(BIN)/python -m tests.bench.events
	$(BIN)/python -m tests.bench.soak

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/bin/python:
	@test -n '$(PYTHON)' || { echo 'make: no Python >= 3.11 found (say make PYTHON=/path/to/python3)' >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python setup.cfg pyproject.toml
	$(PIP) --editable .
	@touch $@

.venv/developed: .venv/installed
	$(PIP) --editable '.[dev]'
	@touch $@
