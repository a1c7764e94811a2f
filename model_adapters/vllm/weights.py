"""Read inside vLLM's workers: which weights they hold. Nothing of the model changes."""

from __future__ import annotations

from typing import Any

from btrans_eval.population import fingerprint


class WeightReader:
    """What a worker can be asked, as a ``worker_extension_cls`` of vLLM."""

    model_runner: Any

    def btrans_fingerprint(self) -> str:
        """Hex digest of the weights that this worker holds, quantized and sharded as they are."""
        state = self.model_runner.get_model().state_dict()
        return fingerprint.of_parts(None, sorted(state.items()))
