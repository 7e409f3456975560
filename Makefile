# Every target sets up what it needs: a machine with git, make and Python 3.11 or newer is enough.
PYTHON ?= python3
VENV   ?= .venv
DEVICE ?= cuda
BIN     = $(VENV)/bin
STAMP   = $(VENV)/.installed

.PHONY: help setup check test test-slow test-gpu test-faults test-ray bench bench-gpu gpu-first build site pages quickstart study clean

help:           ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: $(STAMP) ## a virtual environment with the pinned dependencies

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip -c constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt --group dev --editable .
	$(BIN)/python -m pip install --quiet -c constraints.txt --group outside --no-deps
	touch $(STAMP)

check: setup    ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

test: check     ## style, types and the tests of a few minutes
	$(BIN)/python -m pytest -n auto --dist loadgroup -m "not slow and not gpu and not faults"

test-slow: setup    ## the long tests
	$(BIN)/python -m pip install --quiet -c constraints.txt --group site
	$(BIN)/python -m pytest -n auto --dist loadgroup -m "slow"

test-gpu: setup     ## the tests that need a CUDA device
	$(BIN)/python -m pytest -m "gpu"

test-faults: setup  ## the tests that kill processes
	$(BIN)/python -m pytest -m "faults"

test-ray: setup     ## the tests that need Ray, which is half a gigabyte
	$(BIN)/python -m pip install --quiet -c constraints.txt --group ray
	$(BIN)/python -m pytest -m "slow" tests/experiment/test_ray.py

bench: setup    ## speeds side by side with other libraries, in some seventy quiet minutes; writes experiments/benchmarks/
	$(BIN)/python -m pip install --quiet -c constraints.txt --group bench
	$(BIN)/python benchmarks/worlds.py --seconds 2
	$(BIN)/python benchmarks/cohort.py --rounds 1
	$(BIN)/python benchmarks/cohort.py --rounds 1 --rollouts 3 --width 256 --robots half-cheetah --members 1 8 32 \
		--out experiments/benchmarks/cohort-256.json
	$(BIN)/python benchmarks/off_policy.py --rounds 1
	$(BIN)/python benchmarks/where.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/evidence.py --out experiments/benchmarks/evidence.json

bench-gpu: setup    ## the speed of worlds and of cohorts on a CUDA device, beside all cores
	$(BIN)/python benchmarks/physics.py --seconds 2
	$(BIN)/python benchmarks/cohort.py --device cuda --physics warp --robots half-cheetah --batch-sizes 256 --members 8 32 128 \
		--rounds 1 --out experiments/benchmarks/cohort-gpu.json
	$(BIN)/python benchmarks/off_policy.py --device cuda --rounds 1 --out experiments/benchmarks/sac-gpu.json

gpu-first: setup    ## what a first GPU is asked, correctness first, in fifteen minutes; DEVICE=cpu is a rehearsal
	$(BIN)/python benchmarks/gpu_first.py --device $(DEVICE) --out build/gpu-first; \
	$(BIN)/python benchmarks/gpu_report.py build/gpu-first --out build/gpu-first/README.md

pages: setup    ## certificates that are missing, and all pages that are written from tables
	$(BIN)/trl-suite verify --missing
	for name in axis_table env_table_page env_pages method_pages experiment_pages diagrams; do $(BIN)/python -m tools.site.$$name || exit; done

site: setup     ## the site, in build/site/html, without network once it is installed
	$(BIN)/python -m pip install --quiet -c constraints.txt --group site
	$(BIN)/python -m tools.site.build

build: setup    ## the wheel and the source distribution
	$(BIN)/python -m pip install --quiet build -c constraints.txt
	$(BIN)/python -m build

quickstart: setup   ## from nothing to a measured acceleration, in some three minutes and the installation
	$(BIN)/trl-suite run experiments/quickstart

film: quickstart   ## the moving picture at the top of the README
	$(BIN)/trl-suite film runs/quickstart --seconds 2.5 -o docs/images/transfer.gif

STUDY = freeze-map-half-cheetah running-backwards-tuned inverted-actions-tuned identity-tuned \
        freeze-map-walker2d severity-half-cheetah severity-walker2d off-policy

study: setup        ## the study, some eleven hours on two cores; goes on where it was, and makes no run twice
	reuse=; for name in $(STUDY); do \
	  $(BIN)/trl-suite run experiments/$$name --quiet $$reuse \
	  && $(BIN)/trl-suite report runs/$$name --keep experiments/$$name/results || exit; \
	  reuse="$$reuse --reuse experiments/$$name/results"; \
	done
	$(BIN)/python -m tools.site.experiment_pages

clean:          ## everything that can be made again, except runs
	rm -rf $(VENV) dist build .pytest_cache .ruff_cache .hypothesis
