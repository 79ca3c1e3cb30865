# Everything a person types. Each target makes what it needs first; nothing but Python 3.11+ and make must be there.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	if command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	command -v $$p; break; fi; done)
VENV := .venv
BIN := $(VENV)/bin
# The environment is made once for each content of the files that say what is installed.
STAMP := $(VENV)/.stamp-$(shell cat pyproject.toml localcluster/pyproject.toml locks/*.txt | cksum | cut -d' ' -f1)
# Downloads are retried: a fresh machine's first minute should not fail on one lost connection.
PIP := $(BIN)/python -m pip --disable-pip-version-check --retries 5 --timeout 60

PROTO := $(wildcard replica_image/rstore_api/proto/*.proto)
CRDS := $(wildcard crds/*.yaml)
CHART_FILES := charts/replicated-store-operator/files
PACKAGES := rstore_wire rstore_api rstore_backup rstore_replica rstore_kube rstore_operator rstore_cli rstore_testkit localkube
# Which seeds are simulated, and what.
SEEDS ?= 0-99
SCOPE ?= region
# How long `make fuzz` goes on, for all targets together.
FUZZ_SECONDS ?= 30
# How many random steps `make steps` does, and the seed that they are drawn from.
STEPS ?= 200000
SEED ?= 1
# What pytest is given besides: make test ARGS='-k switchover'
ARGS ?=
# Where `make e2e` runs: embedded, or existing (the cluster of KUBECONFIG; its nodes pull IMAGE_PREFIX/replicated-store-…)
CLUSTER ?= embedded
# Registry and path put before both image names: make images IMAGE_PREFIX=registry.example.com/team
IMAGE_PREFIX ?=
# Processes that `make test` and `make unit` spread the tests over: two of them mostly wait, for clusters of their own.
WORKERS ?= 3
SPREAD := -n $(WORKERS)

.PHONY: help setup demo test unit e2e localcluster sim etcd steps fuzz images check lock generate bench clean

help: ## this list
	@echo "make targets:"
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /|/' \
		| while IFS='|' read -r name text; do printf '  %-12s %s\n' "$$name" "$$text"; done

setup: $(STAMP) ## make .venv with everything the other targets need

$(STAMP):
	@if [ -z "$(PYTHON)" ]; then \
		echo "error: no Python 3.11 or newer found. Install one, or name it: make PYTHON=/path/to/python3 setup" >&2; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: $(PYTHON) is $$($(PYTHON) -V 2>&1); Python 3.11 or newer is needed: make PYTHON=/path/to/python3 setup" >&2; exit 1; }
	@if [ ! -x $(BIN)/python ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		echo "setup: making $(VENV) with $$($(PYTHON) -V) (once; a few minutes at most)"; \
		rm -rf $(VENV); \
		$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
			echo "error: $(PYTHON) cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }; \
	fi
	@printf 'setup: installing what pyproject.toml names '
	@sed -nE 's/^([a-z0-9._-]+==[^ ]+).*/\1/p' locks/*.txt | sort -u >$(VENV)/locked.txt
	@set -o pipefail; $(PIP) install --constraint $(VENV)/locked.txt --editable ./localcluster --editable '.[dev]' 2>&1 </dev/null | tee $(VENV)/setup.log \
		| while IFS= read -r line; do case "$$line" in Collecting*) printf .;; Installing*) printf ' installing';; esac; done \
		|| { echo; tail -n 30 $(VENV)/setup.log >&2; \
			echo "error: pip could not install what pyproject.toml names; the whole log is $(VENV)/setup.log" >&2; exit 1; }
	@rm -f $(VENV)/.stamp-*; touch $@; echo; echo "setup: done"

demo: setup ## a three-region store on a local cluster of plain processes: writes, switchover, failover, comparison
	@$(BIN)/python -m rstore_testkit.demo

