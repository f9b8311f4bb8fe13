# make run     install what is missing, build, and serve on 127.0.0.1:8080
# make test    install what is missing, build, and run all tests; TESTS='--test layers' runs that alone
# make one     one test after a change: NAME='contract::full' of tests/it, IN='layers' of another file
# make build   install what is missing, and build target/release/mayfly with target/jail beside it
# make setup   only install what is missing: Debian packages (as root or with sudo) and nothing else
# make bench   measure Mayfly and what it is compared with, side by side
# make test-containers  build the image and try it in each way it is run: with Docker, with gVisor, hardened; as root
# make matrix  play every attack in every place, and write what came of it to docs/measured/matrix.md: needs root and nsjail
# make mutants switch each layer and each rule off in turn, and see that a test notices
# make soak    mixed load while processes are killed at random: SOAK='…' is passed on
#              (SOAK='--hostile --minutes 30': good clients beside seven that attack)
# make gate    everything that .ci/run checks
# make clean   remove what was built
#
# MAYFLY_PYTHON=/path/to/python3 chooses the CPython to embed (3.11 to 3.14); without it tools/python.sh does.
# ARGS='--listen 127.0.0.1:9000' is passed on by `make run`, BENCH='…' by `make bench`,
# CONTAINERS='--variant datasci' by `make test-containers`.

SHELL := /bin/bash
TARGET := $(or $(CARGO_TARGET_DIR),target)

# Where rustup and `cargo install` put their programs, whether or not this shell has read the profile.
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

# Before every use of cargo: the one Python, so that the binary and the jail belong together.
WITH_PYTHON = environment="$$(tools/python_env.sh)" && eval "$$environment" &&

.DEFAULT_GOAL := help
.PHONY: help setup jail build run test one test-containers matrix mutants soak bench gate clean

help:
	@sed -n 's/^# make/make/p' Makefile

setup:
	@tools/setup.sh $(or $(PURPOSE),build)

jail: setup
	@$(WITH_PYTHON) "$$PYO3_PYTHON" tools/jail_root.py "$(TARGET)/jail"

# The jail root is made meanwhile: it takes half a minute the first time, most of it waiting for packages.
build: setup
	@echo "building target/release/mayfly and target/jail: a few minutes the first time"
	@$(WITH_PYTHON) { "$$PYO3_PYTHON" tools/jail_root.py "$(TARGET)/jail" & jail=$$!; \
		cargo build --release --locked; built=$$?; wait $$jail && [ $$built = 0 ]; }

run: build
	@exec "$(TARGET)/release/mayfly" serve $(ARGS)

test: PURPOSE := test
test: jail
	@$(if $(TESTS),,rm -rf -- "$(TARGET)/tmp/attacks")
	@$(WITH_PYTHON) "$$PYO3_PYTHON" tools/test.py $(TESTS)

# Nothing is installed and no jail root made: for that, `make jail` once.
one:
	@$(WITH_PYTHON) cargo test --locked --test $(or $(IN),it) -- $(NAME)

test-containers: setup
	@tests/container/run.py $(CONTAINERS)

matrix: jail
	@rm -rf -- "$(TARGET)/tmp/attacks"
	@$(WITH_PYTHON) cargo test --locked --test it -- attacks::
	@$(WITH_PYTHON) cargo test --locked --test it -- exchanges::
	@$(WITH_PYTHON) "$$PYO3_PYTHON" tools/matrix.py

mutants: jail
	@$(WITH_PYTHON) tools/mutants_filter.sh && "$$PYO3_PYTHON" tools/mutants.py

soak: build
	@$(WITH_PYTHON) tools/soak.py "$(TARGET)/release/mayfly" $(SOAK)

bench: build
	@$(WITH_PYTHON) bench/run $(BENCH)

gate:
	@.ci/run

clean:
	rm -rf -- "$(TARGET)"
