# make demo: set up, make a small dataset, run the whole job. make test: set up, run the tests.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
DEMO := --work demo/work
PARALLEL := --numprocesses auto --dist worksteal
EXTRAS := tensorboard dask buckets bench dev  # what is locked: the other backends are gigabytes

.PHONY: demo test test-slow test-backends bench lint lock clean

$(VENV)/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v <= (3, 13) and f"Python must be 3.11 to 3.13, got {v[0]}.{v[1]}; name one with PYTHON=")'
	$(PYTHON) -m venv --clear $(VENV)
	$(RUN) -m pip install --quiet --requirement requirements.lock
	$(RUN) -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: $(VENV)/ready
	test -e demo/data/train.csv || rm -rf demo/data
	$(RUN) -m featurize $$(test -e demo/data || echo --demo) --data demo/data $(DEMO)
	$(RUN) -m train conv1d $(DEMO) --folds 2 --epochs 20 --batch-size 16
	$(RUN) -m train conv2d $(DEMO) --folds 2 --epochs 20 --batch-size 16
	$(RUN) -m ensemble --both $(DEMO)

test: $(VENV)/ready
	$(RUN) -m pytest $(PARALLEL) -m "not slow"

test-slow: $(VENV)/ready
	$(RUN) -m pytest $(PARALLEL) -m slow

test-backends: $(VENV)/ready
	$(RUN) -m pip install --quiet --no-build-isolation --editable '.[backends]'
	for backend in tensorflow jax torch; do \
		echo "Keras on $$backend" && KERAS_BACKEND=$$backend $(RUN) -m pytest -m "not slow" tests/train || exit 1; done

bench: $(VENV)/ready
	$(RUN) benchmarks/featurize.py
	$(RUN) benchmarks/plan.py
	$(RUN) benchmarks/windows.py
	$(RUN) benchmarks/train.py
	$(RUN) benchmarks/trainer.py

lint: $(VENV)/ready
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check

lock:
	uv pip compile pyproject.toml $(EXTRAS:%=--extra %) --universal --fork-strategy fewest --python-version 3.11 \
		--no-header --no-annotate --upgrade --output-file requirements.lock

clean:
	rm -rf $(VENV) demo build *.egg-info .pytest_cache .ruff_cache