test: setup ## every test that needs no root: unit, chart, images, embedded cluster, end to end
	@$(BIN)/python -m pytest $(SPREAD) $(ARGS)

unit: setup ## the fast tests only
	@$(BIN)/python -m pytest $(SPREAD) tests/unit $(ARGS)

e2e: setup ## end to end on the embedded cluster; with CLUSTER=existing on the one that KUBECONFIG names
	@RSTORE_E2E_CLUSTER='$(CLUSTER)' RSTORE_IMAGE_PREFIX='$(IMAGE_PREFIX)' $(BIN)/python -m pytest tests/e2e $(ARGS)

localcluster: setup ## the local cluster's own tests, among them what a real API server answered
	@$(BIN)/python -m pytest $(SPREAD) localcluster/tests $(ARGS)

sim: setup ## simulated histories: make sim SEEDS=1000-1999 [SCOPE=region|regions|archive]
	@PYTHONPATH=tests $(BIN)/python -W ignore::RuntimeWarning -m sim.main $(SEEDS) --scope $(SCOPE) $(ARGS)

images: setup ## both images without a container engine: root file trees and OCI archives in build/images
	@PYTHONPATH=scripts/images $(BIN)/python -m image_build --prefix '$(IMAGE_PREFIX)'

check: setup ## lint, format, types, import rules, generated files up to date, the CRD as an API server judges it
	@echo "check: ruff";       $(BIN)/ruff check --quiet
	@echo "check: format";     $(BIN)/ruff format --check --quiet
	@echo "check: mypy";       $(BIN)/mypy $(addprefix -p ,$(PACKAGES) sim)
	@echo "check: imports";    $(BIN)/lint-imports --no-cache >$(VENV)/lint-imports.log 2>&1 || { cat $(VENV)/lint-imports.log; exit 1; }
	@echo "check: generated";  $(BIN)/python -m pytest -q --no-header tests/unit/project/test_generated_files.py >$(VENV)/generated.log 2>&1 \
		|| { cat $(VENV)/generated.log; echo "error: run make generate and commit the result" >&2; exit 1; }
	@echo "check: crd";        for crd in $(CRDS); do $(BIN)/python -m localkube.apiserver.review "$$crd"; done
	@echo "check: ok"

lock: setup ## locks: the exact versions that the images install, with hashes; ARGS=--upgrade for newer ones
	@$(PIP) install --quiet uv
	@PYTHONPATH=scripts/images $(BIN)/python -m image_build.lock $(ARGS)

generate: setup ## protobuf code, the chart's copies of the CRDs and docs/reference.md, from their sources
	@cd replica_image && ../$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --grpc_python_out=. --pyi_out=. \
		$(patsubst replica_image/%,%,$(PROTO))
	@cp $(CRDS) $(CHART_FILES)
	@$(BIN)/python scripts/reference/crd_reference.py
	@echo "generate: $(words $(PROTO)) protocols, $(words $(CRDS)) CRDs"

etcd: ## Debian's etcd in build/etcd, newer than that of pip: tests/etcd then compare with it; SUITE=sid for the newest
	@scripts/debian_etcd.sh

steps: setup ## random steps on an etcd and a store, the same answers: make steps [STEPS=200000] [SEED=1]
	@PYTHONPATH=tests $(BIN)/python -m etcd.random_steps --steps $(STEPS) --seed $(SEED)

fuzz: setup ## coverage-guided fuzzing of what reads bytes of others: make fuzz [FUZZ_SECONDS=3600] [ARGS=server-frames]
	@$(BIN)/python -c 'import atheris' 2>/dev/null || $(PIP) install --quiet --editable '.[fuzz]'
	@cd tests && ../$(BIN)/python -m fuzz.main --seconds $(FUZZ_SECONDS) $(ARGS)

bench: setup ## list and run the benchmarks there are
	@$(BIN)/python scripts/bench.py $(ARGS)

clean: ## remove .venv and everything that was built
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .grimp_cache
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
