PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo serve browser test test-slow test-minimal test-newest lint bench bench-history \
  skill chaos notebooks docs dist clean

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

# More processes than cores: many tests wait for servers, and for processes that they kill. Each
# takes a run of neighbours, which share their fixtures.
test: lint ## Lint, then run the tests
	$(BIN)/pytest -n 4 --dist worksteal

test-slow: $(STAMP) ## Run the tests that take minutes
	$(BIN)/pytest -m slow

# What is old warns of what is new and the other way round, so that warnings are no errors here.
test-minimal test-newest: export OMP_NUM_THREADS = 1
OTHER_VERSIONS := -n 2 -o filterwarnings= -W ignore

test-minimal: ## Run the tests with the oldest versions that pyproject.toml allows
	$(PYTHON) -m venv --clear .venv-minimal
	@echo '*' > .venv-minimal/.gitignore
	.venv-minimal/bin/python -m pip install -q torch==2.13.0 -c constraints-minimal.txt
	.venv-minimal/bin/python -m pip install -q -e ".[dev]" -c constraints-minimal.txt
	.venv-minimal/bin/pytest $(OTHER_VERSIONS)

test-newest: ## Run the tests with the newest versions of everything
	$(PYTHON) -m venv --clear .venv-newest
	@echo '*' > .venv-newest/.gitignore
	.venv-newest/bin/python -m pip install -q --upgrade --upgrade-strategy eager -e ".[dev]"
	.venv-newest/bin/pytest $(OTHER_VERSIONS)

dist: $(STAMP) ## Build wheel and source distribution, and try the wheel in an empty environment
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	GSSM_DIST=dist OMP_NUM_THREADS=1 $(BIN)/pytest tests/release -m "slow or not slow"

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

docs: $(STAMP) ## Build the site of the documentation into docs/_build/html, offline
	$(BIN)/sphinx-build -W --keep-going -q -b html -d docs/_build/doctrees docs docs/_build/html
	@echo "the site is docs/_build/html/index.html"

clean: ## Remove caches and outputs; keeps .venv
	rm -rf dist gssm-demo .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	rm -f notebooks/*.ipynb
	rm -rf docs/_build docs/_made docs/api
	find gssm tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
