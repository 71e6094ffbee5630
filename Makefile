# Two commands set everything up on a fresh machine: `make html` and `make test`.
# They need Python 3.11 or newer and make. The rest goes into .venv.

# The first interpreter that is new enough. Override it: make html PYTHON=/path/to/python
ifndef PYTHON
PYTHON := $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
endif

ifeq ($(OS),Windows_NT)
RUN = .venv/Scripts/python
else
RUN = .venv/bin/python
endif

# pip compiles nothing at installation. Unless Python stores what it compiles, each of the many
# processes that are started here compiles torch again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help environment html pdf epub test downloads notebooks messages serve lint format bench mutants links clean

help:  ## Show this list
	@echo "Variational Autoencoders, Verified"
	@sed -n 's/^\([a-z]*\):.*## /  make \1|/p' Makefile | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

environment:
	@$(if $(PYTHON),,echo "No Python 3.11 or newer was found. Install one, or name it: make html PYTHON=/path/to/python" >&2; exit 1)
	@$(PYTHON) tools/environment.py

html: environment  ## Run the notebooks that changed and build the book into _build/html
	@$(RUN) -m tools.build

pdf: html  ## Print each edition of the book into _build/pdf
	@$(RUN) -m tools.pdf

epub: html  ## Make an EPUB of each edition in _build/pdf
	@$(RUN) -m tools.epub

test: html  ## Check the package, the notebooks and the pages (after `make html`)
	@$(RUN) -m tools.test

downloads: html  ## Run the notebooks that readers download, where there is only the package
	@$(RUN) -m tools.downloads

notebooks: environment  ## Run the notebooks that changed and store their text outputs in book/
	@$(RUN) -m tools.notebooks

messages: environment  ## Update the catalogues of the Chinese edition and list what is left to translate
	@$(RUN) -m tools.messages

serve: html  ## Serve the built book on a free port of this machine
	@$(RUN) -m tools.serve

lint: environment  ## Check style (ruff) and types (mypy)
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy

format: environment  ## Put the code into the project's format
	@$(RUN) -m ruff check --fix .
	@$(RUN) -m ruff format .

bench: environment  ## Measure speed against the usual ways, side by side
	@for benchmark in benchmarks/[a-z]*.py; do echo "== $$benchmark"; $(RUN) $$benchmark || exit 1; done

mutants: environment  ## Break the formulas one by one and see the tests notice
	@$(RUN) -m tools.mutants

links: html  ## Ask other sites whether the links to them still work
	@.venv/bin/jupyter-book build . --builder linkcheck

clean:  ## Remove what was built (_build and the caches of the tools, not .venv)
	rm -rf _build .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache test-results
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
