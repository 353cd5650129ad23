# The commands of this repository; each does its own set-up. `make` alone lists them.

CARGO ?= cargo
# Cargo's flags for reproducible builds: what Cargo.lock says, or an error.
LOCKED := --locked
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help build demo test soak bench clean
.DEFAULT_GOAL := help

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## The release binary: target/release/pgwarden
	@scripts/setup build
	$(CARGO) build $(LOCKED) --release --bin pgwarden

demo: ## A throwaway PostgreSQL with sample data, the proxy in front, and a guided tour (Ctrl-C ends it)
	@scripts/setup build postgres
	@$(CARGO) build $(LOCKED) --bin pgwarden
	@$(TARGET)/debug/pgwarden demo

test: ## Format, lints, the demo's tour and all tests
	@scripts/test

SECONDS ?= 600

soak: ## Random sessions of several tenants, killed clients, for SECONDS (600): no byte of one tenant's reaches another
	@scripts/setup build postgres
	PGWARDEN_SOAK=$(SECONDS) $(CARGO) test $(LOCKED) --test it -- --nocapture canary:: soak::

bench: ## CPU per transaction beside HAProxy and PgBouncer; QUICK=1 takes under five minutes
	@scripts/setup build postgres bench
	@QUICK=$(QUICK) bench/run $(BENCH)

clean: ## Removes everything built
	$(CARGO) clean
