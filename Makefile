# make demo: 32 answers from the tiny checkpoint.  make test: everything that CI runs.  make test-full: every demo id, the
# long tests and every kernel too.  make kernels: compiles every kernel of full-size Mixtral.  make sim, make sim-full: the
# kernels on simulated chips.  make bench: the CPU target beside transformers, by the clock.  make bench-weights: the weight
# pipeline at the real layer shapes.  make bench-engine: the engine without a model.  make cost: what the chips would
# take, modelled.  make soak: the server under a mixed load, an hour or MINUTES=2.
unexport PYTHONHOME PYTHONPATH PYTHONSTARTUP
PYTHON = .venv/bin/python
# Tests mean the same everywhere: no checkpoint, cache or target of the user's.
OF_THE_USER = MIXTRAL_CKPT_DIR MIXTRAL_TOKENIZER_PATH MIXTRAL_CACHE_PATH MIXTRAL_TARGET MIXTRAL_FABRIC MIXTRAL_TRACE \
    MIXTRAL_ATTENTION_CHUNK MIXTRAL_FIDELITY
PYTEST_SIM = env $(OF_THE_USER:%=-u %) $(PYTHON) -m pytest --target sim --durations=0 $(VERDICTS:%=--verdicts %)
PYTEST = env $(OF_THE_USER:%=-u %) -u MIXTRAL_SFPI -u MIXTRAL_MOCK_SFPI $(PYTHON) -m pytest
# Two processes with a thread each, on the two cores that the README asks for; a file of tests stays in one where its
# models are large.
TESTS = OMP_NUM_THREADS=1 $(PYTEST) -n 2 --dist
MINUTES = 60
PREFILL_DEMO = demo/demo_with_prefill.py::test_mixtral8x7b_demo
.PHONY: setup demo test test-full kernels sim sim-full bench bench-weights bench-engine cost soak lint

setup: ; @sh scripts/setup.sh

demo: setup
	@$(PYTHON) -m demo

test: lint
	@$(TESTS) worksteal --target cpu --ignore tests/long tests
	@$(PYTHON) -m tests.server.browser # a line, where the chat page was not tried in a browser
	@$(PYTEST) --target cpu demo/demo.py \
	    "$(PREFILL_DEMO)[wormhole_b0-True-128-general]" "$(PREFILL_DEMO)[wormhole_b0-True-128-instruct]"
	@$(PYTEST) --target cpu "$(PREFILL_DEMO)[wormhole_b0-True-4k-instruct]" --users 2
	@if $(PYTHON) -m virtual_t3000; then $(TESTS) loadfile --target mock tests/mock; fi

test-full: test
	@$(PYTHON) -m virtual_t3000 # fails where the real ttnn is missing: nothing may have been left out
	@$(PYTEST) --target cpu --durations=0 tests/long demo/demo_with_prefill.py
	@$(MAKE) soak MINUTES=2
	@$(MAKE) kernels

kernels: setup
	@$(PYTHON) scripts/get_sfpi.py
	@$(PYTHON) -m tests.mock.kernels

sim: setup
	@if [ -z "$$MIXTRAL_SIMULATOR" ]; then echo "left out: make sim wants a simulator, MIXTRAL_SIMULATOR (docs/silicon.md)"; \
	else $(PYTEST_SIM) --chips 1 tests/sim --ignore tests/sim/full --ignore tests/sim/t3000; fi

sim-full: sim
	@if [ -n "$$MIXTRAL_SIMULATOR" ]; then \
	    $(PYTEST_SIM) --chips 1 tests/sim/full && $(PYTEST_SIM) --chips 8 tests/sim/t3000; fi

bench: setup
	@$(PYTHON) -m benchmarks.real_time

bench-weights: setup
	@$(PYTHON) -m virtual_t3000
	@$(PYTHON) -m benchmarks.weights

bench-engine: setup
	@$(PYTHON) -m benchmarks.engine

cost: setup
	@$(PYTHON) -m models.mixtral8x7b.cli cost --operations

soak: setup
	@$(PYTHON) -m benchmarks.soak $(MINUTES)

lint: setup
	@$(PYTHON) -m ruff check
	@$(PYTHON) -m ruff format --check
	@$(PYTHON) -m mypy
