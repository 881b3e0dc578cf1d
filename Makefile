# make demo: set up, make a small dataset, run the whole job. make test: set up, run the tests.
# make guide: run guide.md from top to bottom into guide.ipynb, on the demo's dataset.
# make api: write docs/api.md from the docstrings.
# make pictures: take the README's pictures, of real recordings where REAL is there, else of the demo.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
DEMO := --work demo/work
REAL := ../shared/tools/fsd300_dataset.py
PARALLEL := --numprocesses auto --dist worksteal
SLOW ?= slow
EXTRAS := tensorboard dask buckets export bench dev  # what is locked: the other backends are gigabytes

.PHONY: demo guide api test test-slow test-backends bench lint lock pictures clean

$(VENV)/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v <= (3, 13) and f"Python must be 3.11 to 3.13, got {v[0]}.{v[1]}; name one with PYTHON=")'
	$(PYTHON) -m venv --clear $(VENV)
	$(RUN) -m pip install --quiet --requirement requirements.lock
	$(RUN) -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: $(VENV)/ready
	test -e demo/data/train.csv || rm -rf demo/data
	$(RUN) -m featurize $$(test -e demo/data || echo --demo) --data demo/data $(DEMO)
	$(RUN) -m train conv1d $(DEMO) --folds 2 --epochs 30 --batch-size 8 --seconds 1
	$(RUN) -m train conv2d $(DEMO) --folds 2 --epochs 30 --batch-size 8 --seconds 1
	$(RUN) -m ensemble --both $(DEMO)
	$(RUN) -m report $(DEMO)

guide: $(VENV)/ready
	$(RUN) -m jupytext --quiet --to ipynb --output guide.ipynb guide.md
	$(VENV)/bin/jupyter-execute --inplace guide.ipynb

api: $(VENV)/ready
	$(RUN) docs/api.py

test: $(VENV)/ready
	$(RUN) -m pytest $(PARALLEL) -m "not slow"

test-slow: $(VENV)/ready
	$(RUN) -m pytest $(PARALLEL) -m "$(SLOW)"

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

pictures: $(VENV)/ready
	if test -e $(REAL); then work=demo/real/work && { test -e demo/real/train.csv || $(RUN) $(REAL) demo/real; } && \
		$(RUN) -m featurize --data demo/real --work $$work && \
		$(RUN) -m train conv1d --work $$work --folds 3 --epochs 15 && \
		$(RUN) -m train conv2d --work $$work --folds 3 --epochs 15 && \
		$(RUN) -m report --work $$work; \
	else work=demo/work && $(MAKE) demo; fi && $(RUN) docs/pictures.py $$work

lock:
	uv pip compile pyproject.toml $(EXTRAS:%=--extra %) --universal --fork-strategy fewest --python-version 3.11 \
		--no-header --no-annotate --upgrade --output-file requirements.lock

clean:
	rm -rf $(VENV) demo build *.egg-info .pytest_cache .ruff_cache
