# `make` lists what can be made. A fresh machine needs Python 3.11 or newer and make, nothing else.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
# uv stands beside the environment and not in it, so that syncing to a lock does not remove it.
UV_VERSION := 0.13.9
UV := .venv/uv/bin/uv
export UV_PYTHON := $(BIN)/python
# On a terminal uv draws a bar for each download; elsewhere it would list every package.
QUIET := $(shell test -t 2 || echo --quiet)

# The demo needs no torch; where the developers' environment is already there, it has all that the demo needs, and its
# small model needs that one.
ENVIRONMENT := $(if $(or $(wildcard .venv/dev.stamp),$(filter diffusion,$(BACKEND))),.venv/dev.stamp,.venv/local.stamp)

.PHONY: help demo test lint lock promises mutants faults

help: ## List what can be made
	@sed -nE 's/^([a-z%-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: $(ENVIRONMENT) ## Run a campaign from its file to published pictures, leave the page open (ONCE=1: decide all, exit; BACKEND=diffusion: a small model)
	@$(BIN)/calotype demo $(if $(ONCE),--once) $(if $(BACKEND),--backend $(BACKEND))

test: .venv/dev.stamp ## Run every test: the fast ones, lint, then those on real servers
	@$(BIN)/python -m tests.run

lint: .venv/dev.stamp ## Check style, types, imports between rooms, migrations
	@$(BIN)/python -m tests.run lint

mutants: .venv/dev.stamp ## Lay each known defect into the product; the fault harness, or a test named for it, has to catch every one
	@$(BIN)/python -m tests.faults.mutants --out out/mutants

promises: .venv/dev.stamp ## Say which promises of docs/promises.md nothing shows
	@$(BIN)/python -m tests.promises

faults: .venv/dev.stamp ## Break everything while requests run (SEED=1 REQUESTS=2000 FAULTS=200 ARGS=…), last line JSON
	@$(BIN)/python -m tests.faults --seed $(or $(SEED),1) --requests $(or $(REQUESTS),2000) --faults $(or $(FAULTS),200) $(ARGS)

bench-%: .venv/dev.stamp ## Run one benchmark: backlog, bus, derivatives, engine, outages, pipeline, priority, proof
	@$(BIN)/python -m benchmarks.$*

COMPILE := $(UV) pip compile --universal --generate-hashes --python-version 3.11 --quiet --no-header
KAFKA := org.apache.kafka:kafka_2.13:4.3.1 org.apache.logging.log4j:log4j-slf4j-impl:2.25.4!
S3PROXY := org.gaul:s3proxy:4.1.0:jar-with-dependencies

lock: .venv/dev.stamp ## Pin what pyproject.toml asks for, Kafka's archives and the tests' object store
	$(COMPILE) --group dev --output-file deploy/locks/dev.txt
	$(COMPILE) --group local --constraints deploy/locks/dev.txt --output-file deploy/locks/local.txt
	$(BIN)/python -m deploy.local.jars $(KAFKA) > deploy/locks/kafka.jars.new
	mv deploy/locks/kafka.jars.new deploy/locks/kafka.jars
	$(BIN)/python -m deploy.local.jars --alone $(S3PROXY) > deploy/locks/s3proxy.jars.new
	mv deploy/locks/s3proxy.jars.new deploy/locks/s3proxy.jars

# Quick when warm: a lock that has not changed since is not looked at again.
.venv/%.stamp: deploy/locks/%.txt pyproject.toml | $(UV)
	@echo "Installing what deploy/locks/$*.txt pins"
	@if [ -t 2 ]; then quiet=; else quiet=--quiet; fi; $(UV) pip sync $$quiet --compile-bytecode $<
	@$(UV) pip install --quiet --no-deps --editable .
	@touch $@

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Calotype needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1 || echo missing)." \
	    "Name another with: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make virtual environments: install its venv module (Debian: apt-get install python3-venv)." >&2; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --target .venv/uv uv==$(UV_VERSION)
