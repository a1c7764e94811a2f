"""Print what verl[verl-core] requires, one a line, but for what members are tested without."""

from importlib.metadata import requires

from packaging.requirements import Requirement

LEFT_OUT = {
    *("torch", "torchcodec", "qwen_vl_utils", "nvtx"),  # builds for CUDA, and pictures
    *("pylatexenc", "mathruler", "tensorboard", "wandb"),
    *("pytest-asyncio", "pytest-rerunfailures"),
}

for line in requires("verl") or []:
    wanted = Requirement(line)
    applies = wanted.marker is None or wanted.marker.evaluate({"extra": "verl-core"})
    if wanted.name not in LEFT_OUT and applies:
        wanted.marker = None
        print(wanted)
print("hydra-core>=1.3")  # an older one needs no antlr, and pip would take it
