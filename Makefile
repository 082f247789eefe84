# make demo: 32 answers from the tiny checkpoint.  make test: everything that CI runs.  make test-full: every demo id too.
unexport PYTHONHOME PYTHONPATH PYTHONSTARTUP
PYTHON = .venv/bin/python
PREFILL_DEMO = demo/demo_with_prefill.py::test_mixtral8x7b_demo
.PHONY: setup demo test test-full lint

setup: ; @sh scripts/setup.sh

demo: setup
	@$(PYTHON) -m demo

test: lint
	@$(PYTHON) -m pytest tests
	@$(PYTHON) -m pytest demo/demo.py \
	    "$(PREFILL_DEMO)[wormhole_b0-True-128-general]" "$(PREFILL_DEMO)[wormhole_b0-True-128-instruct]"
	@$(PYTHON) -m pytest "$(PREFILL_DEMO)[wormhole_b0-True-4k-instruct]" --users 2
	@if $(PYTHON) -m mock_t3000; then $(PYTHON) -m pytest --target mock tests/mock; fi

test-full: test
	@$(PYTHON) -m mock_t3000 # fails where the real ttnn is missing: nothing may have been left out
	@$(PYTHON) -m pytest --durations=0 demo/demo_with_prefill.py

lint: setup
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy
