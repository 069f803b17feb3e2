# Everything that is done with this project, on a Debian 12 machine with Python >= 3.11 and Go. What else it takes is
# installed by dev/bootstrap.sh, which every target runs first and which does nothing when nothing is missing.
SHELL := /bin/sh
.DEFAULT_GOAL := help

CLUSTER ?= berth
NODES ?= 2
OPERATOR ?= 1
AGENT ?= 1
SCHEDULER ?= 0
KUBELETS ?= 0
LIBVIRT ?= 1
# 1.36, the newest, where left out; or 1.32, the oldest that Berth supports.
KUBERNETES ?=
ACCELERATOR ?= tcg
BACKEND ?= auto
BENCH ?= boot
IMAGES ?=
TESTS ?= tests
# More than two cores' worth: the end-to-end tests mostly wait for guests to boot.
WORKERS ?= 3

BIN := .venv/bin
DEV := $(BIN)/python -m berth_dev

# The long run of the fault suite: SEEDS storms of COUNT faults each, from seed FAULTS_SEED on.
SEEDS ?= 10
COUNT ?= 20

.PHONY: help bootstrap up down status parts images demo hollow generate verify lint test test-unit test-long bench

help: ## Show this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12
	@echo 'Variables: CLUSTER=name NODES=2 OPERATOR=1 AGENT=1 SCHEDULER=0 KUBELETS=0 LIBVIRT=1 KUBERNETES=1.36|1.32 ACCELERATOR=tcg|kvm|auto BACKEND=auto|process|kind'
	@echo '           BENCH=boot TESTS=tests/unit'

bootstrap: ## Install what is missing, and make .venv
	@dev/bootstrap.sh

up: bootstrap ## Make a cluster (CLUSTER, NODES, OPERATOR, AGENT)
	@$(DEV) up --cluster $(CLUSTER) --nodes $(NODES) --operator $(OPERATOR) --agent $(AGENT) --scheduler $(SCHEDULER) \
	  --kubelets $(KUBELETS) --libvirt $(LIBVIRT) $(addprefix --kubernetes ,$(KUBERNETES)) --accelerator $(ACCELERATOR) --backend $(BACKEND)

down: bootstrap ## Leave nothing of the cluster behind
	@$(DEV) down --cluster $(CLUSTER)

status: bootstrap ## Show what runs and where its logs are (CLUSTER; left out: all)
	@$(DEV) status $(if $(filter file,$(origin CLUSTER)),,--cluster $(CLUSTER))

images: bootstrap ## Build the images of guests and of Berth (IMAGES=guests operator agent libvirt pause)
	@$(DEV) images $(IMAGES)

demo: bootstrap ## From nothing to three guests that answer
	@$(DEV) demo

hollow: NODES := 1000
hollow: bootstrap ## Play simulated nodes in a cluster until Ctrl-C (CLUSTER, NODES=1000, HOLLOW=--keep …)
	@$(DEV) hollow --cluster $(CLUSTER) --nodes $(NODES) $(HOLLOW)

generate: bootstrap ## Write crds/*.yaml from the models, and what follows from them and the chart
	@$(BIN)/python -m berth_api.generate
	@$(BIN)/python -m berth_dev.charts

verify: bootstrap ## Fail if what `make generate` writes is not up to date
	@$(BIN)/python -m berth_api.generate --check
	@$(BIN)/python -m berth_dev.charts --check

lint: bootstrap ## Style, types and the law of layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

parts: bootstrap ## Build what clusters and tests take, once: a test has minutes, a cold build takes longer
	@$(DEV) build

test: lint verify parts ## Every test; a test that is skipped is a test that fails
	$(BIN)/pytest -p no:cacheprovider -p berth_dev.noskips -n $(WORKERS) --no-loadscope-reorder $(TESTS)

test-unit: bootstrap ## The tests that need nothing but Python
	$(BIN)/pytest tests/unit

test-long: bootstrap ## At least 200 faults on real parts; writes tests/e2e/faults/RESULT.md (SEEDS, COUNT, FAULTS_SEED)
	FAULTS_SEEDS=$(SEEDS) FAULTS_COUNT=$(COUNT) FAULTS_RESULT=tests/e2e/faults/RESULT.md \
	  $(BIN)/pytest -p no:cacheprovider -p berth_dev.noskips -s tests/e2e/faults/test_storms.py

bench: bootstrap ## Run one benchmark (BENCH), its peers in the same run
	@$(BIN)/python -m benchmarks.$(BENCH)
