# make demo    the main job end to end on this machine: install, measure, plant a slow-down, see it named
# make test    every test; installs what the tests need
# make help    the other targets

SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := build/uv/bin/uv
INSTALLED := $(VENV)/installed
PROTOS := $(wildcard proto/tesserabench/v1/*.proto)
# Real Prometheus and Alertmanager, unpacked from Debian's packages: no root, nothing installed, no service started.
TOOLS := $(CURDIR)/build/tools
export PATH := $(CURDIR)/$(BIN):$(TOOLS)/usr/bin:$(PATH)
PYTEST_ARGS ?=

.PHONY: help
help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

# --- installation ----------------------------------------------------------------------------------------------------

.PHONY: install
install: $(INSTALLED) ## Install everything into .venv, at the locked versions

$(INSTALLED): requirements/bootstrap.txt requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "TesseraBench needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@echo "installing into $(VENV) ..."
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || { echo "pip is missing: apt-get install python3-pip"; exit 2; }
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-warn-script-location --root-user-action=ignore \
	  --upgrade --target build/uv --require-hashes -r requirements/bootstrap.txt 2>&1 | grep -v '^WARNING: Location' ; \
	  test $${PIPESTATUS[0]} = 0
	@$(UV) venv --quiet --allow-existing --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV)
	@# uv does not read pip's settings; where a mirror is known to pip alone, pip does the same job more slowly.
	@$(UV) pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/dev.txt || \
	  { echo "uv could not install; trying pip"; \
	    $(PYTHON) -m pip --python $(BIN)/python install --quiet --require-hashes -r requirements/dev.txt; }
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --offline --editable .
	@touch $@

.PHONY: lock
lock: $(INSTALLED) ## Choose versions anew: requirements/*.txt, with hashes and no addresses
	@compile() { $(UV) pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-index-url --no-annotate "$$@"; }; \
	set -e; \
	compile pyproject.toml --extra all --extra dask --group dev --group nvrtc -o requirements/dev.txt; \
	compile pyproject.toml --extra agent --constraint requirements/dev.txt -o requirements/agent.txt; \
	compile pyproject.toml --extra collector --extra embedded --constraint requirements/dev.txt -o requirements/collector.txt; \
	for cuda in 12 13; do compile pyproject.toml --extra cuda$$cuda --constraint requirements/dev.txt -o requirements/agent-cuda$$cuda.txt; done; \
	echo 'hatchling' | compile - --constraint requirements/dev.txt -o requirements/build.txt; \
	printf '%s\n' apache-otava asv more-itertools ruptures "signal-processing-algorithms; python_version < '3.12'" | \
	  compile - --no-deps -o requirements/peers.txt; \
	echo 'uv' | compile - -o requirements/bootstrap.txt

# --- the contract ----------------------------------------------------------------------------------------------------

PROTOC = $(BIN)/python -m grpc_tools.protoc -Iproto --python_out=$(1) --grpc_python_out=$(1) --mypy_out=quiet:$(1) --mypy_grpc_out=quiet:$(1)

.PHONY: proto
proto: $(INSTALLED) ## Generate the code of the wire contract
	@$(BIN)/buf format -w
	@$(call PROTOC,proto) $(PROTOS)

# --- checks ----------------------------------------------------------------------------------------------------------

.PHONY: check
check: $(INSTALLED) ## Lint, types, import rules, contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/buf breaking --against proto/released.binpb
	@rm -rf build/proto && mkdir -p build/proto && $(call PROTOC,build/proto) $(PROTOS) && \
	  diff -r --exclude='*.proto' --exclude='__pycache__' build/proto/tesserabench/v1 proto/tesserabench/v1 || \
	  { echo "the generated code is not what the .proto files say: make proto"; exit 1; }
	@if git grep -nIE '(pypi|pythonhosted|registry)\.[a-z.]+/|/simple/' -- requirements pyproject.toml Dockerfile.* deploy; then \
	  echo "a file names a package registry"; exit 1; fi

# --- tests -----------------------------------------------------------------------------------------------------------

.PHONY: test
# Hundreds of processes start below: none of them has to compile what another one has compiled.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(INSTALLED) test-tools ## Every test
	$(BIN)/pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder $(PYTEST_ARGS)

.PHONY: test-tools
test-tools: $(INSTALLED)
	@deploy/test-tools $(TOOLS)

.PHONY: bench
bench: $(INSTALLED) ## Performance figures, side by side with a reference, into build/bench/
	@mkdir -p build/bench
	@set -e; for program in tests/bench/bench_*.py; do PYTHONPATH=tests $(BIN)/python "$$program" --out build/bench; done

# Other detectors as they are published, beside ours; without their dependencies, most of which their commands need.
PEERS := build/peers

$(PEERS)/installed: requirements/peers.txt $(INSTALLED)
	@rm -rf $(PEERS)
	@$(UV) pip install --quiet --target $(PEERS) --python $(BIN)/python --no-deps --require-hashes -r requirements/peers.txt || \
	  { echo "uv could not install; trying pip"; \
	    $(BIN)/python -m pip install --quiet --target $(PEERS) --no-deps --require-hashes -r requirements/peers.txt; }
	@touch $@

DETECTION_ARGS ?=

.PHONY: bench-detection
bench-detection: $(PEERS)/installed ## Judging beside that of other tools, on the same data; DETECTION_DATA adds recorded histories
	@mkdir -p build/bench
	@PYTHONPATH=tests $(BIN)/python -m detection --out build/bench $(DETECTION_ARGS)

.PHONY: docs
docs: $(INSTALLED) ## Write the pages of docs/ that come from the code: words of a result, metrics, suites
	@PYTHONPATH=tests $(BIN)/python -m support.reference_pages

.PHONY: gpu-check
gpu-check: ## On a GPU host: the GPU tests and the benchmarks on the device
	@GPU_PYTHON="$${GPU_PYTHON:-$(PYTHON)}" tests/gpu/check

# --- the demo --------------------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(INSTALLED) ## Install, measure, plant a slow-down and see it named (KEEP=1 leaves it running)
	@$(BIN)/python deploy/demo.py $(if $(KEEP),--keep)

.PHONY: clean
clean: ## Remove what was built and installed here
	rm -rf $(VENV) build dist .demo .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
