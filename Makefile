# The commands of this repository. Each target installs its requirements first.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
UV_VERSION := 0.13.9
ENVIRONMENT ?= sandbox
# e2e goes to an account only if ENVIRONMENT is typed: the default does not count.
E2E_ENVIRONMENT := $(if $(filter command,$(firstword $(origin ENVIRONMENT))),$(value ENVIRONMENT),local)
# So does a commit to upgrade from: some CI systems export COMMIT, which is the tree itself.
REHEARSED_COMMIT := $(if $(filter command,$(firstword $(origin COMMIT))),$(value COMMIT))
# Where the machine's Python is, if .venv is active as well.
ON_MACHINE := $(subst $(BIN):,,$(PATH))
# The venv's Node comes first: the CDK's own Python bridge warns of older ones.
export PATH := $(BIN):$(PATH)
export JSII_RUNTIME_PACKAGE_CACHE_ROOT ?= $(CURDIR)/build/jsii
export NPM_CONFIG_UPDATE_NOTIFIER := false
export CDK_DISABLE_VERSION_CHECK := 1
# Images of Docker set this; each process would compile the CDK, botocore and all tests again.
export PYTHONDONTWRITEBYTECODE :=

# The variables of each target, in addition to PYTHON. make refuses an unknown one, which is often
# misspelt, and an empty one, which is often an unset variable of the shell.
TAKES_demo := DATA LIMIT SEARCH_URL KEEP SEED CHAOS POISON
TAKES_test := SCHEDULES
TAKES_simulate := N DEAD_LETTERS OPERATIONS ERASURES SEED
TAKES_exercise-1 := HINT SOLUTION
TAKES_exercise-2 := HINT SOLUTION
TAKES_exercise-3 := HINT SOLUTION
TAKES_bench := BENCH RECORDS CHANGES REPEATS
TAKES_playground := PORT
TAKES_test-browser := BROWSER
TAKES_synth := ENVIRONMENT CDK_OPTIONS
TAKES_preflight := ENVIRONMENT CDK_OPTIONS JSON
TAKES_bootstrap := ENVIRONMENT CDK_OPTIONS CONFIRM
TAKES_deploy := ENVIRONMENT CDK_OPTIONS CONFIRM
TAKES_destroy := ENVIRONMENT CDK_OPTIONS CONFIRM
TAKES_e2e := ENVIRONMENT CDK_OPTIONS CONFIRM
TAKES_upgrade-rehearsal := COMMIT
TAKE_NONE := setup fork-check examples example-1 example-2 example-3 integration lint lint-templates bench-check docs format lock

# One line for each variable, which docs/reference/settings.md shows.
# PYTHON: Python that `make setup` builds the environment with, 3.11 or later. Example: `python3.12`.
# DATA: File that `lambdas/domain/stories.py` makes stories from; the example takes purchases in the CDNOW format, plain or gzipped. Default: the sample of 6,919 purchases in `data`. Example: `purchases.txt`.
# LIMIT: Stories to write, each the life of one item. Default: all. Example: `200`.
# SEARCH_URL: OpenSearch cluster without sign-in, in place of one that the demo starts. Example: `http://127.0.0.1:9200`.
# KEEP: 1 leaves everything up until Ctrl-C. Default: `0`. Example: `1`.
# SCHEDULES: `all` simulates every schedule in `make test` and runs the long tests, as CI does. Default: a fiftieth of the schedules, and no long test. Example: `all`.
# SEED: Number that decides every random choice of a run. Default: the same in every demo; `make simulate` runs seeds from 0. Example: `7`.
# CHAOS: 1 kills workers and the poller, throttles functions, loses answers and stops OpenSearch for a while; not with POISON or SEARCH_URL. Default: `0`. Example: `1`.
# POISON: Items that some sink cannot apply, which the demo then redrives; 0 for none. Default: `0`. Example: `25`.
# N: Schedules to simulate. Default: `10000`. Example: `100000`.
# DEAD_LETTERS: 1 adds poison, redrives and purges to the schedules. Default: `0`. Example: `1`.
# OPERATIONS: 1 simulates items from before the stream, with backfills and repairs. Default: `0`. Example: `1`.
# ERASURES: 1 simulates erasures of deleted items as well. Default: `0`. Example: `1`.
# HINT: Number of the hint to print; nothing is checked. Example: `1`.
# SOLUTION: 1 checks the solution in place of your file. Default: `0`. Example: `1`.
# BENCH: Benchmarks to run, separated by spaces. Default: all. Example: `"parse audit"`.
# RECORDS: File of purchases in the CDNOW format. Default: the sample in `data`. Example: `purchases.txt`.
# CHANGES: Changes per variant and repetition. Default: each benchmark's own. Example: `1000`.
# REPEATS: Repetitions of each variant. Default: each benchmark's own. Example: `5`.
# PORT: Port of the playground. Default: `8137`. Example: `8200`.
# BROWSER: Chromium or Chrome for the tests of the playground, or `npm` for the one that npm installs. Default: the machine's, else npm's. Example: `/usr/bin/google-chrome`.
# ENVIRONMENT: Environment of the AWS commands: sandbox, production, or another one of cdk.json; `make e2e` runs on this machine without it. Example: `production`.
# CDK_OPTIONS: Options for the CDK, such as settings of the environment. Example: `"-c alarm_email=on-call@example.com"`.
# CONFIRM: Number of the AWS account, in place of the question for it. Example: `123456789012`.
# COMMIT: Commit to upgrade from, such as the one that is deployed. Default: an earlier one with the example domain; a fork with another one skips it. Example: `v1.2.0`.
# JSON: 1 prints the findings of the preflight as JSON. Default: `0`. Example: `1`.

