# make run   installs into .venv and runs the main job
# make test  installs and passes the tests
# make lint  ruff and mypy

VENV ?= .venv
SUITABLE = import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3 python; do \
	$$p -c "$(SUITABLE)" >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN = $(VENV)/bin
DONE = $(VENV)/.installed

.PHONY: run test slow lint install

run: install
	$(BIN)/python -m experiments.aaa --dataset=mnist --recipe=quick --eval_examples=1000

# Two processes: tests wait for graphs to be traced, which takes one core each.
test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

slow: install
	$(BIN)/python -m pytest -m slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

install: $(DONE)

$(DONE): setup.py
	@test -n "$(PYTHON)" || { \
	  echo "error: expected Python 3.11, 3.12 or 3.13 with venv on PATH, found none;" \
	       "install one, or name it: make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[test,serving]"
	touch $@
