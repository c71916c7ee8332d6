# make demo   builds, then runs the main job on real data
# make test   builds, then runs all tests
# make lint   ruff, mypy, import-linter, clang-format
# make bench  speed beside the peers that are installed
# make minimum  a smoke test with the lowest declared versions of all packages
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NATIVE := $(wildcard native/*/*.hpp native/*/*.cpp)
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
CLANG_FORMAT := $(BIN)/clang-format

.PHONY: build demo test test-sanitize minimum lint format bench clean
.DELETE_ON_ERROR:

build: $(VENV)/.built

$(VENV)/.created:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install "scikit-build-core>=0.10" "nanobind>=2.4" "cmake>=3.18" ninja
	touch $@

$(VENV)/.built: $(VENV)/.created pyproject.toml CMakeLists.txt constraints.txt $(NATIVE)
	$(PIP) install --no-build-isolation -c constraints.txt -e .
	touch $@

$(VENV)/.dev: $(VENV)/.built pyproject.toml
	$(PIP) install --no-build-isolation -c constraints.txt -e ".[dev]"
	touch $@

demo: $(VENV)/.built
	$(BIN)/anyfm demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --dist loadscope

# The native tests under AddressSanitizer and UndefinedBehaviorSanitizer, in every build of the kernels that runs here.
SANITIZED := build/sanitized
$(SANITIZED)/.built: $(VENV)/.dev CMakeLists.txt $(NATIVE)
	$(PIP) install --no-build-isolation --no-deps --upgrade --target $(SANITIZED) \
	  -C build-dir=build/sanitizing -C cmake.define.ANYFM_SANITIZE=ON -C install.strip=false .
	touch $@

# -S and an explicit path: the editable installation must not stand before the sanitized one.
test-sanitize: $(SANITIZED)/.built
	path="$(SANITIZED):$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')"; \
	for isa in $$($(BIN)/python -c 'from anyfm import _cpu; print(*_cpu.supported())'); do \
	  ANYFM_ISA=$$isa PYTHONPATH="$$path" PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0 \
	  LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libubsan.so)" \
	  $(BIN)/python -S -m pytest tests/contracts tests/unit/native -p no:cacheprovider --timeout 1200 || exit 1; \
	done

# The lowest versions that pyproject.toml allows, of all packages that a user of the report has.
MINIMUM := build/minimum
minimum: $(VENV)/.built
	rm -rf $(MINIMUM) && $(PYTHON) -m venv $(MINIMUM)
	$(PIP) wheel --no-build-isolation --no-deps -w $(MINIMUM) .
	$(BIN)/python -c 'from importlib.metadata import requires; \
	  print(*(r.partition(";")[0].replace(">=", "==") for r in requires("anyfm") if "python_version" not in r and \
	    ("extra ==" not in r or "report" in r)), sep="\n")' > $(MINIMUM)/versions.txt
	$(MINIMUM)/bin/python -m pip --disable-pip-version-check -q install -r $(MINIMUM)/versions.txt $(MINIMUM)/*.whl
	$(MINIMUM)/bin/python tests/smoke.py

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(CLANG_FORMAT) --dry-run -Werror $(NATIVE)

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(CLANG_FORMAT) -i $(NATIVE)

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.run

clean:
	rm -rf build $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
