# Everything a person types. Needed beforehand: make, and Python 3.11 or newer with its venv module.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The first of these that is new enough; `make PYTHON=…` overrides it.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

.DEFAULT_GOAL := help
.PHONY: help install up test test-long fuzz lint format mutants bench screenshots replay soak audit sbom lock clean histories docs

help:  ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
# uv takes a quarter of pip's time, but does not read pip's settings: an index and a file of certificates that these name
# are passed on. As with pip, a variable counts for more than pip's files; uv's own counts for most. pip takes over where
# uv can not, as behind a proxy that only pip knows of.
pip_says = $$($(BIN)/python -m pip config list | sed -n "s/^[^=]*\.$(1)='\(.*\)'$$/\1/p" | sed 's/\\n/ /g' | tail -1)
uv_env = UV_HTTP_RETRIES=1 UV_INDEX_STRATEGY=unsafe-best-match \
	UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$${UV_INDEX_URL:-$${PIP_INDEX_URL:-$(call pip_says,index-url)}}}" \
	UV_INDEX="$${UV_INDEX:-$${UV_EXTRA_INDEX_URL:-$${PIP_EXTRA_INDEX_URL:-$(call pip_says,extra-index-url)}}}" \
	UV_INSECURE_HOST="$${UV_INSECURE_HOST:-$${PIP_TRUSTED_HOST:-$(call pip_says,trusted-host)}}" \
	SSL_CERT_FILE="$${SSL_CERT_FILE:-$${PIP_CERT:-$(call pip_says,cert)}}"
quick_install = awk '/^[^ \#]/ {wanted = /^uv==/} wanted' requirements.lock | $(PIP) --require-hashes -r /dev/stdin \
	&& $(uv_env) $(BIN)/uv pip install --python $(BIN)/python --quiet --compile-bytecode --require-hashes -r requirements.lock

install: $(STAMP)  ## Build .venv from requirements.lock; does nothing when it is up to date

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed (make PYTHON=/path/to/python3)." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) can not make a virtual environment: install its venv module (Debian: apt install python3-venv)." >&2; \
		exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) …"
	@$(call quick_install) || $(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

up: install  ## Run everything on this machine; Ctrl-C drains and stops
	@exec $(BIN)/antrean up

# Tests wait more than they compute: with two lanes, two cores stood idle for two fifths of the time.
LANES = -n 3 --dist worksteal

test: lint  ## All checks: lint, then every test
	@$(BIN)/python -m pytest $(LANES)

test-long: install  ## The tests that take minutes: partitioned primary, Valkey that stands still, capacity in steps, backup and restore
	@$(BIN)/python -m pytest -m long

fuzz: install  ## The long versions of generated requests, bodies and PDFs (some minutes)
	@ANTREAN_TEST_API_EXAMPLES=25 ANTREAN_TEST_FUZZ_CASES=6000 $(BIN)/python -m pytest -s tests/test_schemathesis.py tests/test_hard_inputs.py

lint: install  ## ruff, mypy, import-linter; changes nothing
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: install  ## Let ruff put the code in shape
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

mutants: install  ## Break the product on purpose, place by place, and see that the tests notice
	@$(BIN)/python tests/mutants/run.py

bench: install  ## Measure; prints a table
	@$(BIN)/python -m benchmarks

replay: install  ## September 2024 in five minutes, beside two other ways; REPLAY_SECONDS, REPLAY_ORDERS, REPLAY_SEED
	@$(BIN)/python -m benchmarks.replay

audit: install  ## Ask for known vulnerabilities of what the lock names; needs a service outside
	@$(BIN)/pip-audit --progress-spinner off --strict --disable-pip --require-hashes -r requirements.lock || { \
		echo "NOT CLEAN: a package has a known vulnerability, or the service that knows could not be asked." >&2; exit 1; }

sbom: install  ## Write dist/sbom.json: all that a running Antrean is made of (CycloneDX)
	@mkdir -p dist
	@$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible -o dist/sbom.json deploy/requirements.lock
	@echo dist/sbom.json

screenshots: install  ## Take the pictures in docs/pictures from a running product
	@cd tests && ../$(BIN)/python -m browser.pictures

soak: install  ## An hour of load and random faults, with memory, files and keys watched; SOAK_SECONDS, SOAK_SEED
	@$(BIN)/python -m benchmarks.soak

histories: install  ## Many random histories of orders on virtual time; ANTREAN_TEST_HISTORIES
	@ANTREAN_TEST_HISTORIES=$${ANTREAN_TEST_HISTORIES:-20000} $(BIN)/python -m pytest $(LANES) tests/test_simulation.py

docs: install  ## The site, in build/site
	@$(BIN)/python tests/state_pictures.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

lock: install  ## Resolve anew what pyproject.toml asks for
	@{ echo "# Made by \`make lock\` from pyproject.toml; change that and run it again."; \
	   $(BIN)/uv pip compile --quiet --upgrade --universal --extra dev --generate-hashes \
	     --no-header --no-emit-index-url --no-emit-find-links pyproject.toml; } > requirements.lock.new
	@mv requirements.lock.new requirements.lock
	@{ echo "# Made by \`make lock\`: what runs, without what tests; the versions of ../requirements.lock."; \
	   $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url \
	     --no-emit-find-links -c requirements.lock pyproject.toml; } > deploy/requirements.lock
	@for peers in requirements requirements-arq; do { \
	   echo "# Made by \`make lock\` from $$peers.in; change that and run it again."; \
	   $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	     --no-emit-find-links benchmarks/peers/$$peers.in; } > benchmarks/peers/$$peers.lock || exit 1; done

clean:  ## Remove .venv and the caches; never the data folder
	@rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
