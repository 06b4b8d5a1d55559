# Short names for the checks in .ci/checks, which says what each does.
.PHONY: help setup check lint types imports docs test format

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

setup: ## make .venv with everything that the checks need
	python3 -m venv .venv
	.venv/bin/pip install -c constraints.txt -e '.[test,docs]'

check: ## every check; what CI runs
	.ci/checks

lint: ## style, and what is likely a mistake
	.ci/checks lint

types: ## static types
	.ci/checks types

imports: ## which part may import which
	.ci/checks imports

docs: ## the site, in build/docs/html
	.ci/checks docs

test: ## the tests
	.ci/checks tests

format: ## write the code in the style that lint asks for
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .
