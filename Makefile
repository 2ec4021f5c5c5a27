# Two commands do everything, set-up included: `make demo` and `make test`.
# `make demo-aws` runs the same job through EC2 stacks, on a test cloud on this machine, or on the
# one that AWS_ENDPOINT_URL names.
# Set-up is kept by what it was made from: a second run finds it done; an interrupted one goes on.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# Tests start hundreds of Python processes: without bytecode, each of them compiles the package.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo demo-aws test test-all chaos check docs messages lock clean

demo: $(READY)
	@$(BIN)/cloudburst-run examples/scenes.yaml --output demo-output

demo-aws: $(READY)
	@PATH="$(CURDIR)/$(BIN):$$PATH" \
		$(if $(AWS_ENDPOINT_URL),,$(BIN)/python -m testcloud --policy docs/aws-policy.json --) \
		cloudburst-run examples/scenes.yaml --target aws --output demo-output

# What everybody waits for: ten minutes on two cores at the most.
test: $(READY) check
	@$(BIN)/cloudburst doctor
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m "not slow"

# The slow tests too: kills, faults, machines that take minutes to be given up. ONLY=slow: they alone.
ONLY ?= slow or not slow
test-all: $(READY) check
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m "$(ONLY)"

# Kill runs at many points, let the test cloud fail in every way and in pairs of ways, clean up,
# resume, and count. The tables go to docs/reliability.md.
SEED    ?= 1
POINTS  ?= 40
MINUTES ?= 60
chaos: $(READY)
	@CLOUDBURST_LANG=en PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.chaos --seed $(SEED) --points $(POINTS) \
		--minutes $(MINUTES) --write
	@CLOUDBURST_LANG=en PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.chaos.faults --seed $(SEED) \
		--minutes $(MINUTES) --write

# Style, types and the API reference, without running anything.
check: $(READY) docs
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/hadolint Dockerfile

# The API reference, from the docstrings; a broken reference is an error.
docs: $(READY)
	@$(BIN)/sphinx-build -q -E -W --keep-going -b html docs/reference build/reference
	@echo "API reference: build/reference/index.html"

# The editable package has a copy of the container's lock.
$(READY): requirements.lock pyproject.toml tools/container/requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "CloudBurst needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0] + ". Name another one: make PYTHON=/path/to/python3.11")'
	@echo "Setting up $(VENV) (about a minute, once) ..."
	@$(PYTHON) -m venv $(VENV) || { echo "python -m venv failed: on Debian and Ubuntu the package python3.11-venv carries it"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Bring the catalogues up to date with the code; what is new in them waits for a translation.
messages: $(READY)
	@$(BIN)/pybabel --quiet extract --keywords "tr ntr:1,2 later" --add-location=file \
		--sort-by-file --project CloudBurst --version 0.1.0 --msgid-bugs-address "" \
		--output-file .messages.pot cloudburst
	@$(BIN)/pybabel --quiet update --domain cloudburst --output-dir cloudburst/locale \
		--input-file .messages.pot --no-fuzzy-matching --ignore-obsolete \
		--ignore-pot-creation-date --width 100
	@rm .messages.pot

# Resolve the dependencies again, within pyproject.toml, and pin them with hashes.
lock: $(READY)
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --upgrade --group dev pyproject.toml --output-file requirements.lock
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
		--no-emit-index-url --upgrade tools/container/requirements.in \
		--constraint requirements.lock --output-file tools/container/requirements.lock

clean:
	rm -rf $(VENV) build demo-output cloudburst_results .mypy_cache .ruff_cache .pytest_cache
	find cloudburst stacks testcloud tests -name __pycache__ -exec rm -rf {} +
