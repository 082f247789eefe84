# make demo: 32 answers from the tiny checkpoint.  make test: everything that CI runs.
unexport PYTHONHOME PYTHONPATH PYTHONSTARTUP
PYTHON = .venv/bin/python
.PHONY: setup demo test lint

setup: ; @sh scripts/setup.sh

demo: setup
	@$(PYTHON) -m demo.demo

test: lint
	@$(PYTHON) -m pytest

lint: setup
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy
