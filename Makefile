# `make tour` and `make test` are the two commands anyone needs: each sets up what it uses, once, in .venv.

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0 torchvision==0.28.0

BIN := $(VENV)/bin
READY := $(VENV)/.ready

# one thread in each of several processes; threads that spin while they wait would take the cores from the others
QUIET := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE

.PHONY: help setup test check format tour docs
.DEFAULT_GOAL := help

help:
	@echo "make tour     train every method on its embedded data, then write one report page"
	@echo "make test     run all tests"
	@echo "make check    format, lint and types"
	@echo "make format   format the code"
	@echo "make docs     build the documentation"
	@echo "make setup    only install, into $(VENV); PYTHON=python3.12 chooses another interpreter"

setup: $(READY)
	@:

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' || \
		{ echo "$(PYTHON) is not Python 3.11 or 3.12: make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make virtual environments; on Debian: apt install python3-venv"; exit 1; }
	@echo "setting up $(VENV), a few minutes the first time: $(TORCH)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# both in one command: torchvision alone would bring a torch of its own choice
	@$(BIN)/python -m pip install --quiet $(TORCH)
	@echo "setting up $(VENV): tenfold and the packages it uses"
	@$(BIN)/python -m pip install --quiet --editable '.[all,dev,docs]'
	@touch $@
	@echo "$(VENV) is ready"

test: setup
	@$(QUIET) $(BIN)/python -m pytest -n 2 --dist worksteal

check: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: setup
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

tour: setup
	@$(BIN)/python -m tenfold tour

docs: setup
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"
