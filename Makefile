# `make demo` and `make test` need Python 3.10 or newer (and g++ for the tests); each makes its own .venv.
PYTHON ?= python3
BIN := .venv/bin
# torch's plain CPU build; newer ones bring gigabytes of CUDA packages
CONSTRAINTS := tests/constraints.txt

.PHONY: demo test test-bounds test-sanitized check bench wheel sdist clean

demo: .venv/core
	$(BIN)/arrayvision demo --out demo.png

test: .venv/test
	$(BIN)/python -m tests.warmup
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not alone"
	$(BIN)/python -m pytest -m alone
	$(MAKE) test-bounds
	$(MAKE) test-sanitized

# CPU kernels with every index checked
test-bounds: .venv/test
	NUMBA_BOUNDSCHECK=1 ARRAYVISION_TEST_BACKENDS=cpu ARRAYVISION_TEST_LIBRARIES=numpy \
		$(BIN)/python -m pytest -n 2 --dist worksteal -m "not alone" tests/ops

test-sanitized: .venv/test
	$(BIN)/python -m tests.sanitized

check: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/test
	$(BIN)/arrayvision bench

# For this Python, platform and Numba, with every kernel compiled: into dist/
wheel: .venv/test
	$(BIN)/python -m tools.wheel

sdist: .venv/test
	$(BIN)/python -m build --sdist

.venv/core: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

.venv/test: pyproject.toml $(CONSTRAINTS) tests/openmmlab/requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.[test,dev]'
	# mmdet, mmdet3d and what they need, for the tests of `import mmcv`; the pinned versions are of Python 3.11 and newer
	if $(BIN)/python -c "import sys; sys.exit(sys.version_info < (3, 11))"; then $(BIN)/python -m pip install --quiet \
		--disable-pip-version-check --no-deps -r tests/openmmlab/requirements.txt; fi
	touch $@ .venv/core

clean:
	rm -rf .venv build dist *.egg-info
