# Everything that can be done with this repository. Each target installs what it needs first.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
UV_VERSION := 0.13.9
ENVIRONMENT ?= sandbox
# ENVIRONMENT has a default, which must not lead e2e into an account: only one that was given does.
E2E_ENVIRONMENT := $(if $(filter command,$(firstword $(origin ENVIRONMENT))),$(value ENVIRONMENT),local)
CDK := $(CURDIR)/node_modules/.bin/cdk
# The venv's Node comes first: the CDK's own Python bridge warns of older ones.
export PATH := $(BIN):$(PATH)
export JSII_RUNTIME_PACKAGE_CACHE_ROOT ?= $(CURDIR)/build/jsii
export NPM_CONFIG_UPDATE_NOTIFIER := false
export CDK_DISABLE_VERSION_CHECK := 1
# Images of Docker set this; each process would compile the CDK, botocore and all tests again.
export PYTHONDONTWRITEBYTECODE :=

# The variables that each of these targets takes, besides PYTHON. A misspelt one would be ignored in
# silence, and an empty one is a variable of yours that is not set: both stop make.
TAKES_demo := ORDERS LIMIT SEARCH_URL KEEP SEED CHAOS POISON
TAKES_test := SCHEDULES
TAKES_simulate := N DEAD_LETTERS SEED
TAKES_exercise-1 := HINT SOLUTION
TAKES_exercise-2 := HINT SOLUTION
TAKES_exercise-3 := HINT SOLUTION
TAKES_bench := BENCH RECORDS CHANGES REPEATS
TAKES_synth := ENVIRONMENT CDK_OPTIONS
TAKES_preflight := ENVIRONMENT CDK_OPTIONS JSON
TAKES_bootstrap := ENVIRONMENT CDK_OPTIONS CONFIRM
TAKES_deploy := ENVIRONMENT CDK_OPTIONS CONFIRM
TAKES_destroy := ENVIRONMENT CDK_OPTIONS CONFIRM
TAKES_e2e := ENVIRONMENT CDK_OPTIONS CONFIRM
TAKE_NONE := setup examples example-1 example-2 example-3 integration lint lint-templates bench-check docs format lock upgrade-rehearsal

GOALS := $(or $(MAKECMDGOALS),help)
TAKEN := $(foreach goal,$(GOALS),$(TAKES_$(goal)))
GIVEN := $(strip $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name))))
OURS := PYTHON READY BIN CDK SHELL UV_VERSION JSII_RUNTIME_PACKAGE_CACHE_ROOT
TAKERS := $(patsubst TAKES_%,%,$(filter TAKES_%,$(.VARIABLES)))
# Of goals in neither list nothing is known.
ifeq (,$(filter-out $(TAKERS) $(TAKE_NONE),$(GOALS)))
UNKNOWN := $(filter-out $(TAKEN) $(OURS),$(GIVEN))
$(if $(UNKNOWN),$(error make $(GOALS) takes no $(UNKNOWN): $(if $(TAKEN),it takes $(TAKEN),it takes no variables)))
$(foreach name,$(GIVEN),$(if $(value $(name)),,$(error make $(GOALS): $(name) is empty: leave it out, or say what is meant)))
endif

# Values reach the programs through the environment, as they were typed: no `$`, quote or backquote
# of theirs means anything to make or to the shell.
define as_typed
override $(1) := $$(value $(1))
export $(1)
endef
$(foreach name,$(sort PYTHON $(TAKEN)),$(if $(filter-out undefined,$(origin $(name))),$(eval $(call as_typed,$(name)))))

READY := .venv/.ready

.PHONY: setup
setup: $(READY) ## Install everything: Python, Node, the CDK, the engines' jars, the Lambda packages
	@echo "Ready. Next: make demo"

