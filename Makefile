# The commands of this project; `make` alone lists them.
PYTHON ?= python3
ARGS ?=
RUN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo up test differential properties bench-gateway bench-ledger bench-live bench-documents chaos-ledger drill check format protos schema access router ide lock secrets manifests invariants scan sbom container-smoke clean metrics

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# The environment is made once, and again only when the lock file or the project file changes.
.venv/installed: deploy/requirements.lock pyproject.toml
	@echo "installing into .venv (first time only, about a minute) ..."
	@test -x $(RUN)/python || $(PYTHON) -m venv .venv
	@$(RUN)/pip install --quiet --disable-pip-version-check --require-hashes -r deploy/requirements.lock
	@$(RUN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: .venv/installed  ## start the alliance, play its day, report, serve until Ctrl-C (ARGS=--exit stops after the day)
	@$(RUN)/python -m deploy.local demo $(ARGS)

up: .venv/installed  ## start the alliance and serve until Ctrl-C
	@$(RUN)/python -m deploy.local up $(ARGS)

# A worker per core, each with a database of its own. Files are taken in the order of their names, so that chaos and
# end to end, which last longest, come first.
WORKERS := --numprocesses=logical --maxprocesses=4 --dist=loadfile --no-loadscope-reorder
test: .venv/installed  ## run all default tests
	@$(RUN)/python -m pytest $(WORKERS) $(ARGS)

differential: .venv/installed  ## compare plans with graphql-core on 2,500 new documents (DIFFERENTIAL=n for n)
	@DIFFERENTIAL=$${DIFFERENTIAL:-2500} $(RUN)/python -m pytest tests/gateway/test_differential.py $(ARGS)

properties: .venv/installed  ## look for examples that break a property, 2,000 new ones of most
	@$(RUN)/python -m pytest -m hypothesis --hypothesis-profile=search tests/unit tests/gateway/test_plans.py tests/gateway/test_turns.py $(ARGS)

bench-gateway: .venv/installed  ## measure the gateway against the stock executor and a handwritten plan (ARGS=--quick)
	@$(RUN)/python -m tests.bench.gateway $(ARGS)

bench-ledger: .venv/installed  ## measure the ledger against the bare store (ARGS=--quick, without the million members)
	@$(RUN)/python -m tests.bench.ledger $(ARGS)

bench-documents: .venv/installed  ## measure what 100,000 distinct documents leave in the gateway's memory (ARGS=10000 for fewer)
	@$(RUN)/python -m tests.bench.documents $(ARGS)

bench-live: .venv/installed  ## measure 1,000 subscribers of the gateway, idle and all told at once (ARGS=--quick)
	@$(RUN)/python -m tests.bench.live $(ARGS)

chaos-ledger: .venv/installed  ## kill the rewards service or the database 20 times under load, and look for what is lost
	@$(RUN)/python -m tests.chaos.ledger $(ARGS)

drill: .venv/installed  ## kill, hold, starve, cut off and replace every process under load (ARGS=--quick for a short round)
	@$(RUN)/python -m tests.drill $(ARGS)

check: .venv/installed  ## format, lint, types, and what would break for clients of the last release
	@$(RUN)/ruff format --check .
	@$(RUN)/ruff check .
	@$(RUN)/mypy
	@$(RUN)/python -m deploy.release check --buf

format: .venv/installed  ## format the code and sort its imports
	@$(RUN)/ruff format .
	@$(RUN)/ruff check --fix .

protos: .venv/installed  ## regenerate the code made from protos/, and deploy/docs/callers.md
	@$(RUN)/python -m deploy.protos
	@$(RUN)/python -m deploy.callers

schema: .venv/installed  ## write the schema to gateway/schema.graphql, as a subgraph per domain to gateway/subgraphs, and for caches
	@$(RUN)/python -m gateway.schema

router:  ## fetch two composition libraries, a router and an audit of GraphQL over HTTP, for the tests that use them
	@cd tests/federation && npm ci --ignore-scripts --no-audit --no-fund

access: .venv/installed  ## write who sees what to gateway/access.md, found out by asking
	@ACCESS=write $(RUN)/python -m pytest -q tests/gateway/test_access_matrix.py

ide:  ## fetch GraphiQL, to be served locally at /graphql
	@cd gateway/ide && npm ci --ignore-scripts --no-audit --no-fund

# The image's lock is the part of the first that a service needs, in the same versions.
LOCK := $(RUN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --upgrade
lock: .venv/installed  ## resolve the dependencies anew into deploy/requirements*.lock
	@$(LOCK) --all-extras --output-file deploy/requirements.lock pyproject.toml
	@$(LOCK) --constraints deploy/requirements.lock --output-file deploy/requirements-runtime.lock pyproject.toml
	@$(LOCK) --output-file deploy/requirements-scan.lock deploy/requirements-scan.in
	@$(LOCK) --output-file deploy/requirements-sbom.lock deploy/requirements-sbom.in

# Tools that bring much along, in versions that do not go together, have environments of their own.
.venv-%/installed: deploy/requirements-%.lock | .venv/installed
	@echo "installing into .venv-$* (first time only) ..."
	@$(RUN)/uv venv --quiet --clear --python $(RUN)/python .venv-$*
	@$(RUN)/uv pip install --quiet --python .venv-$*/bin/python --require-hashes -r deploy/requirements-$*.lock
	@touch $@

secrets: .venv/installed  ## make the keys and passwords of deploy/compose.yaml and of the local overlay
	@$(RUN)/python -m deploy.credentials

manifests: .venv/installed  ## render and check the manifests of all overlays, the image's recipe and compose.yaml
	@$(RUN)/python -m deploy.checks $(ARGS)

metrics: .venv/installed  ## write the metrics' page, the alerting rules and the dashboards
	@$(RUN)/python -m deploy.monitoring $(ARGS)

invariants:  ## check what must hold on the data of the running local alliance (in data/)
	@status=0; for s in accounts partners logistics rewards; do \
	  data/run/$$s.sh -m services.$$s.invariants || status=1; done; exit $$status

scan: .venv-scan/installed  ## look for security findings in the manifests and the image's recipe
	@$(RUN)/python -m deploy.checks.scan $(ARGS)

sbom: .venv-sbom/installed  ## list what the image is made of, as build/sbom.cdx.json (CycloneDX)
	@$(RUN)/python -m deploy.checks.sbom build/sbom.cdx.json

container-smoke: .venv/installed  ## build the image with podman and start the local overlay's pods (as root)
	@$(RUN)/python -m deploy.smoke

clean:  ## remove the local alliance's data
	@rm -rf data
