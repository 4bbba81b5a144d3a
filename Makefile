# The one door to this repository: everything that builds, checks, tests or shows it runs from here. `make help` lists it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:

# Where cargo puts what it builds, and where the test tools live. Both may be set from outside, to share them between clones.
TARGET := $(or $(CARGO_TARGET_DIR),target)
TOOLS ?= .tools

# One form for every cargo command: another selection of packages or features would build the dependencies a second time.
SELECT := --workspace --all-targets --features kms-client/test-server

# Extra arguments for pytest, such as `make integration ARGS='-k tamper'`, and for `make demo` and `make bench`.
ARGS ?=
WORKERS ?= 3

.PHONY: help
help: ## List what can be done here
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-17s %s\n", $$1, $$2 }'

.PHONY: demo
demo: native ## See it run: S3 endpoint, storage and keys in one process (ARGS='--listen 127.0.0.1:9100')
	@if [[ -x $(TARGET)/release/s3cloak ]]; then
		cargo build --release --package proxy --bin s3cloak
		exec $(TARGET)/release/s3cloak demo $(ARGS)
	else
		echo 'Building (the first time takes some minutes) ...'
		cargo build --package proxy --bin s3cloak
		exec $(TARGET)/debug/s3cloak demo $(ARGS)
	fi

.PHONY: build
build: native ## Build everything for development and tests
	cargo build $(SELECT)

.PHONY: release
release: native ## Build the optimised binary
	cargo build --release --package proxy --bin s3cloak

.PHONY: check
check: native ## Format, lints and house rules, without running tests
	cargo fmt --all --check
	cargo clippy $(SELECT) -- -D warnings
	python3 integration/house_rules.py

.PHONY: fmt
fmt: ## Format all Rust code
	cargo fmt --all

.PHONY: unit
unit: native ## Rust tests, documentation tests included
	cargo test $(SELECT)
	cargo test --workspace --doc --features kms-client/test-server

.PHONY: integration
integration: build tools ## The real binary, real clients, real storage servers (ARGS='-k tamper')
	@export S3CLOAK_BIN="$${S3CLOAK_BIN:-$(abspath $(TARGET))/debug/s3cloak}"
	export KES_TESTD_BIN="$${KES_TESTD_BIN:-$(abspath $(TARGET))/debug/kes-testd}"
	export S3CLOAK_TOOLS="$(abspath $(TOOLS))"
	"$(TOOLS)/venv/bin/python" -m pytest integration -n $(WORKERS) $(ARGS)

.PHONY: test
test: check unit integration ## Everything that has to pass before a change lands

.PHONY: test-conformance
test-conformance: build tools ## Another project's S3 suite, straight and through the proxy, compared
	@export S3CLOAK_BIN="$${S3CLOAK_BIN:-$(abspath $(TARGET))/debug/s3cloak}" S3CLOAK_TOOLS="$(abspath $(TOOLS))"
	cd integration && "$(abspath $(TOOLS))/venv/bin/python" conformance.py

.PHONY: bench
bench: native ## Measure against direct access, nginx and a bare pass-through; prints one table
	integration/tools/packages.sh nginx=nginx-light
	cargo build --release --package proxy --package bench
	PATH="$(abspath $(TOOLS))/venv/bin:$$PATH" S3CLOAK_BIN="$(abspath $(TARGET))/release/s3cloak" "$(TARGET)/release/bench" $(ARGS)

.PHONY: deny
deny: ## Licences, advisories and sources of dependencies (needs cargo-deny)
	cargo deny check

.PHONY: tools
tools: ## Install the test tools at their pinned versions
	@integration/tools/packages.sh curl=curl restic=restic /usr/bin/aws=awscli buildah=buildah systemd-analyze=systemd s3fs=s3fs docker-registry=docker-registry
	integration/tools/install.sh "$(TOOLS)"

.PHONY: native
native:
	@integration/tools/packages.sh cc=gcc cmake=cmake
