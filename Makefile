# `make demo` and `make test` work on a fresh machine with Python 3.11+, git and make.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
RUNTIME := .venv/.runtime

.PHONY: help demo test check format docs bench bench-placement clean

help:
	@echo "make demo | test | check | docs | bench | bench-placement | clean"

$(STAMP): pyproject.toml
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv
	@echo "Installing Kedge and the tools of its development into .venv …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(RUNTIME)

# The demo needs no tools for development: without them it is there three times as fast.
$(RUNTIME): pyproject.toml
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv
	@echo "Installing Kedge into .venv …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

demo: $(RUNTIME)
	@$(BIN)/kedge demo

test: $(STAMP)
	@.ci/servers || echo "The tests of what could not be installed are skipped."
	$(BIN)/python .ci/tests.py $(TESTS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/pyright

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)
	$(BIN)/python docs/generate.py
	$(BIN)/mkdocs build --strict

bench: $(STAMP)
	$(BIN)/python -m bench

bench-placement: $(STAMP)
	$(BIN)/python -m bench.placement_report

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis site
