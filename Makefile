# make demo: 32 answers from the tiny checkpoint.  make test: everything that CI runs.  make test-full: every demo id, the
# long tests and every kernel too.  make kernels: compiles every kernel of full-size Mixtral.  make sim, make sim-full: the
# kernels on simulated chips.  make bench-weights: the weight pipeline at the real layer shapes.
unexport PYTHONHOME PYTHONPATH PYTHONSTARTUP
PYTHON = .venv/bin/python
# Tests mean the same everywhere: no checkpoint, cache or target of the user's.
PYTEST = env -u MIXTRAL_CKPT_DIR -u MIXTRAL_TOKENIZER_PATH -u MIXTRAL_CACHE_PATH -u MIXTRAL_TARGET $(PYTHON) -m pytest
PREFILL_DEMO = demo/demo_with_prefill.py::test_mixtral8x7b_demo
.PHONY: setup demo test test-full kernels sim sim-full bench-weights lint

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
	@$(MAKE) kernels

kernels: setup
	@$(PYTHON) scripts/get_sfpi.py
	@$(PYTHON) -m tests.mock.kernels

sim: setup
	@if [ -z "$$MIXTRAL_SIMULATOR" ]; then echo "left out: make sim wants a simulator, MIXTRAL_SIMULATOR (docs/silicon.md)"; \
	else $(PYTEST) --target sim --chips 1 --durations=0 tests/sim --ignore tests/sim/full --ignore tests/sim/t3000; fi

sim-full: sim
	@if [ -n "$$MIXTRAL_SIMULATOR" ]; then \
	    $(PYTEST) --target sim --chips 1 --durations=0 tests/sim/full && \
	    $(PYTEST) --target sim --chips 8 --durations=0 tests/sim/t3000; fi

bench-weights: setup
	@$(PYTHON) -m virtual_t3000
	@$(PYTHON) -m benchmarks.weights

lint: setup
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy
