# The verbs of this repository. CI calls the same ones; `make help` lists them.
# Written for GNU make 3.81, which is what macOS brings.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest
# Two workers a core: most tests of a broker wait. `make WORKERS=0 test` runs all in one process, in order.
WORKERS ?= 4
PARALLEL := -n $(WORKERS) --dist loadgroup
# Where the peers of `bench-peers` are installed: outside the repository.
PEERS ?= $(or $(TMPDIR),/tmp)/farandole-peers
CODE := framework tests benchmarks docs/generate

# The first interpreter that is new enough; `make PYTHON=... setup` overrides it.
PYTHON ?= $(shell for each in python3 python3.13 python3.12 python3.11; do \
	if $$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$each; break; fi; done)

.DEFAULT_GOAL := help
.PHONY: help setup fmt lint types test unit contract accept kafka secured bench bench-peers flame sim chaos recovery soak mutants twin fuzz model mixed docs demo lock tools clean

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP) ## Make the virtual environment and install everything from the lock

$(STAMP): requirements.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "Python 3.11 or newer is missing. Debian: apt-get install python3 python3-venv; macOS: brew install python" >&2; \
		exit 1; fi
	@if ! $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null; then \
		echo "$(PYTHON) has no venv module. Debian: apt-get install python3-venv" >&2; exit 1; fi
	@[ -x $(BIN)/pip ] || $(PYTHON) -m venv $(VENV)
	@echo "installing from requirements.lock into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

fmt: $(STAMP) ## Format, and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(STAMP) ## Style, format, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP) ## mypy --strict over package, agents and tests
	$(BIN)/mypy $(CODE)
	$(BIN)/mypy agents/orders
	MYPYPATH=framework:agents/flights $(BIN)/mypy agents/flights/*.py
	MYPYPATH=framework:docs/how-to/shop $(BIN)/mypy docs/how-to/shop/*.py

test: lint types tools ## Everything: install, lint, types, all tests (real Kafka included)
	$(PYTEST) $(PARALLEL)

unit: $(STAMP) ## Tests without Kafka and without processes
	$(PYTEST) tests/architecture tests/unit

contract: $(STAMP) ## Ports and formats, against what they stand for
	$(PYTEST) $(PARALLEL) tests/contract

accept: $(STAMP) ## What a user sees, on processes and a real broker
	$(PYTEST) tests/acceptance

kafka: $(STAMP) tools ## Only the tests that need a broker
	$(PYTEST) $(PARALLEL) -m kafka

secured: $(STAMP) ## The whole conformance suite on a broker with TLS, SASL and ACLs (`test` runs a part of it)
	FARANDOLE_TEST_SECURED=all $(PYTEST) tests/contract/test_kafka_security.py

bench: $(STAMP) ## What it does beside the bare log: make bench ONLY="chain map" LOGS=sqlite SCALE=0.2
	$(BIN)/python benchmarks/bench.py $(ONLY) $(if $(LOGS),--logs $(LOGS)) $(if $(SCALE),--scale $(SCALE)) $(if $(LONG),--long)

bench-peers: $(STAMP) ## The same chain on Celery, Restate and DBOS, which are installed into PEERS first
	benchmarks/peers/install.sh "$(PEERS)"
	$(BIN)/python benchmarks/bench_peers.py $(ONLY) --installed "$(PEERS)" $(if $(SCALE),--scale $(SCALE))

flame: $(STAMP) ## Where the time of an agent and a coordinator goes, as benchmarks/plots/flame.svg
	VENV_PYTHON=$(BIN)/python benchmarks/flame.sh "$(PEERS)/flame" benchmarks/plots/flame.svg

# COMPILED=1: the loops and the broker in memory are compiled first, in some minutes; worth it from 10,000 seeds on.
sim: $(STAMP) ## Seeds of the simulation: make sim SEEDS=1000 FROM=0 [COMPILED=1]; one as a trace: make sim REPLAY=17
	PYTHONHASHSEED=0 $(BIN)/python $(if $(COMPILED),tests/simulation/compiled.py,-m farandole.testing.simulation) \
		$(if $(REPLAY),--replay $(REPLAY),$(or $(FROM),0) $$(( $(or $(FROM),0) + $(or $(SEEDS),500) )))

chaos: $(STAMP) ## Faults on a real broker, with a report: make chaos, or make chaos FAULTS="F1 F5" ROUNDS=3
	$(BIN)/python -m farandole.testing.chaos $(FAULTS) --rounds $(or $(ROUNDS),1) \
		$(if $(FAULTS),,--write docs/reliability-faults.md)

recovery: $(STAMP) ## How long until work goes on after a kill, on a broker with default settings: make recovery ROUNDS=5
	$(BIN)/python -m farandole.testing.chaos.recovery --rounds $(or $(ROUNDS),5)

soak: $(STAMP) ## Canaries and random faults for MINUTES; memory, state and lag must stay flat: make soak MINUTES=60
	$(BIN)/python -m farandole.testing.chaos.soak $(or $(MINUTES),60) --seed $(or $(SEED),0)

mutants: $(STAMP) ## Plant bugs in the product, one at a time; the simulation must find each: make mutants ONLY="a b"
	PYTHONHASHSEED=0 $(BIN)/python tests/simulation/mutation.py $(if $(ONLY),--only $(ONLY),--write tests/simulation/MUTANTS.md)

twin: $(STAMP) ## Random operations on the log in memory and on another, seeds as for sim: make twin SEEDS=20 STAGE=sqlite
	$(BIN)/python -m farandole.testing.twin $(or $(FROM),0) $$(( $(or $(FROM),0) + $(or $(SEEDS),20) )) $(or $(STAGE),kafka)

fuzz: $(STAMP) ## Bad input, TIMES times as many cases as `make test` has: make fuzz TIMES=50
	FARANDOLE_FUZZ=$(or $(TIMES),20) $(PYTEST) tests/fuzz --timeout=0

model: $(STAMP) ## The protocol's model in its larger sizes, with what spin counted
	FARANDOLE_MODEL=large $(PYTEST) tests/model -rP --timeout=0

mixed: $(STAMP) tools ## Processes of REV (default: the commit before) and of this tree at once, under load, both ways
	FARANDOLE_MIXED=$(or $(REV),HEAD~1) $(PYTEST) tests/acceptance/test_mixed.py

docs: $(STAMP) ## Make the reference pages from the code, build the site into site/, run what the pages show
	$(BIN)/python docs/generate
	$(BIN)/zensical build --clean --strict
	$(PYTEST) tests/docs

demo: $(STAMP) ## A month of flights through a pipeline, with a failure and its repair; needs no server
	@$(BIN)/farandole demo

# In an environment of its own: pip-tools wants to say which pip there is.
lock: ## Resolve pyproject.toml into requirements.lock anew, keeping what still fits
	@[ -x .venv-lock/bin/pip-compile ] || { $(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip install --quiet "pip-tools>=7.6,<8"; }
	CUSTOM_COMPILE_COMMAND="make lock" .venv-lock/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
		--extra dev --build-deps-for editable --no-header --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --no-emit-options --output-file requirements.lock pyproject.toml

tools: ## Say which optional tools are missing, and what brings them
	@command -v kcat >/dev/null || echo "note: kcat is missing. Debian: apt-get install kcat; macOS: brew install kcat"
	@command -v spin >/dev/null || echo "note: spin is missing. Debian: apt-get install spin gcc; macOS: brew install spin"
	@command -v java >/dev/null || echo "note: java is missing. Debian: apt-get install openjdk-17-jre-headless; macOS: brew install openjdk"
	@command -v mvn >/dev/null || echo "note: mvn is missing. Debian: apt-get install maven; macOS: brew install maven"

clean: ## Remove what was built or cached (not .venv, not the broker's jars)
	rm -rf build dist var .farandole .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find framework agents tests -name __pycache__ -type d -prune -exec rm -rf {} +
