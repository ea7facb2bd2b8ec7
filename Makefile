# Everything runs in the repository's own virtual environment, .venv.
#   PYTHON    an interpreter to make it with (3.11, 3.12 or 3.13); found by itself when not given
#   PIP_ARGS  arguments for pip, such as an index with a CPU-only PyTorch:
#             make setup PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test check FORCE

VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/mql-setup.stamp
CANDIDATES := $(PYTHON) python3.11 python3.12 python3.13 python3 python
USABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

help:
	@echo "make setup       make .venv with everything that running, tests and benchmarks need"
	@echo "make quickstart  set up, then train, adapt and evaluate on a small real problem"
	@echo "make test        set up, then run the tests (without the slow ones)"
	@echo "make check       set up, then lint, formatting and types"

setup: $(STAMP)

quickstart: setup
	$(RUN) -m mql.cli.quickstart

test: setup
	$(RUN) -m pytest -m "not slow"

check: setup
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy

# The stamp holds the folder it was made for: an editable install does not survive a move.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
$(STAMP): FORCE
endif

$(STAMP): pyproject.toml constraints.txt
	@if ! $(RUN) -c '$(USABLE)' 2>/dev/null; then \
	    found=''; for candidate in $(CANDIDATES); do \
	        if "$$candidate" -c '$(USABLE)' 2>/dev/null; then found="$$candidate"; break; fi; \
	    done; \
	    if [ -z "$$found" ]; then \
	        echo "error: found no Python 3.11, 3.12 or 3.13 with the venv module:" \
	            "install one (on Debian and Ubuntu with its -venv package)" \
	            "or name it, as in 'make setup PYTHON=/path/to/python3.12'" >&2; \
	        exit 1; \
	    fi; \
	    echo "making $(VENV) with $$("$$found" --version)"; \
	    "$$found" -m venv --clear $(VENV) || exit 1; \
	fi
	$(RUN) -m pip install --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[test,bench]'
	@echo "$(CURDIR)" > $(STAMP)
