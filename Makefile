# One virtual environment; a stamp says which extras it holds, so that the second run starts at once.
PYTHON ?= python3
NEWEST ?= python3.13
SEED ?= 0
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core-installed
TEST := $(VENV)/.test-installed
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable

.PHONY: demo test quick slow real notebooks tpu fuzz test-newest lint docs clean

demo: $(CORE)
	$(BIN)/landed run "The Colosseum is in the city of"

test: lint
	$(BIN)/python -m pytest -n 2 -m "not slow and not real and not tpu"

# What takes longer, and further kinds of models for properties that the others show.
slow: $(TEST)
	$(BIN)/python -m pytest -n 2 -m "slow and not real and not tpu"

# A minute: one configuration of a property in every package, and no other process.
quick: $(TEST)
	$(BIN)/python -m pytest -n 2 --quick tests

# Runs the notebooks, and stores what they show; SmolLM2 is downloaded.
notebooks: $(TEST)
	$(BIN)/python -m tests.notebooks

# A real public model, SmolLM2-135M-Instruct: a download of 93 MB the first time, and a minute.
real: $(TEST)
	$(BIN)/python -m pytest -n 2 -m real tests/real

# Programs compiled for TPU slices. No TPU is needed: its compiler, libtpu (210 MB), is installed in an environment of its own.
tpu: .venv-tpu/.installed
	.venv-tpu/bin/python -m pytest -n 2 -m tpu tests/tpu tests/planning

# Five minutes of damaged model folders: `make fuzz SEED=7` for others.
fuzz: $(TEST)
	$(BIN)/python -m tests.fuzz --seconds 300 --seed $(SEED)

# The newest Python and JAX, in an environment of their own, without torch: `make test-newest NEWEST=python3.12` for another.
test-newest: .venv-newest/.installed
	.venv-newest/bin/python -m pytest -n 2 -m "not xla and not real and not tpu" tests landed_jax

lint: $(TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# The documentation site, into site/. `mkdocs serve` shows it while it is written.
docs: $(TEST)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

$(CORE): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) .
	touch $@

$(TEST): $(CORE)
	$(INSTALL) ".[test]"
	touch $@

.venv-newest/.installed: pyproject.toml
	rm -rf .venv-newest
	$(NEWEST) -m venv .venv-newest
	.venv-newest/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[test-core]"
	touch $@

.venv-tpu/.installed: pyproject.toml
	rm -rf .venv-tpu
	$(PYTHON) -m venv .venv-tpu
	.venv-tpu/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[test-core,tpu]"
	touch $@

clean:
	rm -rf $(VENV) .venv-newest .venv-tpu build dist site .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
