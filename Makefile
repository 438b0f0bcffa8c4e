# Two commands matter: `make demo` runs the closed loop, `make test` runs every test.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed

.PHONY: setup demo test lint clean
setup: $(STAMP)

$(STAMP): pyproject.toml setup.cfg constraints.txt $(wildcard mlops_assets/compiled/*.pyx)
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(VENV)/bin/uv pip install --quiet --compile-bytecode --python $(VENV)/bin/python -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	$(VENV)/bin/mlops demo

# Two workers: most of a test's time is waiting for processes. The tests of a file
# stay together, and the longest files begin first; those of pages come last and alone, since a busy
# machine draws pages late.
test: setup
	$(VENV)/bin/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m "not browser"
	$(VENV)/bin/python -m pytest -m browser

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

clean:
	rm -rf $(VENV) .mlops build *.egg-info
