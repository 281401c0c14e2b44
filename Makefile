# Everything a newcomer needs: make demo, make test, make test-jax.
# Needs Python 3.11 to 3.13, make and a C library; everything else goes into .venv.
# PYTHON names another interpreter than the one that is found; uv is used where it is
# present, and UV= leaves it alone.

PYTHON ?=
UV ?= $(shell command -v uv)
VENV := .venv
BIN := $(VENV)/bin
# Makes the environment $(1), and installs into it what follows.
make_env = PYTHON='$(PYTHON)' UV='$(UV)' tools/make_env.sh $(1)
install_into = $(if $(UV),'$(UV)' pip install --quiet --python $(1)/bin/python,$(1)/bin/python -m pip install --quiet --disable-pip-version-check)
install := $(call install_into,$(VENV))
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: bundles venv constraints test-lowest test-wheel demo demo-all docs test test-devices test-docs test-jax test-reliability test-trackers lint clean help notebooks notebooks-test

help:
	@echo "make demo      simulate scenes, train, evaluate, map, report (about 6 minutes)"
	@echo "make venv EXTRAS=cuda  the environment with extras, here for a GPU node"
	@echo "make test      lint, types, import rules and all tests"
	@echo "make demo-all  the same for every kind of task, on simulated data (about an hour)"
	@echo "make docs      the documentation as site/index.html"
	@echo "make test-docs every block of the documentation, trained ones too"
	@echo "make test-devices  trainings on several devices and in several processes"
	@echo "make test-jax  models, losses and metrics on the JAX backend"
	@echo "make test-reliability  commands killed at many file operations, then resumed"
	@echo "make test-trackers  logs to MLflow and Weights & Biases, by their packages"
	@echo "make test-lowest  the lower bounds of all dependencies, in an environment of them"
	@echo "make test-wheel   the wheel, in an empty environment, runs the demo"
	@echo "make bundles   models of real data to pass on, for a release (about two hours)"
	@echo "make constraints  write the versions of .venv to constraints.txt"
	@echo "make notebooks open the lessons in JupyterLab"
	@echo "make notebooks-test  every lesson and its solutions, in the fast setting"
	@echo "make clean     remove the environments and the demo's files"

$(BIN)/python:
	$(call make_env,$(VENV))

$(VENV)/installed: pyproject.toml | $(BIN)/python
	$(install) --editable .
	touch $@

# On a GPU node: make venv EXTRAS=cuda, or EXTRAS=jax-cuda,onnx.
venv: | $(BIN)/python
	$(install) --editable '.$(if $(EXTRAS),[$(EXTRAS)])'
	touch $(VENV)/installed

$(VENV)/installed-test: pyproject.toml | $(BIN)/python
	$(install) --editable '.[test]'
	touch $(VENV)/installed $@

# Fold 1 holds out a scene whose incidence angles lie within those of the others; fold 0
# one that lies outside (20-23 degrees against 34-44), which is a harder question.
demo: $(VENV)/installed
	$(BIN)/arcticdl simulate data/demo --scenes 6 --size 512 --seed 0
	$(BIN)/arcticdl prepare configs/demo.yaml --overwrite
	$(BIN)/arcticdl train configs/demo.yaml --fold 1 --overwrite
	$(BIN)/arcticdl evaluate runs/demo
	$(BIN)/arcticdl predict runs/demo --fold 1 --overwrite
	$(BIN)/arcticdl report runs/demo
	@echo "Open runs/demo/report.html"

# One configuration a task, each from simulated files to its report.
EXAMPLES := thaw concentration forecast ordinal ice_chart autoice_small

demo-all: demo
	$(BIN)/arcticdl simulate data/thaw/frozen --schema optical --ponds 0 --scenes 12 --size 128
	$(BIN)/arcticdl simulate data/thaw/thawed --schema optical --ponds 0.3 --scenes 12 --size 128 --seed 1
	$(BIN)/arcticdl simulate data/amsr2 --schema amsr2 --scenes 48 --size 64
	$(BIN)/arcticdl simulate data/charts --scenes 6 --size 512 --charts
	$(BIN)/arcticdl simulate data/autoice --schema ai4arctic --scenes 6 --size 512
	set -e; for name in $(EXAMPLES); do \
		$(BIN)/arcticdl prepare configs/$$name.yaml --overwrite; \
		$(BIN)/arcticdl train configs/$$name.yaml --fold 0 --overwrite; \
		$(BIN)/arcticdl evaluate runs/$$name; \
		$(BIN)/arcticdl predict runs/$$name --overwrite; \
		$(BIN)/arcticdl report runs/$$name; \
	done

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

