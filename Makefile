# Every target makes .venv itself when it is missing, half-made or older than pyproject.toml or constraints.txt.
# `make PYTHON=/path/to/python ...` chooses the interpreter, `make test ARGS="-k name"` passes arguments on.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The first that runs, is 3.11 or newer and can make a virtual environment (Debian's may lack ensurepip).
PYTHON ?= $(shell for p in python3.11 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.stamp
ARGS ?=
SPHINX = $(PY) -m sphinx --fail-on-warning --keep-going --quiet -c docs

.PHONY: help install sweep reproduce test long clusters lint bench curves replay transfer campaign engines faults docs links pictures clean FORCE

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s  %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

install: $(STAMP)  ## make .venv and install finesweep into it, editable

sweep: $(STAMP)  ## run the quickstart sweep: python train.py -m $(ARGS)
	$(PY) train.py -m $(ARGS)

reproduce: sweep  ## make every trial of the quickstart sweep again, each in a fresh process: 90 seconds
	$(PY) tests/support/every_trial.py quickstart

test: $(STAMP)  ## run the tests on two cores: pytest $(ARGS); the slowest ten are printed at the end
	$(PY) -m pytest --numprocesses 2 --dist loadgroup --durations 10 -m "not cluster and not long" $(ARGS)

long: $(STAMP)  ## run the tests that take half a minute each: the README's commands, the notebook, the package, kills
	$(PY) -m pytest --numprocesses 2 --dist loadgroup --durations 10 -m long $(ARGS)

clusters: $(STAMP)  ## run the tests on real clusters (SLURM, Ray, hosts), started for them one after the other: minutes
	$(PY) -m pytest --durations 10 -m cluster $(ARGS)

lint: $(STAMP)  ## ruff check, ruff format --check and mypy, all even when the first fails
	@failed=0; $(PY) -m ruff check . || failed=1; $(PY) -m ruff format --check . || failed=1; $(PY) -m mypy || failed=1; exit $$failed

bench: $(STAMP)  ## measure beside baselines, in turn: hours; ARGS=--quick: less of it, ARGS=SECTION: one part
	$(PY) benchmarks/bench.py --json benchmarks/results.json $(ARGS)

curves: $(STAMP)  ## record learning curves for make replay: hours; ARGS="--glue DIR --model DIR", ARGS=demo without
	$(PY) benchmarks/curves/record.py $(ARGS)

replay: $(STAMP)  ## compare ways to search by replaying studies over recorded learning curves: minutes
	$(PY) benchmarks/curves/compare.py $(ARGS)

transfer: $(STAMP)  ## measure by replayed studies what starting from earlier studies gives: minutes
	$(PY) benchmarks/curves/transfer.py $(ARGS)

campaign: $(STAMP)  ## kill a sweep 48 times, and prove that nothing is lost: 20 minutes
	$(PY) tests/support/campaign.py $(ARGS)

engines: $(STAMP)  ## run 40 trials under joblib, SLURM, Ray and by hand, and compare what is left: minutes
	$(PY) tests/support/engines.py $(ARGS)

faults: $(STAMP)  ## cause each fault of tests/support/causes, and count what was lost, silent or wrong
	$(PY) tests/support/faults.py $(ARGS)

docs: $(STAMP)  ## build the pages into build/docs/index.html; a warning is an error
	$(SPHINX) -b html . build/docs
	@echo "build/docs/index.html"

links: docs  ## ask the servers of all addresses that the pages link to; needs a network
	$(SPHINX) -b linkcheck . build/links

pictures: $(STAMP)  ## draw the README's pictures again, from a quickstart sweep that runs for them: a minute
	$(PY) docs/pictures.py $(ARGS)

clean:  ## remove .venv, caches and build products; mlruns/ and outputs/ stay, they hold your studies
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build dist src/*.egg-info
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf __pycache__

# One environment for everything: the linters must see the installed libraries to type-check against them, and beside
# torch the few developer tools weigh nothing, so a second environment would only cost time.
#
# The stamp is written last and holds the checkout's path: an interrupted set-up leaves no stamp, and a copied or moved
# checkout (whose .venv still points at the old place) leaves a wrong one. Either way .venv is made anew.
#
# pip's output becomes a line now and then; its errors and warnings pass, but for the ones about each package that a
# second, local index does not hold.
ifneq ($(shell [ -x $(PY) ] && cat $(STAMP) 2>/dev/null),$(CURDIR))
$(STAMP): FORCE
endif

$(STAMP): pyproject.toml constraints.txt
	@start=$$SECONDS; \
	if [ "$$(cat $@ 2>/dev/null)" != "$(CURDIR)" ] || ! [ -x $(PY) ]; then \
		[ -n "$(PYTHON)" ] || { echo "set-up: no Python 3.11 or newer with venv and ensurepip found;" \
			"name one: make PYTHON=/path/to/python" >&2; exit 1; }; \
		echo "[set-up] making $(VENV) with $$($(PYTHON) --version)"; \
		$(PYTHON) -m venv --clear $(VENV); \
	fi; \
	rm -f $@; \
	echo "[set-up] installing finesweep and its dependencies (the first time: minutes)"; \
	$(PY) -u -m pip install --disable-pip-version-check --no-input --progress-bar off \
		-c constraints.txt -e '.[dev]' 2> >(grep -v --line-buffered '^WARNING: Location .* is ignored' >&2) \
		| awk '/^ *(Downloading|Using cached|Processing) / && ++n % 20 == 0 {print "[set-up] " n " packages fetched"; fflush()} \
			/^Installing collected/ && n {print "[set-up] unpacking " n " packages"; fflush()}'; \
	echo "$(CURDIR)" > $@; \
	echo "[set-up] done in $$((SECONDS - start)) s"
