# make test    everything CI checks; installs the Debian packages that the tests need
# make quick   the same without the scenarios and their packages
# make scenario S=010    one scenario, with its output
# make bench   the micro-benchmarks (criterion)
# make fuzz    the fuzz targets, two minutes each

CARGO ?= cargo
SUDO := $(if $(filter 0,$(shell id -u)),,sudo -E)

.PHONY: test quick lint tools scenario bench fuzz

test: tools lint
	$(SUDO) env "PATH=$$PATH" $(CARGO) test --lib --bins --tests

quick: lint
	$(CARGO) test --lib --bins
	$(CARGO) test $(patsubst tests/%.rs,--test %,$(filter-out tests/scenarios.rs,$(wildcard tests/*.rs))) \
		$(patsubst tests/%/main.rs,--test %,$(wildcard tests/*/main.rs))

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings

tools:
	$(SUDO) scripts/install-test-tools

scenario:
	$(CARGO) build
	$(SUDO) bash scenarios/$(S)-*/run.sh

bench:
	$(CARGO) bench

fuzz:
	fuzz/run message 120
	fuzz/run framing 120
	fuzz/run stun 120
	fuzz/run turn 120