GOALS := $(or $(MAKECMDGOALS),help)
TAKEN := $(foreach goal,$(GOALS),$(TAKES_$(goal)))
GIVEN := $(strip $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name))))
OURS := PYTHON READY BIN SHELL UV_VERSION JSII_RUNTIME_PACKAGE_CACHE_ROOT
TAKERS := $(patsubst TAKES_%,%,$(filter TAKES_%,$(.VARIABLES)))
# The variables of goals in neither list are not checked.
ifeq (,$(filter-out $(TAKERS) $(TAKE_NONE),$(GOALS)))
UNKNOWN := $(filter-out $(TAKEN) $(OURS),$(GIVEN))
$(if $(UNKNOWN),$(error make $(GOALS) takes no $(UNKNOWN): $(if $(TAKEN),it takes $(TAKEN),it takes no variables)))
$(foreach name,$(GIVEN),$(if $(value $(name)),,$(error make $(GOALS): $(name) is empty: leave it out, or set it)))
endif

# Switches: 1 turns one on; 0 leaves it off, as does nothing. CI systems export names such as CHAOS
# and JSON for reasons of their own, so an exported value other than 1 leaves it off, too.
SWITCHES := KEEP CHAOS DEAD_LETTERS OPERATIONS ERASURES SOLUTION JSON
$(foreach name,$(filter $(SWITCHES),$(filter $(GIVEN),$(TAKEN))),$(if $(filter-out x0x x1x xx,x$(value $(name))x),$(error make $(GOALS): $(name)=$(value $(name)): write 1 to turn it on, or 0)))
on = $(if $(filter 1,$(value $(1))),$(2))

SWITCHED_OFF := $(foreach name,$(filter $(SWITCHES),$(TAKEN)),$(if $(filter-out x1x,x$(value $(name))x),$(filter-out $(GIVEN),$(name))))
$(foreach name,$(SWITCHED_OFF),$(if $(filter-out undefined,$(origin $(name))),$(eval override $(name) := 0)))

# Programs get values through the environment, as they were typed: make and the shell interpret no
# `$`, quote or backquote in them.
define as_typed
override $(1) := $$(value $(1))
export $(1)
endef
$(foreach name,$(sort PYTHON $(TAKEN)),$(if $(filter-out undefined,$(origin $(name))),$(eval $(call as_typed,$(name)))))

READY := .venv/.ready
# Parts of it that are outside of .venv: one that is gone, say after `rm -r build`, is installed again.
PARTS := node_modules/.package-lock.json .jgo build/dependencies
$(if $(filter-out $(wildcard $(PARTS)),$(PARTS)),$(eval .PHONY: $(READY)))

.PHONY: setup
setup: $(READY) ## Install everything: Python, Node, the CDK, jars of the local services, Lambda packages
	@echo "Ready. Next: make demo"

