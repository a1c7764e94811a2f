import os

# before verl is imported: the CPU as its platform, and its own messages only where something is off
os.environ.setdefault("VERL_PLATFORM", "test_cpu")
os.environ.setdefault("VERL_USE_EXTERNAL_MODULES", "cpu_platform,btrans_eval.training.verl.engine")
os.environ.setdefault("VERL_ENGINE_DEVICE", "cuda")  # the key that the engine is registered with
os.environ.setdefault("VERL_LOGGING_LEVEL", "WARNING")
