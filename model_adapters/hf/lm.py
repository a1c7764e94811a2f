"""``btrans-hf``: the harness's ``hf`` model type, answered by a population."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM

from btrans_eval.config import (
    OWN_ARGUMENTS,
    PopulationConfig,
    refuse_misspelled,
    split_arguments,
)
from btrans_eval.demo import demo_arguments, with_noise
from btrans_eval.errors import UserError
from btrans_eval.harness.batches import check_batch_size
from btrans_eval.harness.bridge import refuse_cache_hook
from btrans_eval.harness.engine import Scored
from btrans_eval.harness.ranks import Ranks, prepare_launch
from btrans_eval.harness.response import Response
from btrans_eval.harness.runner import Runner
from btrans_eval.model_adapters import thoughts
from btrans_eval.model_adapters.hf.engine import HFEngine
from btrans_eval.model_adapters.hf.gguf_files import parsed_once
from btrans_eval.population import calibrate, fingerprint
from btrans_eval.population.checkpoint import unreadable

logger = logging.getLogger(__name__)


class BTransHF(HFLM):
    """A population of one transformers model under lm_eval.

    Takes every argument of ``HFLM`` and those of ``btrans_eval.config.PopulationConfig``.

    Attributes:
        engine: what generates.
        runner: who answers.

    Raises:
        UserError: on an argument outside its range, before the model is loaded.
    """

    engine: HFEngine
    runner: Runner
    batch_schedule: float

    def __new__(cls, *args: Any, **arguments: Any) -> BTransHF:
        kind = cls
        if arguments.get("from_store") and cls is BTransHF:
            from btrans_eval.model_adapters.hf.stored import StoredHF as kind
        made: BTransHF = super().__new__(kind)
        return made

    def __init__(self, pretrained: Any = None, **arguments: Any) -> None:
        own, others = split_arguments(arguments)
        refuse_misspelled(others, OWN_ARGUMENTS)
        if pretrained is None:
            others = {**demo_arguments(), **others}
            pretrained = others.pop("pretrained")
            own = with_noise(own)
            logger.warning("no `pretrained` given: running the demo model, SmolLM2-135M-Instruct")
        config = PopulationConfig(**own)
        if config.scheduling is not None:
            raise UserError(
                "scheduling: is for vLLM, and rows of all members share the batches of btrans-hf, "
                f"got {config.scheduling}; leave it out"
            )
        check_batch_size(others.get("batch_size", 1))
        self._asked_end = others.get("think_end_token")
        if others.get("backend") == "seq2seq":
            raise UserError("backend: must be causal under a population, got 'seq2seq'")
        # HFLM's own default, cuda, fails on a machine without
        others.setdefault("device", "cuda" if torch.cuda.is_available() else "cpu")
        prepare_launch()
        with parsed_once() if others.get("gguf_file") else nullcontext():
            super().__init__(pretrained, **others)
        self._ranks = Ranks.of(self)
        self.engine = self._start()
        self.become(config, config.responses)

    def become(self, config: PopulationConfig, responses: str | None) -> None:
        """From now on, answer as another population of the same model.

        Args:
            config: the population.
            responses: JSON-lines file for every member's response, or None.
        """
        found = self._ranks.from_first(self._resolve_noise(config))
        population = calibrate.population_of(self._noisy_model(), config, found)
        before = getattr(self, "runner", None)
        self.runner = Runner(
            self.engine, population, config, self._ranks, found[2], responses, before
        )

    @property
    def population_config(self) -> PopulationConfig:
        """The population that answers, as the user gave it."""
        return self.runner.config

    # ---------------------------------------------------- what `StoredHF` has otherwise
    def _start(self) -> HFEngine:
        return HFEngine(self, lambda: fingerprint.of_model(self.model))

    def _resolve_noise(self, config: PopulationConfig) -> calibrate.Resolved:
        return calibrate.resolve(self.model, self.tokenizer, config)

    def _noisy_model(self) -> Any:
        """The model whose layers noise is added to."""
        return self.model

    # ------------------------------------------------------------ what the harness asks
    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[Response]:
        """Responses of the members, or the one that stands for them where a task wants one."""
        return self.runner.generate(requests, disable_tqdm)

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = False) -> list[Scored]:
        """Posterior predictive over the members: (log mean likelihood, most are greedy)."""
        return self.runner.loglikelihood(super().loglikelihood, requests, disable_tqdm)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Posterior predictive of whole documents: log of the members' mean likelihood."""
        return self.runner.loglikelihood_rolling(
            super().loglikelihood_rolling, requests, disable_tqdm
        )

    def get_model_info(self) -> dict[str, Any]:
        """What the harness writes into the results file, with what the population really was."""
        return {**super().get_model_info(), "btrans": self.runner.info()}

    def set_cache_hook(self, cache_hook: Any) -> None:
        """Refuse the harness's response cache, which cannot tell members apart."""
        refuse_cache_hook(cache_hook)
        super().set_cache_hook(cache_hook)

    # ------------------------------------- what the harness's methods call back for tokens
    def _loglikelihood_tokens(
        self, requests: Any, disable_tqdm: bool = False, override_bs: int | None = None
    ) -> list[Scored]:
        return self.runner.score_tokens(requests, disable_tqdm, override_bs)

    def _model_call(self, inps: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        model_call = super()._model_call
        return self.engine.logits(inps, lambda: model_call(inps, *args, **kwargs))

    def _detect_batch_size(self, *args: Any, **kwargs: Any) -> Any:
        with self.engine.answering(None):  # the search runs the model as it is
            return super()._detect_batch_size(*args, **kwargs)

    def _batch_scheduler(self, pos: int, n_reordered_requests: Any) -> Any:
        # with fewer requests than sizes to search (auto:4) the harness divides by 0
        asked, most = self.batch_schedule, len(n_reordered_requests)
        self.batch_schedule = min(asked, most)
        try:
            return super()._batch_scheduler(pos, n_reordered_requests)
        finally:
            self.batch_schedule = asked

    # ------------------------------------------------------------------ loading
    def _get_config(self, pretrained: str, *args: Any, **kwargs: Any) -> None:
        try:
            super()._get_config(pretrained, *args, **kwargs)
        except (OSError, ValueError) as error:
            raise unreadable(pretrained, error) from error
        if getattr(self._config, "is_encoder_decoder", False):
            raise UserError(
                f"pretrained: must be a decoder-only model, but {pretrained} is an encoder-decoder"
            )

    def _create_tokenizer(self, *args: Any, **kwargs: Any) -> None:
        super()._create_tokenizer(*args, **kwargs)
        thoughts.refuse_special(self._asked_end, self.tokenizer)

    def _create_model(self, pretrained: str, *args: Any, **kwargs: Any) -> None:
        try:
            super()._create_model(pretrained, *args, **kwargs)
        except TypeError as error:
            if "unexpected keyword argument" not in str(error):
                raise
            name = str(error).rsplit("'", 2)[1]
            raise UserError(f"{name}: no such model argument ({error})") from error
        except (ValueError, OSError, RuntimeError) as error:
            _explain_adapter(kwargs.get("peft"), pretrained, error)
            raise


def _explain_adapter(adapter: str | None, pretrained: str, error: Exception) -> None:
    """Tell in one line that an adapter is not there, or of another model.

    Raises:
        UserError: if that is what the error says.
    """
    said = str(error)
    if adapter and "adapter_config.json" in said:
        raise UserError(
            f"peft: must be an adapter on the hub or in a folder, but {adapter!r} has no "
            "adapter_config.json; name the folder that save_pretrained wrote"
        ) from error
    if adapter and "size mismatch" in said:
        where = said.partition("size mismatch for ")[2].partition("\n")[0]
        raise UserError(
            f"peft: must be an adapter of this model, but the weights of {adapter} do not fit "
            f"{pretrained} ({where}); name the model that it was trained on, with its vocabulary"
        ) from error
