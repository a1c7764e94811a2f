"""A CPU as a platform of verl, by its registry; it has none, and its engine asks for a device.

It calls itself a device of NVIDIA's, so that the engines registered for these are found.
"""

from __future__ import annotations

import torch
from verl.plugin.platform import platform_manager
from verl.plugin.platform.platform_cuda import PlatformCUDA


@platform_manager.PlatformRegistry.register(platform="test_cpu")
class CPU(PlatformCUDA):
    @property
    def device_name(self) -> str:
        return "cpu"

    @property
    def device_module(self):
        return torch.cpu

    def is_available(self) -> bool:
        return True

    def current_device(self):
        return torch.device("cpu")
