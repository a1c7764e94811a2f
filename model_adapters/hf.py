"""``btrans-hf``: the harness's ``hf`` model type, answered by a population."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import (
    handle_stop_sequences,
    normalize_gen_kwargs,
    postprocess_generated_text,
)
from tqdm import tqdm

from btrans_eval import __version__
from btrans_eval.answers.extract import ANSWERS_SCHEME
from btrans_eval.config import (
    DEFAULT_MEMBERS,
    OWN_ARGUMENTS,
    PopulationConfig,
    refuse_misspelled,
    split_arguments,
)
from btrans_eval.demo import SIGMA, demo_arguments
from btrans_eval.errors import UserError
from btrans_eval.harness.batches import Row, batches, generation_key
from btrans_eval.harness.bridge import refuse_cache
from btrans_eval.harness.plan import Question, plan_questions, share_of_rank
from btrans_eval.harness.ranks import Ranks
from btrans_eval.harness.responses import ResponseLog, check_responses_path
from btrans_eval.harness.verdict import answer_kind, judge, likelihood_line
from btrans_eval.population.noise import SCHEME as NOISE_SCHEME
from btrans_eval.population.population import Population
from btrans_eval.scores.likelihood import log_mean

logger = logging.getLogger(__name__)


class BTransHF(HFLM):
    """A population of one transformers model under lm_eval.

    Takes every argument of ``HFLM`` and those of ``btrans_eval.config.PopulationConfig``.

    Raises:
        UserError: on an argument outside its range, before the model is loaded.
    """

    def __init__(self, pretrained: Any = None, **arguments: Any) -> None:
        own, others = split_arguments(arguments)
        refuse_misspelled(others, OWN_ARGUMENTS)
        if pretrained is None:
            others = {**demo_arguments(), **others}
            pretrained = others.pop("pretrained")
            own.setdefault("sigma", SIGMA)
            logger.warning("no `pretrained` given: running the demo model, SmolLM2-135M-Instruct")
        if "sigma" not in own:
            raise UserError("sigma: must be given for a model of your own; for example sigma=0.01")
        self.population_config = PopulationConfig(**own)
        if others.get("backend") == "seq2seq":
            raise UserError("backend: must be causal under a population, got 'seq2seq'")
        super().__init__(pretrained, **others)
        self._ranks = Ranks.of(self)
        self._population = _population(self.model, self.population_config)
        self._log = self._open_log()
        self._bound_member: int | None = None
        self._used: dict[str, dict[str, Any]] = {}

    # ------------------------------------------------------------------ loading
    def _get_config(self, pretrained: str, *args: Any, **kwargs: Any) -> None:
        try:
            super()._get_config(pretrained, *args, **kwargs)
        except OSError as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"pretrained: must be a model on the hub or in a folder, but {pretrained!r} "
                f"could not be read ({reason})"
            ) from error
        if getattr(self._config, "is_encoder_decoder", False):
            raise UserError(
                f"pretrained: must be a decoder-only model, but {pretrained} is an encoder-decoder"
            )

    def _create_model(self, pretrained: str, *args: Any, **kwargs: Any) -> None:
        try:
            super()._create_model(pretrained, *args, **kwargs)
        except TypeError as error:
            if "unexpected keyword argument" not in str(error):
                raise
            name = str(error).rsplit("'", 2)[1]
            raise UserError(f"{name}: no such model argument ({error})") from error

    def _open_log(self) -> ResponseLog | None:
        path = self._ranks.from_first(self.population_config.responses)
        if path is None:
            return None
        if self._ranks.rank == 0:
            check_responses_path(path)
        self._ranks.wait()
        return ResponseLog(path, self._ranks.rank)

    def set_cache_hook(self, cache_hook: Any) -> None:
        """Refuse the harness's response cache, which cannot tell members apart."""
        if getattr(cache_hook, "dbdict", None) is not None:
            refuse_cache(self.population_config)
        super().set_cache_hook(cache_hook)

    # --------------------------------------------------------------- generation
    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """Responses of the members, or the one that stands for them where a task wants one."""
        questions = plan_questions(requests, self.population_config, _is_sampled)
        self._check_generation(questions)
        for question in questions:
            self._note_use(question)
        mine = share_of_rank(questions, self._ranks.rank, self._ranks.size)
        returned: dict[int, str] = {}
        for question, texts in self._answer(mine, disable_tqdm):
            returned.update(self._close(question, texts))
        returned = self._ranks.union(returned)
        if self._log is not None and self._ranks.rank == 0:
            self._log.merge(self._ranks.size)
        return [returned[place] for place in range(len(requests))]

    def _answer(
        self, questions: Sequence[Question], disable_tqdm: bool
    ) -> Iterator[tuple[Question, list[str]]]:
        """Each question with its finished texts, in the order in which they finish."""
        if self._population.is_stock and not any(_is_sampled(q.request) for q in questions):
            texts = super().generate_until([q.request for q in questions], disable_tqdm)
            for question, text in zip(questions, texts, strict=True):
                yield question, [text] * len(question.draws)
            return
        waiting = {id(q): [None] * len(q.draws) for q in questions}
        progress = tqdm(
            total=sum(len(q.draws) for q in questions),
            disable=disable_tqdm or self._ranks.rank != 0,
            desc=f"Responses of {_most_members(questions)} members",
        )
        for batch in batches(questions, self._rows_per_batch(), self.tok_encode):
            for row, text in zip(batch, self._generate(batch), strict=True):
                texts = waiting[id(row.question)]
                texts[row.draw] = text
                if None not in texts:
                    yield row.question, texts
            progress.update(len(batch))
        progress.close()

    def _generate(self, batch: Sequence[Row]) -> list[str]:
        """One text per row, each of its own member."""
        prompts = [row.question.request.args[0] for row in batch]
        kwargs = normalize_gen_kwargs(batch[0].question.request.args[1], self.max_gen_toks)
        until = handle_stop_sequences(kwargs.pop("until", None), eos=self._end_of_text)
        limit = kwargs.pop("max_gen_toks")
        tokens, mask = self.tok_batch_encode(
            prompts, left_truncate_len=self.max_length - limit, truncation=self.truncation
        )
        max_length = kwargs.pop("max_length", tokens.shape[1] + limit)
        with self._population.members([row.member for row in batch]):
            output = self._model_generate(
                context=tokens.to(self.device),
                attention_mask=mask.to(self.device),
                stop=until,
                max_length=max_length,
                **kwargs,
            )
        return [self._text(row[tokens.shape[1] :], until) for row in output.tolist()]

    def _text(self, tokens: list[int], until: list[str]) -> str:
        """What the stock ``hf`` model type makes of generated tokens."""
        end = self.think_end_token
        if isinstance(end, int) and end in tokens:
            tokens = tokens[len(tokens) - tokens[::-1].index(end) :]
        text = self.tok_decode(tokens)
        if isinstance(end, int):
            text = text.lstrip()
        return postprocess_generated_text(
            generation=text, stop=until, think_end_token=end if isinstance(end, str) else None
        )

    def _close(self, question: Question, texts: list[str]) -> dict[int, str]:
        """What the harness gets at each place of a finished question; its members are logged."""
        verdict = judge(question, texts, self.population_config.extractor)
        if self._log is not None:
            self._log.write(verdict.line())
        if question.wants_all:
            return {place: texts[copy % len(texts)] for copy, place in enumerate(question.places)}
        return dict.fromkeys(question.places, texts[verdict.vote.chosen])

    @property
    def _end_of_text(self) -> str:
        return self.tok_decode(self.eot_token_id, skip_special_tokens=False)

    def _rows_per_batch(self) -> int:
        if self.batch_size == "auto":
            return int(self._detect_batch_size())
        return int(self.batch_size)

    def _check_generation(self, questions: Sequence[Question]) -> None:
        """Refuse generation arguments that cannot work, before the first batch."""
        different = {generation_key(q.request.args[1]): q for q in questions}
        for question in different.values():
            arguments = normalize_gen_kwargs(question.request.args[1], self.max_gen_toks)
            limit = arguments["max_gen_toks"]
            if not 1 <= limit < self.max_length:
                raise UserError(
                    f"max_gen_toks: must be at least 1 and less than the model's context of "
                    f"{self.max_length} tokens, but {question.request.task_name} asks for {limit}; "
                    "use --gen_kwargs max_gen_toks=1024"
                )
            for name in ("num_beams", "num_return_sequences"):
                if arguments.get(name, 1) != 1:
                    raise UserError(
                        f"{name}: must be 1 under a population, got {arguments[name]}: a row "
                        "belongs to one member; use the task's repeats, or members="
                    )

    # ------------------------------------------------------------ loglikelihood
    def loglikelihood(
        self, requests: list[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Posterior predictive over the members: (log mean likelihood, majority is greedy)."""
        of_member = self._by_member(super().loglikelihood, requests, disable_tqdm)
        return [
            (log_mean([value for value, _ in each]), sum(g for _, g in each) * 2 > len(each))
            for each in of_member
        ]

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Posterior predictive of whole documents: log of the members' mean likelihood."""
        of_member = self._by_member(super().loglikelihood_rolling, requests, disable_tqdm)
        return [log_mean(each) for each in of_member]

    def _by_member(self, score: Any, requests: list[Any], disable_tqdm: bool) -> list[list[Any]]:
        """``score`` of each request under each member, shape (requests, members)."""
        first: dict[int, int] = {}  # repeats of a request are scored once
        for place, request in enumerate(requests):
            first.setdefault(id(request), place)
        distinct = [Question(requests[p], [], False, [p]) for p in first.values()]
        mine = share_of_rank(distinct, self._ranks.rank, self._ranks.size)
        scores: dict[int, list[Any]] = {question.places[0]: [] for question in mine}
        members = 1 if self._population.is_stock else self.population_config.vote_members
        for member in range(members if mine else 0):
            with self._bound(member):
                values = score(
                    [question.request for question in mine],
                    disable_tqdm=disable_tqdm or self._ranks.rank != 0,
                )
            for question, value in zip(mine, values, strict=True):
                scores[question.places[0]].append(value)
        scores = self._ranks.union(scores)
        if self._log is not None and self._ranks.rank == 0:
            for question in distinct:
                self._log.write(likelihood_line(question.request, scores[question.places[0]]))
        return [scores[first[id(request)]] for request in requests]

    @contextmanager
    def _bound(self, member: int | None) -> Iterator[None]:
        """Every row of the model calls within is answered by ``member``; None: by the model."""
        outer, self._bound_member = self._bound_member, member
        try:
            yield
        finally:
            self._bound_member = outer

    def _model_call(self, inps: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self._bound_member is None:
            return super()._model_call(inps, *args, **kwargs)
        with self._population.members([self._bound_member] * inps.shape[0]):
            return super()._model_call(inps, *args, **kwargs)

    def _detect_batch_size(self, *args: Any, **kwargs: Any) -> Any:
        with self._bound(None):
            return super()._detect_batch_size(*args, **kwargs)

    # ----------------------------------------------------------------- reporting
    def _note_use(self, question: Question) -> None:
        config = self.population_config
        kind = answer_kind(question, config.extractor)
        task = self._used.setdefault(str(question.request.task_name), {"answers": []})
        task["members"] = len({member for member, _ in question.draws})
        task["samples"] = len({sample for _, sample in question.draws})
        task["returned"] = "all" if question.wants_all else config.aggregate
        if kind not in task["answers"]:
            task["answers"].append(kind)

    def get_model_info(self) -> dict[str, Any]:
        """What the harness writes into the results file, with what the population really was."""
        config, population = self.population_config, self._population
        used = {
            "version": __version__,
            "noise_scheme": NOISE_SCHEME,
            "answers_scheme": ANSWERS_SCHEME,
            "sigma": population.sigma,
            "mu": population.mu,
            "prior": population.prior,
            "noise": population.noise,
            "norms": population.norms,
            "norms_matched": len(population.layers),
            "seed": population.seed,
            "members": config.members or DEFAULT_MEMBERS,
            "aggregate": config.aggregate,
            "processes": self._ranks.size,
            "tasks": self._used,
        }
        return {**super().get_model_info(), "btrans": used}


def _population(model: torch.nn.Module, config: PopulationConfig) -> Population:
    return Population(
        model,
        sigma=config.sigma,
        mu=config.mu,
        prior=config.prior,
        noise=config.noise,
        norms=config.norms,
        seed=config.seed,
    )


def _is_sampled(request: Any) -> bool:
    return bool(normalize_gen_kwargs(request.args[1])["do_sample"])


def _most_members(questions: Sequence[Question]) -> int:
    return max((len({member for member, _ in q.draws}) for q in questions), default=0)
