# Two commands matter: `make demo` shows it, `make test` proves it. `make help` lists the rest.

# What is kept between runs and clones: build results, the test clients, cargo-deny. Never inside the clone.
export SAGO_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sago
export CARGO_TARGET_DIR ?= $(SAGO_CACHE)/target
# RocksDB takes ten minutes of two cores; ccache keeps its objects (in its own default folder).
ifeq ($(origin CC),default)
export CC = ccache cc
endif
ifeq ($(origin CXX),default)
export CXX = ccache c++
endif
export PATH := $(SAGO_CACHE)/bin:$(PATH)

CARGO ?= cargo

.PHONY: help setup demo test bench battery ci

help: ## This list
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: ## Install what is missing (Debian packages, the Python clients of the tests)
	@sh tools/setup.sh --for test

demo: ## Three nodes, S3 and a mount on this machine; store a real book, kill a node, read it again
	@sh tools/setup.sh --for demo
	$(CARGO) build --release --locked --package sago
	@sh tools/demo.sh "$(CARGO_TARGET_DIR)/release/sago"

# Everything is built first and once, so that the tests which start real processes find the binary of the same build.
test: ## Every test, real processes, clients and faults included
	@sh tools/setup.sh --for test
	$(CARGO) build --workspace --all-targets --locked
	SAGO_BIN="$(CARGO_TARGET_DIR)/debug/sago" $(CARGO) test --workspace --locked

bench: ## Measure a fresh cluster, all replicas on this machine, and print the table of docs/BENCHMARKS.md
	@sh tools/setup.sh --for demo
	$(CARGO) build --release --locked --package sago --package loadgen
	@sh tools/bench.sh "$(CARGO_TARGET_DIR)/release"

battery: ## The fault tests at full length, on a release build
	@sh tools/setup.sh --for test
	$(CARGO) build --release --locked --package sago
	SAGO_BATTERY=1 SAGO_BIN="$(CARGO_TARGET_DIR)/release/sago" $(CARGO) test --release --locked --package cluster -- --nocapture --test-threads 1

ci: ## The whole gate of a commit: format, lints, docs, layers, tidy, tests, licences
	@sh tools/setup.sh --for test --with-deny
	$(CARGO) build --workspace --all-targets --locked
	SAGO_BIN="$(CARGO_TARGET_DIR)/debug/sago" $(CARGO) run --quiet --locked --package xtask -- ci
