# A fresh machine needs Python >= 3.11, make and git. Everything else comes hash-locked into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# T=tests/key or T="-k rotate" runs a part of the tests. Many tests wait for servers and clocks: twice as many as there are cores.
T      ?= -n 4 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help install demo test full faults soak lint format docs proto bench lock build clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## everything into .venv

$(VENV)/.installed: requirements/dev.txt pyproject.toml tests/node/package-lock.json
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(MAKE) --no-print-directory $(VENV)/node/.installed || echo "without Node's jose: the tests with it are skipped"
	@touch $@

# A second JWT implementation for the tests, where there is Node; hash-locked like the rest.
$(VENV)/node/.installed: tests/node/package-lock.json
	mkdir -p $(@D)
	cp tests/node/package.json tests/node/package-lock.json $(@D)
	npm ci --prefix $(@D) --silent --no-audit --no-fund --ignore-scripts
	@touch $@

demo: install ## watch a real server, a real Agent and vault-asc keep a credential alive
	$(BIN)/vault-asc demo

test: install ## all tests, the fault suite too, against a real OpenBao server on 127.0.0.1
	$(BIN)/pytest $(T)

full: install ## the same with all that is only a matter of numbers: 5,000 targets, 100,000 reads, 1,000 tokens
	ASC_TESTS_FULL=1 $(BIN)/pytest $(T)

faults: install ## of these, every row of the fault matrix, and seeded bugs that it has to catch (docs/faults.md)
	$(BIN)/pytest tests/faults -n 4 --dist worksteal

# SOAK=60 and KILLS=20 make it shorter.
SOAK   ?= 600
KILLS  ?= 200
soak: install ## real time: 200 kills of the service, then a consumer that looks 20 times a second for 10 minutes
	$(BIN)/python -m tests.faults.kills $(KILLS)
	$(BIN)/python -m tests.faults.soak $(SOAK)

lint: install ## ruff, format, mypy strict, import-linter, generated code
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@rm -rf $(VENV)/proto && mkdir -p $(VENV)/proto
	@$(call generate,$(VENV)/proto)
	diff -r -x __init__.py -x __pycache__ $(PB) $(VENV)/proto/$(PB) || { echo 'run "make proto"'; false; }

format: install ## let ruff write what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install ## write docs/commands.md from the commands
	$(BIN)/python -m tests.cli.reference

proto: install ## write the engine's generated code from its .proto files
	$(call generate,.)

# The virtual path gives the generated modules the package that they lie in.
PB     := vault_asc/engine/_pb
PROTOS := $(patsubst vault_asc/engine/proto/%,$(PB)/%,$(wildcard vault_asc/engine/proto/*.proto))
generate = PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m grpc_tools.protoc -I $(PB)=vault_asc/engine/proto \
	--python_out=$(1) --mypy_out=quiet:$(1) --grpclib_python_out=$(1) $(PROTOS)

bench: install ## ratios against named baselines
	$(BIN)/python -m tests.bench

lock: ## renew requirements/*.txt (needs the network)
	$(BIN)/pip-compile $(LOCK) --extra service -o requirements/run.txt pyproject.toml
	$(BIN)/pip-compile $(LOCK) --extra service --extra lab --extra engine --extra dev -c requirements/run.txt -o requirements/dev.txt pyproject.toml
	$(BIN)/pip-compile $(LOCK) --extra service --extra lab --extra engine -c requirements/dev.txt -o requirements/lab.txt pyproject.toml
	$(BIN)/pip-compile $(LOCK) --only-build-deps --build-deps-for wheel -c requirements/dev.txt -o requirements/build.txt pyproject.toml

LOCK := --quiet --strip-extras --allow-unsafe --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header

build: install ## wheel and sdist into dist/
	$(BIN)/hatchling build -d dist

clean: ## remove .venv and all that tools leave
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
