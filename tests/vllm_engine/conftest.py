import os

# before vLLM is imported: small caches, and threads that give way
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
if "PYTEST_XDIST_WORKER" in os.environ:  # or vLLM binds the engines of all workers to one core
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
