# Everything runs in the repository's own virtual environment, .venv; `make test-newest` has a second one.
#   PYTHON    an interpreter to make it with (3.11, 3.12 or 3.13); found by itself when not given
#   PIP_ARGS  arguments for pip, such as an index with a CPU-only PyTorch:
#             make setup PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
#   WORKERS   processes that run the tests; as many as there are cores, at most 8, when not given

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test test-all test-newest faults mutations check docs notebooks results FORCE

VENV := .venv
NEWEST := .venv-newest
RUN := $(VENV)/bin/python
RUN_NEWEST := $(NEWEST)/bin/python
STAMP := $(VENV)/mql-setup.stamp
STAMP_NEWEST := $(NEWEST)/mql-setup.stamp
CANDIDATES := $(PYTHON) python3.11 python3.12 python3.13 python3 python
USABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

# The tests' networks are tiny: more threads per process would only wait for one another.
PYTEST = OMP_NUM_THREADS=1 $(1) -m pytest -n $(or $(WORKERS),logical) --maxprocesses 8 --dist worksteal
# Test files of which something runs with the newest MuJoCo; the others may need packages that are not there.
NEWEST_TESTS = $$(grep -rlE --include='test_*.py' 'pytest\.mark\.newest' tests)

help:
	@echo "make setup        make .venv with everything that running, tests and benchmarks need"
	@echo "make quickstart   set up, then train, adapt and evaluate on a small real problem"
	@echo "make test         set up, then run the tests (without the slow ones)"
	@echo "make test-all     set up, then run all tests"
	@echo "make test-newest  make .venv-newest with the core and the newest MuJoCo, then run the tests of physics there"
	@echo "make faults       set up, then run the long attacks of tests/faults (a quarter of an hour)"
	@echo "make mutations    set up, then break the code in 60 places, one by one, to see that tests notice (half an hour)"
	@echo "make check        set up, then lint, formatting and types"
	@echo "make docs         set up, then write the documentation site to site/"
	@echo "make notebooks    set up, then execute the notebooks anew, which writes their .ipynb files (five minutes)"
	@echo "make results      set up, then write docs/results.md, the README's table and the curves from results/"

setup: $(STAMP)

quickstart: setup
	$(RUN) -m mql.cli.quickstart

test: setup
	$(call PYTEST,$(RUN)) -m "not slow and not faults"

test-all: setup
	$(call PYTEST,$(RUN)) -m "not faults"

test-newest: $(STAMP_NEWEST)
	@$(RUN_NEWEST) -c 'import mujoco; print("MuJoCo", mujoco.__version__)'
	$(call PYTEST,$(RUN_NEWEST)) -m "newest and not slow and not faults and not needs_extra" $(NEWEST_TESTS)

# The attacks that take minutes: kills at many moments, mutated files, hours of bad input.
faults: setup
	$(call PYTEST,$(RUN)) -m faults tests/faults

mutations: setup
	$(RUN) tests/faults/mutations.py

check: setup
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy

# The environment variable silences an announcement of other software.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --quiet

notebooks: setup
	OMP_NUM_THREADS=1 $(RUN) notebooks/execute.py

results: setup
	$(RUN) -m mql.cli.publish page

# A stamp holds the folder it was made for: an editable install does not survive a move.
ifneq ($(shell cat $(STAMP) 2>/dev/null),$(CURDIR))
$(STAMP): FORCE
endif
ifneq ($(shell cat $(STAMP_NEWEST) 2>/dev/null),$(CURDIR))
$(STAMP_NEWEST): FORCE
endif

# make_venv FOLDER: make a virtual environment there, unless a usable one is there.
define make_venv
	@if ! $(1)/bin/python -c '$(USABLE)' 2>/dev/null; then \
	    found=''; for candidate in $(CANDIDATES); do \
	        if "$$candidate" -c '$(USABLE)' 2>/dev/null; then found="$$candidate"; break; fi; \
	    done; \
	    if [ -z "$$found" ]; then \
	        echo "error: found no Python 3.11, 3.12 or 3.13 with the venv module:" \
	            "install one (on Debian and Ubuntu with its -venv package)" \
	            "or name it, as in 'make setup PYTHON=/path/to/python3.12'" >&2; \
	        exit 1; \
	    fi; \
	    echo "making $(1) with $$("$$found" --version)"; \
	    "$$found" -m venv --clear $(1) || exit 1; \
	fi
endef

$(STAMP): pyproject.toml constraints.txt
	$(call make_venv,$(VENV))
	$(RUN) -m pip install --disable-pip-version-check $(PIP_ARGS) -c constraints.txt \
	    -e '.[meta-world,gymnasium-robotics,wandb,video,data,export,report,tensorboard,notebooks,bench,docs,test]'
	@echo "$(CURDIR)" > $(STAMP)

# The core alone, with the newest MuJoCo and all else as pinned.
$(STAMP_NEWEST): pyproject.toml constraints.txt
	$(call make_venv,$(NEWEST))
	grep -v '^mujoco==' constraints.txt > $(NEWEST)/constraints.txt
	$(RUN_NEWEST) -m pip install --disable-pip-version-check $(PIP_ARGS) -c $(NEWEST)/constraints.txt \
	    --upgrade -e . mujoco pytest pytest-xdist
	@echo "$(CURDIR)" > $(STAMP_NEWEST)
