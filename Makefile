# The way in. `make` alone prints what there is; every target can be run again at any time.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PROFILE ?= fast
APPLIANCE ?= examples/edge-gateway
T ?=
OUT = target/x86_64-unknown-linux-gnu/$(PROFILE)
NODE = berth-init berth-supervise berth-check berth-log berth-session berth-modules berth-netd

# images need what build makes; cargo uses all processors by itself.
.NOTPARALLEL:
.PHONY: help setup build images run test vm lint ci bench soak fuzz dist clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what is missing (Debian packages, kernel, loader); quick when nothing is
	@scripts/setup.sh

build: setup ## Build ./bin/berth and the node's programs in ./bin/node
	@mkdir -p bin/node
	@cargo build --profile $(PROFILE) -p berth-init -p berth-netd -p berth-probe
	@cargo build --profile $(PROFILE) -p berth-ctl --no-default-features
	@install -C -t bin/node $(addprefix $(OUT)/,$(NODE)) $(OUT)/berth
	@cargo build --profile $(PROFILE) -p berth-ctl
	@install -C -t bin $(OUT)/berth
	@printf 'build   '; cd bin/node && for p in *; do printf ' %s %s' "$$p" "$$(numfmt --to=iec $$(stat -c %s $$p))"; done; echo

images: ## Make the example images from Debian packages, and the probe's
	@scripts/example-images.sh
	@scripts/probe-image.sh $(OUT)/berth-probe

run: build images ## Boot the example appliance (APPLIANCE=...) in this terminal
	@./bin/berth run $(APPLIANCE)

test: build images ## Everything: tests of the crates, then the scenarios in QEMU
	@scripts/test.sh

vm: build images ## One scenario: make vm T=name; without T the list of them
	@cargo run -q -p berth-qemu-tests -- $(or $(T),--list)

lint: ## Formatting, clippy, shellcheck, licences and duplicates
	@scripts/setup.sh lints
	cargo fmt --all --check
	cargo clippy -q --workspace --all-targets -- -D warnings
	shellcheck scripts/*.sh .ci/run
	PATH=target/tools/bin:$$PATH cargo deny -L error check licenses bans sources

ci: setup lint test ## What .ci/run does

bench: build images ## Boot time, sizes and memory, with the peers' figures beside them
	@cargo run -q --profile $(PROFILE) -p berth-qemu-tests -- --bench $(T)

soak: build images ## The long variants of the scenarios
	@cargo run -q -p berth-qemu-tests -- --soak $(T)

fuzz: setup ## Bytes at readers under libFuzzer: make fuzz [T=units] [SECONDS=300] for each
	@scripts/fuzz.sh $(or $(SECONDS),300) $(T)

dist: ## Build as it ships
	@$(MAKE) --no-print-directory build PROFILE=dist

clean: ## Remove everything that was built; kernel and loader stay
	rm -rf target
	rm -rf bin/berth bin/node qemu-tests/artefacts examples/*/images/*.tar examples/*/out