.venv/bin/uv:
	@command -v "$$PYTHON" >/dev/null || { echo "There is no $$PYTHON: name a Python, as in make setup PYTHON=python3.12"; exit 1; }
	@"$$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$$PYTHON is older than 3.11: name a newer one, as in make setup PYTHON=python3.12"; exit 1; }
	"$$PYTHON" -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(READY): .venv/bin/uv requirements-dev.txt lambdas/requirements.txt package-lock.json pyproject.toml stacks/packaging.py stacks/byte_code.py $(wildcard local/services/java/*/jgo.lock.toml)
	@echo "Installing (the first time takes a minute or two)"
	uv pip sync --quiet --require-hashes --python .venv/bin/python requirements-dev.txt
	uv pip install --quiet --no-deps --python .venv/bin/python --editable .
	npm ci --no-audit --no-fund --silent
	python -m local.services.java_dependencies
	python -m stacks.packaging
	@touch $@

.PHONY: demo
demo: $(READY) ## Deploy the app on this machine, feed it real orders, compare every copy (LIMIT=n ORDERS=file SEARCH_URL=url KEEP=1 SEED=n, CHAOS=1 or POISON=n)
	@exec python -m local.demo

# Examples and exercises need Python 3.11 and nothing else: not even what `make setup` installs.
.PHONY: examples example-1 example-2 example-3
examples: example-1 example-2 example-3 ## Run the three examples, a second each: needs Python alone
example-1: ## What a stream tells, and what it leaves out
example-2: ## Counting wrong, and counting right
example-3: ## One order's life, failures, dead letters, lanes
example-1 example-2 example-3: .any-python
	@PYTHONPATH=src "$$PYTHON" -m dynamodb_streams_cdc.examples.$(subst -,_,$@)

.PHONY: exercise-1 exercise-2 exercise-3
exercise-1: ## Check your audit log (HINT=1 gives a hint)
exercise-2: ## Check your search sync (HINT=1 gives a hint)
exercise-3: ## Check your projections of a log (HINT=1 gives a hint)
exercise-1 exercise-2 exercise-3: exercise-%: .any-python
	@PYTHONPATH=src "$$PYTHON" -m exercises.checks $* $${HINT:+--hint="$$HINT"} $${SOLUTION:+--solution}

.PHONY: .any-python
.any-python:
	@"$$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "This takes Python 3.11 or later: name one, as in make $(firstword $(MAKECMDGOALS)) PYTHON=python3.12"; exit 1; }

.PHONY: test
test: $(READY) ## Unit, handler and infrastructure tests: no server, no network (SCHEDULES=all as in CI)
	pytest tests --ignore tests/integration --numprocesses auto --dist loadfile

.PHONY: simulate
simulate: $(READY) ## Run the pipeline through thousands of schedules in virtual time (N=100000 DEAD_LETTERS=1), or show one (SEED=n)
	@exec python tools/simulate.py $${DEAD_LETTERS:+--dead-letters} $${N:+--schedules="$$N"} $${SEED:+--seed="$$SEED"}

.PHONY: integration
integration: $(READY) ## Tests on real engines on loopback: DynamoDB Local, OpenSearch, the emulator
	pytest tests/integration

.PHONY: lint
lint: $(READY) ## Style, types, and whether the lock files match pyproject.toml
	ruff check .
	ruff format --check .
	mypy
	python tools/locks.py --check

CHECKOV := build/checkov/.ready
TEMPLATES := sandbox production

.PHONY: lint-templates
lint-templates: $(READY) $(CHECKOV) ## Check the templates of sandbox and production with checkov, against stacks/findings.py
	@rm -rf build/templates
	@for name in $(TEMPLATES); do \
	  "$(CDK)" synth --quiet --context environment=$$name --context alarm_email=on-call@example.com \
	    --output build/templates/$$name > /dev/null; done
	@python -m tools.lint_templates build/checkov/bin/checkov $(TEMPLATES:%=build/templates/%)

# Its 96 packages contradict this project's: they get an environment of their own.
$(CHECKOV): $(READY) requirements-checkov.txt
	@uv venv --quiet --clear --python .venv/bin/python build/checkov
	@uv pip sync --quiet --require-hashes --python build/checkov/bin/python requirements-checkov.txt
	@touch $@

.PHONY: bench
bench: $(READY) ## Measure against what people would use instead (BENCH="parse audit" RECORDS=file CHANGES=n REPEATS=n)
	@mkdir -p build
	@set -f; exec python -m benchmarks $${BENCH:-} --json build/bench.json \
	  $${RECORDS:+--records="$$RECORDS"} $${CHANGES:+--changes="$$CHANGES"} $${REPEATS:+--repeats="$$REPEATS"}

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

.PHONY: e2e
e2e: export E2E_ENVIRONMENT := $(value E2E_ENVIRONMENT)
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
