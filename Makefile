# make run    set everything up and run the main ablation
# make test   set everything up and run the tests
# make lint   the linter and the type checker

PYTHON ?= python3
VENV ?= .venv
SWEEP ?= ablations/token_pooling.yaml
PROCESSES ?= 2

.PHONY: run test lint install

run: install
	$(VENV)/bin/harness run $(SWEEP)

test: install
	$(VENV)/bin/python -m pytest -n $(PROCESSES) --dist loadfile

lint: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip --constraint constraints.txt
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@
