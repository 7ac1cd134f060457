# Everything a contributor runs. Every target makes .venv in the checkout first and uses nothing else of Python's.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo unit pythons test check gen lock bench soak clients conformance cluster-tools cluster-test peers clean

BIN := .venv/bin
STAMP := .venv/.installed
# What tests run beside Python's own clients: an independent peer finds what a shared mistake hides.
TEST_PACKAGES := curl chromium dnsmasq-base bind9-dnsutils haproxy mosquitto mosquitto-clients nghttp2-client openssl postgresql prometheus redis-server sslscan
BROWSER_PACKAGES := chromium nodejs npm
BENCH_PACKAGES := wrk haproxy nginx nghttp2-client redis-server
LOCK := $(BIN)/uv pip compile --universal --generate-hashes --no-emit-index-url --python-version 3.11 --custom-compile-command "make lock" --quiet
# Passed on: make test ARGS="tests/unit -k routing", make bench ARGS="--rounds 2".
ARGS ?=

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv with the pinned packages and the weir command

$(STAMP): pyproject.toml requirements.lock tools/setup
	@tools/setup
	@touch $@

demo: $(STAMP) ## Run three example apps that sleep at zero; Ctrl-C ends it
	@$(BIN)/weir up deploy/examples/local/demo.yaml

unit: $(STAMP) ## Run the fast tests, those of tests/unit: half a minute on two cores
	@$(BIN)/python -m tests.unit $(ARGS)

pythons: $(STAMP) ## Run the fast tests on the other Pythons that Weir supports, as far as this machine has them
	@tools/pythons $(ARGS)

test: peers ## Run every test that this machine can run (the first time it builds a Kubernetes control plane: 10 to 20 minutes)
	@$(BIN)/python -m tests $(ARGS)

peers: $(STAMP)
	@tools/packages $(TEST_PACKAGES)

check: $(STAMP) ## Format, lint, types, imports, stubs, documents, protobuf rules
	@echo "check: format";    $(BIN)/ruff format --check .
	@echo "check: lint";      $(BIN)/ruff check .
	@echo "check: types";     $(BIN)/mypy
	@echo "check: imports";   $(BIN)/lint-imports --no-logo
	@echo "check: stubs";     tools/check-stubs
	@echo "check: documents"; $(BIN)/python tools/docs_tables.py --check
	@echo "check: CRDs";      $(BIN)/python tools/crds.py --check
	@echo "check: contracts"; tools/check-protos

gen: $(STAMP) ## Write the protobuf stubs, the CRDs and the tables of settings and fields in docs/ anew
	@tools/gen
	@$(BIN)/python tools/crds.py
	@$(BIN)/python tools/docs_tables.py

lock: $(STAMP) ## Resolve requirements.lock anew from pyproject.toml, and from it what the image installs
	@$(LOCK) --extra dev pyproject.toml -o requirements.lock
	@$(LOCK) --no-annotate -c requirements.lock pyproject.toml -o deploy/image/runtime.lock
	@echo setuptools | $(LOCK) --no-annotate -c requirements.lock - -o deploy/image/build.lock

bench: $(STAMP) ## Measure origin, HAProxy and Weir side by side (sixteen minutes)
	@tools/packages $(BENCH_PACKAGES)
	@tools/clients >/dev/null
	@$(BIN)/python -m tests.bench $(ARGS)

soak: $(STAMP) ## Everything at once for twenty minutes, and a look at what is left (--minutes N)
	@$(BIN)/python -m tests.soak $(ARGS)

clients: $(STAMP) ## Build grpcurl, ghz and h2spec into build/tools/bin (needs go)
	@tools/clients

conformance: $(STAMP) ## Run the suites of Connect and grpc-go, and browsers' clients, directly and through an interceptor (five minutes; needs go)
	@tools/packages $(BROWSER_PACKAGES)
	@tools/clients conformance
	@$(BIN)/python -m tests.conformance $(ARGS)

cluster-tools: $(STAMP) ## Build the control plane and KEDA into the user's cache, once (10 to 20 minutes; needs go)
	@$(BIN)/python -m tests.cluster.tools >/dev/null

cluster-test: peers ## Run only the tests on a real control plane with a real KEDA
	@$(BIN)/python -m tests.cluster $(ARGS)

clean: ## Remove what was built; .venv stays
	@rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
