# The commands of this project; `make` alone lists them.
PYTHON ?= python3
ARGS ?=
RUN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo up test check format protos schema ide lock clean

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

test: .venv/installed  ## run all default tests
	@$(RUN)/python -m pytest $(ARGS)

check: .venv/installed  ## format, lint and types
	@$(RUN)/ruff format --check .
	@$(RUN)/ruff check .
	@$(RUN)/mypy

format: .venv/installed  ## format the code and sort its imports
	@$(RUN)/ruff format .
	@$(RUN)/ruff check --fix .

protos: .venv/installed  ## regenerate the code made from protos/
	@$(RUN)/python -m deploy.protos

schema: .venv/installed  ## write the gateway's schema to gateway/schema.graphql
	@$(RUN)/python -m gateway.schema

ide:  ## fetch GraphiQL, to be served locally at /graphql
	@cd gateway/ide && npm ci --ignore-scripts --no-audit --no-fund

lock: .venv/installed  ## resolve the dependencies anew into deploy/requirements.lock
	@$(RUN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --all-extras \
	  --no-header --upgrade --output-file deploy/requirements.lock pyproject.toml

clean:  ## remove the local alliance's data
	@rm -rf data
