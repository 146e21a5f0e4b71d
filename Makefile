# demo: the whole idea on real data   test: lint, then every test and doctest   lint, bench, figures, torture, fuzz, clean: as they say
PYTHON ?= python3
EXTRAS := demo,serve,onnx,ray,dev
BIN := .venv/bin

# Absolute, since pip builds in folders of its own. See constraints.txt for the why.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt

.PHONY: demo test lint bench figures torture fuzz clean

demo: .venv/.installed
	$(BIN)/hourglass demo

# One thread a process: two test processes that each take both cores run slower than one.
test: export OMP_NUM_THREADS := 1
test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: .venv/.installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Peers are timed where they are installed: .venv/bin/pip install -e '.[bench]'
bench: .venv/.installed
	set -e; for question in benchmarks/*.py; do $(BIN)/python "$$question"; done

figures: .venv/.installed
	$(BIN)/python docs/figures.py

# The long forms of the tests of reliability, and their report: about a quarter of an hour.
torture: export OMP_NUM_THREADS := 1
torture: export HOURGLASS_TORTURE := 1
torture: export HOURGLASS_REPORT := docs/reliability.md
torture: .venv/.installed
	PYTHONPATH=tests/reliability $(BIN)/python -m pytest -p torture tests -q

# Model files, mutated, until one is neither refused nor the same: make fuzz N=1000000 SEED=0
N ?= 1000000
fuzz: export OMP_NUM_THREADS := 1
fuzz: .venv/.installed
	PYTHONPATH=src:tests/reliability $(BIN)/python tests/reliability/mutations.py --count $(N) $(if $(SEED),--seed $(SEED))

.venv/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]'
	touch $@

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
