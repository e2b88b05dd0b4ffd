# A fresh machine needs Python 3.11 - 3.13, make and a C compiler; everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := runs/demo-$(shell date +%Y%m%d-%H%M%S)
SEED := 0
WORKERS := 2

.PHONY: demo test test-slow lint gate clean

demo: $(VENV)/.installed
	$(BIN)/forethought train pilco forethought/CartPoleSwingUp-v0 --seed $(SEED) --observation-noise 0.01 \
	  --iterations 15 --until-solved --out $(RUN)
	$(BIN)/forethought evaluate $(RUN) --episodes 5
	$(BIN)/forethought video $(RUN)
	$(BIN)/forethought report $(RUN)

# Two workers, a core each; FAST=1 leaves out what takes over a second (tests/durations.json).
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(if $(FAST),--fast)

test-slow: $(VENV)/.installed-dev
	XLA_FLAGS="$(XLA_FLAGS)" $(BIN)/python -m pytest -m slow

lint: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_layers.py

gate: lint test

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
