PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo serve browser test test-slow lint bench bench-history skill chaos notebooks clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Made again only when the dependencies change, so a second run installs nothing.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "gssm needs Python 3.11 or newer, and $(PYTHON) is not: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP) torch==2.13.0 -c constraints.txt
	$(PIP) -e ".[dev]" -c constraints.txt
	@touch $@

demo: $(STAMP) ## Run the whole line, offline, on a simulated scene
	$(BIN)/gssm demo

serve: $(STAMP) ## Show a simulated archive as a map in the browser, at http://127.0.0.1:8000
	$(BIN)/gssm serve

browser: ## Install the browser that the tests of the page drive (Debian, as root)
	command -v chromium >/dev/null || { apt-get update && apt-get install -y --no-install-recommends chromium; }

lint: $(STAMP) ## Check style, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy gssm
	$(BIN)/lint-imports

# Dask owns the cores: BLAS and OpenMP get one thread, as in production.
test test-slow: export OMP_NUM_THREADS = 1

test: lint ## Lint, then run the tests
	$(BIN)/pytest -n 2

test-slow: $(STAMP) ## Run the tests that take minutes
	$(BIN)/pytest -m slow

bench: $(STAMP) ## Run the benchmarks
	$(BIN)/python benchmarks/run.py

# In the environment at hand: asv builds none, so that it needs no network and no compiler.
bench-history: $(STAMP) ## Run asv's benchmarks and keep the figures under this commit
	$(BIN)/asv machine --yes --config benchmarks/asv.conf.json
	$(BIN)/asv run --config benchmarks/asv.conf.json \
	  --set-commit-hash "$$(git rev-parse HEAD)" --launch-method spawn

skill: $(STAMP) ## Measure skill on the station table, by every protocol (about an hour)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/skill.py

chaos: $(STAMP) ## Kill and spoil runs of an archive 200 times (about an hour)
	OMP_NUM_THREADS=1 $(BIN)/python -W ignore tests/archive/chaos.py --kills 200

notebooks: $(STAMP) ## Run every notebook; an error in one is fatal
	$(BIN)/jupytext --to ipynb notebooks/*.py
	$(BIN)/jupyter-execute --inplace notebooks/*.ipynb

clean: ## Remove caches and outputs; keeps .venv
	rm -rf dist gssm-demo .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	rm -f notebooks/*.ipynb
	find gssm tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
