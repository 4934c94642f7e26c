# Each target does all of its own set-up: system packages where they are missing, .venv, the package.
BIN := .venv/bin
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-s3 test-libraries check format
.PHONY: bench bench-scale bench-history bench-growth bench-travel bench-remote bench-training clean

help:            ## this list
	@grep -hE '^[a-z-]+: .*##|^[a-z-]+:  *##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup:           ## system packages, .venv and the package; takes no time when done already
	@scripts/setup.sh

demo: setup      ## three releases of a real data set, mounted side by side
	@scripts/demo.sh

test: setup      ## all tests, mounted ones too; where CI is set, beside a gateway of Ceph
	$(if $(CI),scripts/test_s3.sh) $(BIN)/python -m pytest $(PYTEST_ARGS)

test-s3: setup   ## what remotes promise, with a gateway of Ceph on this machine
	@scripts/test_s3.sh $(BIN)/python -m pytest -q -m s3 $(PYTEST_ARGS)

test-libraries: setup  ## that pandas, polars, dask, zarr, ... read versions; torch, where installed
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[libraries]'
	$(BIN)/python -m pytest tests/libraries $(PYTEST_ARGS)

check: setup     ## linters, types, layers, and the tests that take seconds
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -m "not mounted and not crash and not slow" $(PYTEST_ARGS)

format: setup    ## let ruff sort imports and lay the code out
	$(BIN)/ruff check --fix --select I .
	$(BIN)/ruff format .

bench: setup     ## vfs beside whatever else can be installed; BENCH_ARGS=--help lists workloads
	@scripts/setup.sh --bench
	$(BIN)/python scripts/bench.py $(BENCH_ARGS)

bench-scale: setup  ## 100,000 files in two versions, a directory of a million, a growing CSV
	$(BIN)/python scripts/bench_scale.py $(BENCH_ARGS)

bench-history: setup  ## commands on 1,000 versions of 1,000,000 files
	$(BIN)/python scripts/bench_history.py $(BENCH_ARGS)

bench-growth: setup  ## time and memory by files, versions, entries, bytes of a file and of a store
	$(BIN)/python scripts/bench_growth.py $(BENCH_ARGS)

bench-travel: setup  ## push and clone of 1 GiB beside the bucket's own speed
	$(BIN)/python scripts/bench_travel.py $(BENCH_ARGS)

bench-training: setup  ## a training loop in a container, beside one from a plain directory (needs podman)
	PYTHONPATH=. $(BIN)/python scripts/bench_training.py $(BENCH_ARGS)

bench-remote: setup  ## a remote mounted and read cold, on a line of 50 ms; BENCH_ARGS="--url s3://bucket/empty"
	$(BIN)/python scripts/bench_remote.py $(BENCH_ARGS)

bench-requests: setup  ## FUSE requests, LMDB transactions and processor time of each workload
	$(BIN)/python scripts/count_requests.py $(BENCH_ARGS)

clean:           ## all that the other targets have made
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
