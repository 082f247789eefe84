# make demo: 32 answers from the tiny checkpoint.  make test: everything that CI runs.  make test-full: every demo id and
# the long tests too.  make bench-weights: the weight pipeline at the real layer shapes.
unexport PYTHONHOME PYTHONPATH PYTHONSTARTUP
PYTHON = .venv/bin/python
# Tests mean the same everywhere: no checkpoint, cache or target of the user's.
PYTEST = env -u MIXTRAL_CKPT_DIR -u MIXTRAL_TOKENIZER_PATH -u MIXTRAL_CACHE_PATH -u MIXTRAL_TARGET $(PYTHON) -m pytest
PREFILL_DEMO = demo/demo_with_prefill.py::test_mixtral8x7b_demo
.PHONY: setup demo test test-full bench-weights lint

setup: ; @sh scripts/setup.sh

demo: setup
	@$(PYTHON) -m demo

test: lint
	@$(PYTEST) --target cpu --ignore tests/long tests
	@$(PYTEST) --target cpu demo/demo.py \
	    "$(PREFILL_DEMO)[wormhole_b0-True-128-general]" "$(PREFILL_DEMO)[wormhole_b0-True-128-instruct]"
	@$(PYTEST) --target cpu "$(PREFILL_DEMO)[wormhole_b0-True-4k-instruct]" --users 2
	@if $(PYTHON) -m virtual_t3000; then $(PYTEST) --target mock tests/mock; fi

test-full: test
	@$(PYTHON) -m virtual_t3000 # fails where the real ttnn is missing: nothing may have been left out
	@$(PYTEST) --target cpu --durations=0 tests/long demo/demo_with_prefill.py

bench-weights: setup
	@$(PYTHON) -m virtual_t3000
	@$(PYTHON) -m benchmarks.weights

lint: setup
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy
