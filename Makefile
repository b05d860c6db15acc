# Everything that can be done with this repository. Each target installs what it needs first.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
UV_VERSION := 0.13.9
ENVIRONMENT ?= sandbox
CDK := $(CURDIR)/node_modules/.bin/cdk
# The venv's Node comes first: the CDK's own Python bridge warns of older ones.
export PATH := $(BIN):$(PATH)
export JSII_RUNTIME_PACKAGE_CACHE_ROOT ?= $(CURDIR)/build/jsii
export NPM_CONFIG_UPDATE_NOTIFIER := false
export CDK_DISABLE_VERSION_CHECK := 1

READY := .venv/.ready

.PHONY: setup
setup: $(READY) ## Install everything: Python, Node, the CDK, the engines' jars, the Lambda packages
	@echo "Ready. Next: make demo"

.venv/bin/uv:
	@command -v $(PYTHON) >/dev/null || { echo "There is no $(PYTHON): name a Python, as in make setup PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is older than 3.11: name a newer one, as in make setup PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(READY): .venv/bin/uv requirements-dev.txt lambdas/requirements.txt package-lock.json pyproject.toml $(wildcard local/java/*/jgo.lock.toml)
	@echo "Installing (the first time takes a minute or two)"
	uv pip sync --quiet --require-hashes --python .venv/bin/python requirements-dev.txt
	uv pip install --quiet --no-deps --python .venv/bin/python --editable .
	npm ci --no-audit --no-fund --silent
	python -m local.engines install
	python -m stacks.packaging
	@touch $@

.PHONY: demo
demo: $(READY) ## Deploy the app on this machine, feed it real orders, compare every copy (LIMIT=n ORDERS=file SEARCH_URL=url KEEP=1 SEED=n, CHAOS=1 or POISON=n)
	@ORDERS="$(ORDERS)" LIMIT="$(LIMIT)" SEARCH_URL="$(SEARCH_URL)" KEEP="$(KEEP)" CHAOS="$(CHAOS)" \
	  POISON="$(POISON)" SEED="$(SEED)" \
	  exec python -m local.demo

# Examples and exercises need Python 3.11 and nothing else: not even what `make setup` installs.
.PHONY: examples example-1 example-2 example-3
examples: example-1 example-2 example-3 ## Run the three examples, a second each: needs Python alone
example-1: ## What a stream tells, and what it leaves out
example-2: ## Counting wrong, and counting right
example-3: ## One order's life, failures, dead letters, lanes
example-1 example-2 example-3: .any-python
	@PYTHONPATH=src $(PYTHON) -m dynamodb_streams_cdc.examples.$(subst -,_,$@)

.PHONY: exercise-1 exercise-2 exercise-3
exercise-1: ## Check your audit log (HINT=1 gives a hint)
exercise-2: ## Check your search sync (HINT=1 gives a hint)
exercise-3: ## Check your projections of a log (HINT=1 gives a hint)
exercise-1 exercise-2 exercise-3: exercise-%: .any-python
	@PYTHONPATH=src $(PYTHON) -m exercises.checks $* $(if $(HINT),--hint "$(HINT)") $(if $(SOLUTION),--solution)

.PHONY: .any-python
.any-python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "This takes Python 3.11 or later: name one, as in make $(firstword $(MAKECMDGOALS)) PYTHON=python3.12"; exit 1; }

.PHONY: test
test: $(READY) ## Unit, handler and infrastructure tests: no server, no network
	pytest tests --ignore tests/integration --numprocesses auto --dist loadfile

.PHONY: simulate
simulate: $(READY) ## Run the pipeline through thousands of schedules in virtual time (N=100000 LETTERS=1), or show one (SEED=n)
	@exec python tools/simulate.py $(if $(LETTERS),--letters) $(if $(SEED),--seed "$(SEED)",--schedules "$(or $(N),10000)")

.PHONY: integration
integration: $(READY) ## Tests on real engines on loopback: DynamoDB Local, OpenSearch, the emulator
	pytest tests/integration

.PHONY: lint
lint: $(READY) ## Style, types, and whether the lock files match pyproject.toml
	ruff check .
	ruff format --check .
	mypy
	python tools/locks.py --check

.PHONY: bench
bench: $(READY) ## Measure against what people would use instead (BENCH="parse audit" RECORDS=file CHANGES=n REPEATS=n)
	@mkdir -p build
	@exec python -m benchmarks $(BENCH) --json build/bench.json $(if $(RECORDS),--records "$(RECORDS)") \
	  $(if $(CHANGES),--changes "$(CHANGES)") $(if $(REPEATS),--repeats "$(REPEATS)")

.PHONY: bench-check
bench-check: $(READY) ## Compare what a change costs in requests, units, bytes, calls and memory with what is written down
	python -m benchmarks.check

.PHONY: docs
docs: $(READY) ## Check what the pages show against a run of it, and build the site into build/site
	python -m tools.docs --build

.PHONY: format
format: $(READY) ## Mend the style
	ruff check --fix .
	ruff format .

.PHONY: lock
lock: $(READY) ## Resolve the dependencies anew within pyproject.toml's bounds
	python tools/locks.py

# What is given to make reaches these programs as it is, through the environment and no shell.
preflight bootstrap synth deploy destroy: export ENVIRONMENT := $(value ENVIRONMENT)
preflight bootstrap synth deploy destroy e2e: export CDK_OPTIONS := $(value CDK_OPTIONS)
bootstrap deploy destroy e2e: export CONFIRM := $(value CONFIRM)

.PHONY: synth
synth: $(READY) ## Write the CloudFormation templates to cdk.out (ENVIRONMENT=sandbox or production)
	@exec python -m tools.account synth

.PHONY: preflight
preflight: $(READY) ## Look whether the AWS account of your credentials can take a deploy; changes nothing (JSON=1)
	@exec python -m tools.account preflight $(if $(JSON),--json)

.PHONY: bootstrap
bootstrap: $(READY) ## Prepare an account's Region for the CDK, once, after you have confirmed it
	@exec python -m tools.account bootstrap

.PHONY: deploy
deploy: $(READY) ## Deploy to the AWS account of your credentials, once you have confirmed it
	@exec python -m tools.account deploy

.PHONY: destroy
destroy: $(READY) ## Remove an environment from the account, once you have confirmed it; says what stays
	@exec python -m tools.account destroy

# ENVIRONMENT has a default, which must not reach an account here: only one that somebody named does.
.PHONY: e2e
e2e: export E2E_ENVIRONMENT := $(if $(filter file undefined,$(origin ENVIRONMENT)),local,$(value ENVIRONMENT))
e2e: $(READY) ## Deploy, verify, poison, redrive, destroy: on this machine, or in an account (ENVIRONMENT=sandbox)
	@exec python -m tools.account.e2e

.PHONY: upgrade-rehearsal
upgrade-rehearsal: $(READY) ## Deploy an earlier commit on this machine, then this tree over it under traffic, and verify
	@exec python -m tools.account.upgrade

.PHONY: clean
clean: ## Remove everything that was built or installed here
	rm -rf .venv node_modules build cdk.out .jgo .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -name '*.egg-info' -type d -prune -exec rm -rf {} +

.PHONY: help
help: ## Show this
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)
