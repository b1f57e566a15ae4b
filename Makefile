# `make demo` and `make test` need Python 3.11 to 3.13 and nothing else: both first make
# .venv, inside the checkout, from the exact versions in requirements.txt.

PYTHON ?= python3
CACHE := $(CURDIR)/.cache

# What the machine has installed or configured must not matter.
unexport PYTHONPATH PYTHONHOME PYTHONWARNINGS PYTEST_ADDOPTS
export KERAS_BACKEND := tensorflow
export KERAS_HOME := $(CACHE)/keras
export TFDS_DATA_DIR := $(CACHE)/tensorflow_datasets
export MPLBACKEND := Agg
export MPLCONFIGDIR := $(CACHE)/matplotlib
export TF_CPP_MIN_LOG_LEVEL := 3

PRINT_VERSION := import sys; print("%d.%d" % sys.version_info[:2])
PYTHON_VERSION := $(shell { $(PYTHON) -c '$(PRINT_VERSION)' || echo missing; } 2>/dev/null)
# A .venv of another Python stays as it is: this one gets .venv-3.13 or the like.
VENV_VERSION := $(shell sed -n 's/^version[a-z_]* *= *\([0-9]*\.[0-9]*\).*/\1/p' \
	.venv/pyvenv.cfg 2>/dev/null)
VENV := .venv$(if $(filter-out $(PYTHON_VERSION),$(VENV_VERSION)),-$(PYTHON_VERSION))
BIN := $(VENV)/bin
PINNED := $(VENV)/pinned-for-$(PYTHON_VERSION)
READY := $(VENV)/ready-for-$(PYTHON_VERSION)

.DEFAULT_GOAL := help
.PHONY: help demo test test-notebooks notebooks docs test-slow lint format bench \
	reproduce clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' Makefile

demo: $(READY) ## Cross-entropy against NCR on digits with wrong labels: table and picture
	$(BIN)/python -m keras_ncr demo

test: $(READY) lint ## Format, lint and all tests but the slow ones
	TF_NUM_INTRAOP_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --durations=10

test-notebooks: TIMEOUT ?= 180
test-notebooks: $(READY) ## Run NOTEBOOKS=... or all, each within TIMEOUT=180 s; change no file
	$(BIN)/python notebooks/execute.py --timeout $(TIMEOUT)$(if $(NOTEBOOKS), $(NOTEBOOKS))

notebooks: $(READY) ## Run all notebooks, and keep what they print and draw
	$(BIN)/python notebooks/execute.py --in-place

docs: $(READY) ## The documentation of the API, from the docstrings, into build/docs
	$(BIN)/python docs/build_api.py

test-slow: $(READY) ## The slow tests of TESTS=...; DATA_DIR=... is a folder of TFDS data
	$(if $(DATA_DIR),KERAS_NCR_DATA_DIR="$(DATA_DIR)") \
		$(BIN)/python -m pytest -m slow --durations=10 $(TESTS)

lint: $(READY) ## Check format and lint, change nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: $(READY) ## Format and repair what can be repaired
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## Times: loss, step, replicas, import, noise, pipeline, propagation, neighbors
	$(BIN)/python benchmarks/loss.py
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/step_profile.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/noise.py
	$(BIN)/python benchmarks/pipeline.py
	$(BIN)/python benchmarks/label_propagation.py
	$(BIN)/python benchmarks/nearest.py

reproduce: $(READY) ## A row of the paper: TABLE=3 ROW=elr_plus, or FIGURE=2 (docs/reproduce.md)
	$(BIN)/python benchmarks/reproduce.py --run \
		$(if $(FIGURE),--figure='$(FIGURE)',--table='$(TABLE)' --row='$(ROW)')

clean: ## Remove .venv, its likes and all caches; runs/ stays
	rm -rf .venv .venv-* .cache .pytest_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(PINNED): requirements.txt
ifeq ($(filter 3.11 3.12 3.13,$(PYTHON_VERSION)),)
	$(error Python 3.11, 3.12 or 3.13 is needed, and $(PYTHON) is $(PYTHON_VERSION). \
	Name one that will do: make PYTHON=python3.12 $(MAKECMDGOALS))
endif
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	touch $@

$(READY): $(PINNED) setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@
