# A fresh machine needs Python 3.11 - 3.13, make and a C compiler; everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := runs/demo-$(shell date +%Y%m%d-%H%M%S)
SEED := 0
WORKERS := 2
WITHIN := 1

.PHONY: demo test test-slow lint gate docs wheel versions clean

demo: $(VENV)/.installed
	$(BIN)/forethought train pilco forethought/CartPoleSwingUp-v0 --seed $(SEED) --observation-noise 0.01 \
	  --iterations 15 --until-solved --out $(RUN)
	$(BIN)/forethought evaluate $(RUN) --episodes 5
	$(BIN)/forethought video $(RUN)
	$(BIN)/forethought report $(RUN)

# Two workers, a core each.  Leaves out tests that take over WITHIN seconds (tests/durations.json); CI runs all of them.
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --within $(WITHIN)

test-slow: $(VENV)/.installed-dev
	XLA_FLAGS="$(XLA_FLAGS)" $(BIN)/python -m pytest -m slow

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_layers.py

gate: lint test

# The documentation site, in build/site; a warning is an error (--quiet would hide it from --strict), and a
# page that loads a font, script or picture from the network fails too.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@! grep -rlE '<(script|link|img)[^>]*(src|href)="?https?://' build/site --include=*.html || \
	  { echo "these pages need the network" >&2; exit 1; }
	@echo "build/site/index.html"

# Builds the wheel, installs it alone in a new environment, and runs there the first example of README.
wheel:
	$(PYTHON) tests/wheel.py

# The same, and the fast tests, with every supported Python that this machine has.
versions:
	@for python in $$(.ci/pythons); do \
	  $$python --version; \
	  $(MAKE) wheel PYTHON=$$python && \
	  $(MAKE) test PYTHON=$$python VENV=.venv-$$(basename $$python) || exit 1; \
	done

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "Forethought needs Python 3.11, 3.12 or 3.13, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
	       "Name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.installed: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,games,atari,minari,data,export]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $@ $(VENV)/.installed
