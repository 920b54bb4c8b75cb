# demo       a robot walks to goals, in a browser:  make demo GOALS="5,5 -8,2" SPEED=2 ROBOT=ant VIEW=0
# test       every test;  test-fast: without the slow ones
# faults     does every fault to real processes, five times:  make faults ROWS=guard REPEAT=1
# soak       an hour at the highest speed, with a look at memory:  make soak MINUTES=10
# fuzz       the tests with drawn inputs, with many more of them
# check      format, lint, types, import contracts
# format     rewrite the sources in the project's format, and the tables of settings in the docs
# pictures   draws those of README and docs anew, and films Ant and Go2
# bench      the benchmarks, one JSON line each
# tables     the paper's comparisons, in docs/comparisons.md:  make tables TABLES=goals ROWS=shipped
# clean      remove what the other targets made

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast faults soak fuzz check format pictures bench tables clean

BENCHMARKS := import_time planner_latency control_latency skill_quality training_throughput
VENV := .venv
RUN := $(VENV)/bin/python
PIP_INSTALL := $(RUN) -m pip install --quiet --quiet --disable-pip-version-check -c constraints.txt

SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
# The first of these that is a supported Python; else python3, which is then refused by name.
PYTHON ?= $(shell for python in python3 python3.12 python3.11; do \
	  if $$python -c '$(SUPPORTED)' 2>/dev/null; then echo $$python; exit; fi; done; echo python3)

# The virtual environment has its own ROS 2: nothing of another one must leak into it.
unexport AMENT_PREFIX_PATH COLCON_PREFIX_PATH LD_LIBRARY_PATH PYTHONHOME PYTHONPATH
unexport RMW_IMPLEMENTATION _ROS_WHEELS_BOOTSTRAP_COMPLETE

help:
	@sed -n 's/^# \([a-z-]*  \)/  make \1/p' Makefile

demo: $(VENV)/.run-time
	@$(RUN) -m dads_ros demo $(if $(ROBOT),--robot="$(ROBOT)") $(if $(GOALS),--goals="$(GOALS)") \
	  $(if $(SPEED),--speed="$(SPEED)") $(if $(SEED),--seed="$(SEED)") \
	  $(if $(BUNDLE),--bundle="$(BUNDLE)") $(if $(filter 0,$(VIEW)),--no-view)

# Four processes, for many tests mostly wait; one file's stay together, with what they share.
test: $(VENV)/.complete
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -n 4 --dist loadfile --durations=40 --durations-min=4

test-fast: $(VENV)/.complete
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -n 4 --dist loadfile -m "not slow"

faults: $(VENV)/.complete
	@PYTHONPATH=test $(RUN) -m faults $(if $(REPEAT),--repeat=$(REPEAT)) \
	  $(if $(ROWS),--rows="$(ROWS)",--jobs=2 --out=docs/reliability.md)

soak: $(VENV)/.complete
	@PYTHONPATH=test $(RUN) -m faults.soak $(if $(MINUTES),--minutes=$(MINUTES),--out=docs/reliability.md)

fuzz: $(VENV)/.complete
	@$(RUN) -m pytest -m hypothesis --hypothesis-profile=many --timeout=0

check: $(VENV)/.complete
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

format: $(VENV)/.complete
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .
	@$(RUN) docs/settings.py --write
	@PYTHONPATH="$(CURDIR)/benchmark" $(RUN) -m tables --write

pictures: $(VENV)/.run-time
	@$(RUN) -m dads_ros plot ant --out docs/pictures
	@for robot in ant go2; do $(RUN) docs/animation.py --robot $$robot || exit 1; done

bench: $(VENV)/.complete
	@for name in $(BENCHMARKS); do $(RUN) benchmark/$$name.py || exit 1; done

# Runs what is missing; what is stopped goes on with the same command.
tables: $(VENV)/.complete
	@PYTHONPATH="$(CURDIR)/benchmark" $(RUN) -m tables $(if $(TABLES),--tables $(TABLES)) \
	  $(if $(ROWS),--rows $(ROWS)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(JOBS),--jobs $(JOBS))

clean:
	rm -rf $(VENV) build install log dist *.egg-info .pytest_cache .mypy_cache .ruff_cache \
	  .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: an install is repeated only when what is to be installed changed. The package itself is
# installed editable, so that an edit of the code counts at once.
$(VENV)/.created:
	@$(PYTHON) -c '$(SUPPORTED)' 2>/dev/null || { echo "dads_ros needs Python 3.11 or 3.12, and \
	'$(PYTHON)' is neither ($$($(PYTHON) -V 2>&1)); install one of them and name it, if it is not \
	found: make PYTHON=/path/to/python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "'$(PYTHON)' cannot make virtual \
	environments; install its venv module (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 2; }
	@echo "Making $(VENV) with $$($(PYTHON) -V) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.run-time: $(VENV)/.created setup.py constraints.txt
	@echo "Installing simulator, ROS 2 and runtime into $(VENV) (once, about 750 MB) ..."
	@$(PIP_INSTALL) --editable '.[ros,view]'
	@touch $@

$(VENV)/.complete: $(VENV)/.created setup.py constraints.txt
	@echo "Installing everything, with training and tests, into $(VENV) (once) ..."
	@$(PIP_INSTALL) --editable '.[ros,audit,train,view,test]'
	@touch $(VENV)/.run-time $@
