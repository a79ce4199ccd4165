# Needs Python 3.11 or newer (with venv) and make; everything else is installed into .venv from
# the hash-pinned lock files. Linux and macOS.

# The first of these that runs: a version manager's shim is found, and may not run.
PYTHON ?= $(shell for each in python3.13 python3.12 python3.11 python3; do \
	"$$each" -c "" > /dev/null 2>&1 && command -v "$$each" && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
# The frameworks to compare with are none of .venv's.
BENCH_VENV := .cache/bench-venv

# The recordings of a real cluster lie beside some checkouts; tests that need them skip elsewhere.
ifneq ($(wildcard ../shared/reference/dsql-golden),)
export DSQL_GOLDEN_DIR ?= $(abspath ../shared/reference/dsql-golden)
endif

.DEFAULT_GOAL := help
.PHONY: help install run test test-slow check format bench fuzz rehearse deploy destroy lock manifest sbom clean django-suite apps contract

help: ## Explain every target
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

$(READY): requirements/dev.txt
	@test -n "$(PYTHON)" || { echo "No Python runs here: install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.13" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit("Python %d.%d is too old: install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.13" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@echo "Installing the pinned packages of requirements/dev.txt into $(VENV) (about 150 MB from the Python package index, once) ..."
	@"$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $(READY)

install: $(READY) ## Create .venv and install the locked packages

run: $(READY) ## Serve both Regions on this machine: http://127.0.0.1:8000 and :8001 (Ctrl-C stops)
	@$(BIN)/python manage.py run

test: $(READY) ## Run the tests of every change, in random order, in two processes with a sandbox each
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile -m "not slow" $(PYTEST)

test-slow: $(READY) ## Run the tests that take minutes, a fresh environment or a browser
	@$(BIN)/python -m pytest -q -m slow $(PYTEST)

PRODUCTION := env DJANGO_DEBUG=0 DJANGO_SECRET_KEY="$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(50))')" \
	ALLOWED_HOSTS=api.example.com CORS_ALLOWED_ORIGINS= API_AUTH=oidc \
	OIDC_ISSUER=https://issuer.example.com OIDC_AUDIENCE=https://api.example.com AWS_REGION=us-east-1 \
	DSQL_ENDPOINT=aaaaaaaaaaaaaaaaaaaaaaaaaa.dsql.us-east-1.on.aws DSQL_PEER_ENDPOINT= \
	AWS_ACCESS_KEY_ID=check AWS_SECRET_ACCESS_KEY=check PGHOSTADDR=127.0.0.1 PGPORT=1

# Without --offline it would ask GitHub about the actions.
ZIZMOR := --offline --quiet --strict-collection --pedantic --collect=all

check: $(READY) ## Format, lint, spelling, workflows, types, import contracts, deployment checks, migrations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/typos
	$(BIN)/zizmor $(ZIZMOR) .github
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PRODUCTION) $(BIN)/python manage.py check --deploy --fail-level WARNING
	$(PRODUCTION) $(BIN)/python manage.py openapi --check
	@# No database is needed to compare models with migrations: port 1 refuses at once.
	$(PRODUCTION) $(BIN)/python -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	@# Each statement that is sent to DSQL has evidence that DSQL runs it.
	$(BIN)/python -m tests.conformance check

format: $(READY) ## Format the code and apply the safe lint fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

fuzz: $(READY) ## Send random sessions to the sandbox until one differs (FUZZ="--seed 7 --sessions 20000"; an hour at most)
	$(BIN)/python -m tests.fuzz $(FUZZ)

bench: $(BENCH_VENV)/.installed ## Run the measurements of tests/benchmarks, or some (BENCH="frameworks --plot docs/performance.svg"; minutes)
	@$(BENCH_VENV)/bin/python -m tests.benchmarks $(BENCH)

$(BENCH_VENV)/.installed: requirements/bench.txt
	@"$(PYTHON)" -m venv --clear $(BENCH_VENV)
	@$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $@

rehearse: $(READY) ## Deploy, use, update and destroy everything on this machine, without AWS (minutes)
	DJANGO_SETTINGS_MODULE=config.settings_ops $(BIN)/python -m tests.rehearsal

deploy: $(READY) ## Make or update everything in both Regions, after one confirmation
	@$(BIN)/python manage.py deploy

destroy: $(READY) ## Delete everything in both Regions with all data, after a typed confirmation
	@$(BIN)/python manage.py destroy

django-suite: $(READY) ## Run Django's own tests on config.dsql and on plain PostgreSQL (LABELS="basic lookup" for some)
	@$(BIN)/python -m tests.django_suite $(LABELS)

apps: $(READY) ## Install, use and remove popular Django apps on config.dsql and on PostgreSQL (APPS="wagtail" for some)
	@$(BIN)/python -m venv .cache/apps-venv
	@.cache/apps-venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/apps.txt
	@.cache/apps-venv/bin/python -m tests.apps $(APPS)

contract: $(READY) ## Try the contract with thousands of requests, malformed ones too (minutes)
	CONTRACT_EXAMPLES=250 MALFORMED_REQUESTS=10000 \
	$(BIN)/python -m pytest -q -p no:logging tests/e2e/test_contract.py tests/e2e/test_malformed.py

lock: ## Resolve pyproject.toml again into requirements/*.txt (needs uv)
	uv pip compile pyproject.toml $(LOCK) -o requirements/runtime.txt
	uv pip compile pyproject.toml $(LOCK) --group deploy -c requirements/runtime.txt -o requirements/deploy.txt
	uv pip compile pyproject.toml $(LOCK) --group dev -c requirements/runtime.txt -o requirements/dev.txt
	uv pip compile pyproject.toml $(LOCK) --group bench -c requirements/dev.txt -o requirements/bench.txt
	uv pip compile pyproject.toml $(LOCK) --group apps -c requirements/dev.txt -o requirements/apps.txt
	uv pip compile $(LOCK) --group audit -c requirements/dev.txt -o requirements/audit.txt
LOCK := --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links

manifest: ## Name the files of the Lambda package again, for archives without git (config/, users/, locks)
	git ls-files config users requirements/runtime.txt > ops/deploy/manifest.txt

sbom: $(READY) ## Write sbom.json, what the Lambda package holds (CycloneDX); works offline
	@$(BIN)/python -m ops.deploy.sbom sbom.json

clean: ## Stop the sandbox; remove it, .venv and every cache
	-@test -x $(BIN)/python && $(BIN)/python manage.py sandbox reset --yes
	rm -rf $(VENV) .packages .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