test-reliability: $(VENV)/installed-test
	ARCTICDL_RELIABILITY=1 $(BIN)/python -m pytest tests/reliability

$(VENV)/installed-docs: pyproject.toml | $(BIN)/python
	$(install) --editable '.[docs]'
	touch $(VENV)/installed $@

# Warnings are errors; then every link and anchor of the built pages is followed.
docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	$(BIN)/python docs/check_links.py site

test-docs: $(VENV)/installed-test
	$(BIN)/python -m pytest -m docs tests/docs

$(VENV)/installed-notebooks: pyproject.toml | $(BIN)/python
	$(install) --editable '.[notebooks]'
	touch $(VENV)/installed $@

notebooks: $(VENV)/installed-notebooks
	$(BIN)/python -m jupyterlab notebooks

notebooks-test: $(VENV)/installed-test
	$(BIN)/python -m pytest tests/notebooks -m "notebook or not notebook" \
		--numprocesses auto --maxprocesses 4 --durations 0

.venv-jax/installed: pyproject.toml
	$(call make_env,.venv-jax)
	$(call install_into,.venv-jax) --editable '.[test,jax]'
	touch $@

test-jax: .venv-jax/installed
	KERAS_BACKEND=jax .venv-jax/bin/python -m pytest -m backend

# The lower bounds of all direct dependencies hold: the oldest Python, the oldest of each.
# What those packages say to newer ones of theirs is no fault of ours: -W ignore.
LOWEST := tests/test_package.py tests/sources tests/tiles tests/inference/test_export.py tests/experiment/test_chain.py

.venv-lowest/installed: pyproject.toml tools/lowest.py
	PYTHON=$(or $(PYTHON),python3.11) UV='$(UV)' tools/make_env.sh .venv-lowest
	.venv-lowest/bin/python tools/lowest.py --extra test > .venv-lowest/lowest.txt
	$(call install_into,.venv-lowest) --constraint .venv-lowest/lowest.txt --editable '.[test]'
	touch $@

test-lowest: .venv-lowest/installed
	.venv-lowest/bin/python -m pytest -W ignore $(LOWEST)

# The versions that the suite passed with: to be written after make test, and committed.
constraints: $(VENV)/installed-test
	$(BIN)/python tools/tested.py > constraints.txt

# Models to pass on, trained on every image, beside what the folds reached: dist/NAME.zip.
# The data is that of arcticdl data fetch, in ARCTICDL_SAMPLE_DATA; so is its licence.
bundles: $(VENV)/installed
	$(call make_bundle,meltpond,Apache-2.0)
	$(call make_bundle,calving_front,MIT)

define make_bundle
	$(BIN)/arcticdl prepare configs/$(1).yaml --overwrite
	$(BIN)/arcticdl train configs/$(1).yaml --fold all --resume
	$(BIN)/arcticdl evaluate runs/$(1)
	$(BIN)/arcticdl train configs/$(1).yaml --fold full --resume
	$(BIN)/arcticdl bundle runs/$(1) --fold full --license $(2) -o dist/$(1).zip --overwrite
	$(BIN)/arcticdl verify dist/$(1).zip
endef

# The wheel in an environment that holds nothing else, from nothing to a page.
test-wheel: $(VENV)/installed-test
	$(BIN)/python -m pytest -m wheel -s tests/release

# The trackers' own packages, which bring some thirty others, beside the test environment.
test-trackers: $(VENV)/installed-test
	$(install) --editable '.[test,mlflow,wandb]'
	$(BIN)/python -m pytest -m "trackers or not trackers" tests/trackers

# With TensorFlow and JAX side by side; each test starts the one that it means.
test-devices: .venv-jax/installed
	.venv-jax/bin/python -m pytest -m "devices or not devices" tests/devices

clean:
	rm -rf $(VENV) .venv-jax .venv-lowest site data/demo data/demo.tiles runs/demo