.venv/bin/uv:
	@command -v "$$PYTHON" >/dev/null || { echo "$$PYTHON is not installed: set a Python, as in make setup PYTHON=python3.12"; exit 1; }
	@"$$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$$PYTHON is older than 3.11: set a newer one, as in make setup PYTHON=python3.12"; exit 1; }
	"$$PYTHON" -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# The environment keeps the Python that it was built with, also if another PYTHON is given later.
.PHONY: .same-python
.same-python: export PATH := $(ON_MACHINE)
.same-python:
	@[ -e .venv/bin/python ] || exit 0; \
	command -v "$$PYTHON" >/dev/null \
	  || { echo "PYTHON=$$PYTHON is not installed: leave it out, or set another and run make clean first"; exit 1; }; \
	[ "$$("$$PYTHON" -V)" = "$$(.venv/bin/python -V)" ] \
	  || { echo "PYTHON=$$PYTHON is $$("$$PYTHON" -V), and .venv has $$(.venv/bin/python -V): run make clean first"; exit 1; }
$(if $(filter PYTHON,$(GIVEN)),$(if $(filter setup,$(GOALS)),$(eval $(READY): | .same-python)))

$(READY): .venv/bin/uv requirements-dev.txt lambdas/requirements.txt package-lock.json pyproject.toml stacks/packaging.py stacks/byte_code.py $(wildcard local/services/java/*/jgo.lock.toml)
	@echo "Installing (the first time takes a minute or two)"
	uv pip sync --quiet --require-hashes --python .venv/bin/python requirements-dev.txt
	uv pip install --quiet --no-deps --python .venv/bin/python --editable .
	npm ci --no-audit --no-fund --silent
	python -m local.services.java_dependencies
	python -m stacks.packaging
	@touch $@

.PHONY: demo
demo: $(READY) ## Deploy the app on this machine, write sample items, compare every sink (LIMIT=n DATA=file SEARCH_URL=url KEEP=1 SEED=n, CHAOS=1 or POISON=n)
	@exec python -m local.demo

# Examples and exercises need Python 3.11 only, without `make setup`.
.PHONY: examples example-1 example-2 example-3
examples: example-1 example-2 example-3 ## Run the three examples, a second each; needs Python only
example-1: ## Read a stream: its records, its view types, the order that it keeps
example-2: ## Count changes: the wrong way and the right way
example-3: ## Follow one order: failures, dead letters, lanes
example-1 example-2 example-3: .any-python
	@PYTHONPATH=src "$$PYTHON" -m dynamodb_streams_cdc.examples.$(subst -,_,$@)

.PHONY: exercise-1 exercise-2 exercise-3
exercise-1: ## Check your audit log (HINT=1 prints a hint)
exercise-2: ## Check your search index (HINT=1 prints a hint)
exercise-3: ## Check your projections of a log (HINT=1 prints a hint)
# A wrong answer (status 1) is a result: without it, make would print an error of its own below.
exercise-1 exercise-2 exercise-3: exercise-%: .any-python
	@PYTHONPATH=src "$$PYTHON" -m exercises.checks $* $${HINT:+--hint="$$HINT"} $(call on,SOLUTION,--solution) \
	  || [ $$? -eq 1 ]

.PHONY: .any-python
.any-python:
	@"$$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "This needs Python 3.11 or later: set one, as in make $(firstword $(MAKECMDGOALS)) PYTHON=python3.12"; exit 1; }

.PHONY: test
test: $(READY) ## Run the unit, handler and infrastructure tests, no servers (SCHEDULES=all as in CI)
	pytest tests --ignore tests/integration --ignore tests/browser --numprocesses auto --dist loadfile

.PHONY: fork-check
fork-check: $(READY) ## Make a fork with another domain in a temporary folder; run its lint, tests, templates and demo
	@exec python -m tools.fork.check

.PHONY: simulate
simulate: $(READY) ## Simulate the pipeline on thousands of schedules in virtual time (N=100000 DEAD_LETTERS=1 OPERATIONS=1 ERASURES=1), or print one (SEED=n)
	@exec python tools/simulate.py $(call on,DEAD_LETTERS,--dead-letters) $(call on,OPERATIONS,--operations) $(call on,ERASURES,--erasures) $${N:+--schedules="$$N"} $${SEED:+--seed="$$SEED"}

.PHONY: integration
integration: $(READY) ## Run the tests on local services: DynamoDB Local, OpenSearch, the AWS emulator
	pytest tests/integration --durations 15

# Files that people copy.
BEHIND := docs/how-to/behind-your-table

.PHONY: lint
lint: $(READY) ## Check style, types, and the lock files against pyproject.toml
	ruff check .
	ruff format --check .
	mypy
	mypy $(BEHIND)/handler.py
	python -m tools.phrases
	python tools/locks.py --check

.PHONY: lint-templates
lint-templates: $(READY) ## Check the template that people copy with cfn-lint; `make synth` checks the app's with cdk-nag and CloudFormation's rules
	@cfn-lint --ignore-checks W3002 -- $(BEHIND)/template.yaml  # W3002: needs `aws cloudformation package`

.PHONY: bench
bench: $(READY) ## Run the benchmarks against alternatives (BENCH="parse audit" RECORDS=file CHANGES=n REPEATS=n)
	@mkdir -p build
	@set -f; exec python -m benchmarks $${BENCH:-} --json build/bench.json \
	  $${RECORDS:+--records="$$RECORDS"} $${CHANGES:+--changes="$$CHANGES"} $${REPEATS:+--repeats="$$REPEATS"}

.PHONY: bench-check
bench-check: $(READY) ## Compare the cost of a change (requests, units, bytes, calls, memory) with benchmarks/expected.json
	python -m benchmarks.check

# Both are apart from package.json: few people need an editor or a browser.
EDITOR := playground/node_modules/.package-lock.json
CHROMIUM := tests/browser/node_modules/.package-lock.json
$(EDITOR) $(CHROMIUM): %/node_modules/.package-lock.json: $(READY) %/package-lock.json
	@npm ci --prefix $* --no-audit --no-fund --silent
	@touch $@

.PHONY: playground
playground: $(EDITOR) ## Build the pages and the playground, and serve them on loopback (PORT=8137)
	@exec python -m tools.site $${PORT:+"$$PORT"}

.PHONY: test-browser
test-browser: $(EDITOR) $(CHROMIUM) ## Try the playground in Chromium (BROWSER=path of one, or npm)
	pytest tests/browser

.PHONY: docs
docs: $(EDITOR) ## Check the code and output on the pages, and build the site in build/site
	python -m tools.docs --build

.PHONY: format
format: $(READY) ## Fix the style
	ruff check --fix .
	ruff format .

.PHONY: lock
lock: $(READY) ## Resolve the dependencies again within pyproject.toml's bounds
	python tools/locks.py

.PHONY: synth
synth: $(READY) ## Write the CloudFormation templates to cdk.out (ENVIRONMENT=sandbox, production or another)
	@exec python -m tools.account synth

.PHONY: preflight
preflight: $(READY) ## Check whether your AWS account can take a deploy; changes nothing (JSON=1)
	@exec python -m tools.account preflight $(call on,JSON,--json)

.PHONY: bootstrap
bootstrap: $(READY) ## Prepare an account's Region for the CDK, once, after you confirm it
	@exec python -m tools.account bootstrap

.PHONY: deploy
deploy: $(READY) ## Deploy to the AWS account of your credentials, after you confirm it
	@exec python -m tools.account deploy

.PHONY: destroy
destroy: $(READY) ## Remove an environment from the account, after you confirm it; lists the resources that stay
	@exec python -m tools.account destroy

.PHONY: e2e
e2e: export E2E_ENVIRONMENT := $(value E2E_ENVIRONMENT)
e2e: $(READY) ## Deploy, verify, poison, redrive, destroy: on this machine, or in an account (ENVIRONMENT=sandbox)
	@exec python -m tools.account.e2e

.PHONY: upgrade-rehearsal
upgrade-rehearsal: export REHEARSED_COMMIT := $(value REHEARSED_COMMIT)
upgrade-rehearsal: $(READY) ## Deploy an earlier commit on this machine, then this tree over it under traffic, and verify (COMMIT=id)
	@exec python -m tools.account.upgrade

.PHONY: clean
clean: ## Remove everything that was built or installed here
	rm -rf .venv node_modules playground/node_modules tests/browser/node_modules build cdk.out .jgo .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -name '*.egg-info' -type d -prune -exec rm -rf {} +

.PHONY: help
help: ## Show this
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  \033[1m%-18s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)
