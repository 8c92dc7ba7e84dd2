# One command file: people and CI run exactly these. Every target does all the set-up it needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt
# worksteal: a worker takes a stretch of the list, so that tests of one file share their fixtures; one thread for each of the two
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: demo test check bench docs clean

demo: $(VENV)/.ready  ## all studies on the bundled model, then the report
	$(BIN)/mnemoscope demo

test: $(VENV)/.dev  ## fast tests; SLOW=1 runs the slow ones too
	$(PYTEST) $(if $(SLOW),,-m "not slow")

check: $(VENV)/.dev  ## format, lint, types, floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: $(VENV)/.dev  ## ratios measured in one run, written to benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks

docs: $(VENV)/.docs  ## the manual, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

clean:
	rm -rf $(VENV) site build dist

# torch comes first and by version: a range would let an index offer another build of several gigabytes.
$(VENV)/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet pip==25.3
	$(PIP) torch==2.13.0
	$(PIP) --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.ready
	$(PIP) --group test --group dev
	touch $@

$(VENV)/.docs: $(VENV)/.ready
	$(PIP) --group docs
	touch $@
