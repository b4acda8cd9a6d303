# `make quickstart` and `make test` need nothing but Python 3.10-3.13 and a network.
PYTHON ?= python3
PY := .venv/bin/python
# uv installs TensorFlow and its forty dependencies in seconds; pip takes minutes.
# Compiled here once: where PYTHONDONTWRITEBYTECODE is set (containers, CI), every
# process would compile TensorFlow again, 7 of the 13 seconds of its import.
INSTALL := $(PY) -m uv pip install --quiet --compile-bytecode --python $(PY)
FLAGS ?=

.PHONY: help quickstart test test-slow test-all test-older coverage tpu-lowering lint types format hooks docs dist dist-test extras

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

quickstart: .venv/.installed ## Pre-trains on drawn pictures, evaluates, exports, reports; minutes on a CPU
	$(PY) -m tfssl.main --flagfile=flags/quickstart.cfg $(FLAGS)

test: .venv/.installed-dev ## The fast tests
	$(PY) -m pytest -q -n 2 --dist loadfile

test-slow: .venv/.installed-dev .venv/.installed-torch ## The slow tests, about an hour; brings PyTorch
	$(PY) -m pytest -q --runslow -m slow -n 2 --dist loadfile

test-all: test test-slow ## Both

test-older: .venv-older/.installed ## TensorFlow 2.15 with all of TensorFlow Addons: networks, losses, optimisers; Python 3.11
	.venv-older/bin/python -m pytest -q --runslow tests/test_addons.py
	.venv-older/bin/python -m pytest -q tests/models tests/losses tests/optim tests/augment

coverage: .venv/.installed-dev ## Lines that the fast tests do not reach, as htmlcov/index.html
	$(PY) -m pytest -q -n 2 --dist loadfile --cov=tfssl --cov-report=term --cov-report=html

tpu-lowering: .venv-tpu/.installed .venv/.installed-dev ## Lowers every method for TPU, on any machine; downloads TensorFlow for TPU
	TFSSL_TPU_PYTHON=$(CURDIR)/.venv-tpu/bin/python $(PY) -m pytest -q --runslow tests/xla

lint: .venv/.installed-dev ## ruff: style and format
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: .venv/.installed-dev ## mypy, where no TensorFlow is
	$(PY) -m mypy

format: .venv/.installed-dev ## ruff repairs what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

hooks: .venv/.installed-dev ## Runs lint before every commit, and types before every push
	$(PY) -m pre_commit install

docs: .venv/.installed-dev ## The site, site/index.html; links are checked
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs --quiet build

dist: .venv/.installed-dev ## Wheel and source archive into dist/
	rm -rf dist
	$(PY) -m uv build --quiet --python $(PY)
	@ls dist

dist-test: dist ## Both in empty environments: the quickstart, at tiny size
	$(PY) tools/check_dist.py

EXTRAS ?= each
extras: dist ## The wheel with each extra alone; minutes and gigabytes
	$(PY) tools/check_dist.py --extras=$(EXTRAS)

.venv/bin/python:
	@$(PYTHON) -c 'import sys; ok = (3, 10) <= sys.version_info[:2] <= (3, 13); \
	  sys.exit(0 if ok else "got Python %d.%d; expected 3.10 to 3.13; try make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check 'uv>=0.5,<1'

# Stamps: an edit of a requirements file installs again, nothing else does.
.venv/.installed: requirements.txt | .venv/bin/python
	$(INSTALL) -r requirements.txt
	@touch $@

# By pip and not uv: where a CPU build is offered beside the large one, pip takes it.
.venv/.installed-torch: requirements-torch.txt .venv/.installed
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-torch.txt
	@touch $@

.venv/.installed-dev: requirements-dev.txt requirements-docs.txt requirements-onnx.txt requirements-litert.txt .venv/.installed
	$(INSTALL) -r requirements-dev.txt -r requirements-docs.txt -r requirements-onnx.txt -r requirements-litert.txt
	@touch $@

.venv-older/.installed: requirements-older.txt requirements-older-keras.txt | .venv/bin/python
	$(PY) -m uv venv --quiet --clear --python 3.11 .venv-older
	$(PY) -m uv pip install --quiet --compile-bytecode --python .venv-older/bin/python \
	  -r requirements-older.txt --override requirements-older-keras.txt
	@touch $@

.venv-tpu/.installed: requirements-tpu.txt | .venv/bin/python
	$(PYTHON) -m venv .venv-tpu
	$(PY) -m uv pip install --quiet --python .venv-tpu/bin/python -r requirements-tpu.txt
	@touch $@
