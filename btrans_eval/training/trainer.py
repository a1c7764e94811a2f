"""trl's GRPO trainer, in which every rollout has a member of its own.

Two private methods of trl are overridden, both by calling it and adding to what it returns:
``_generate_and_score_completions`` (members go with their rows) and ``_generate_single_turn``
(generation is followed, and rows end where the task says). One is called,
``_get_per_token_logps_and_entropies``. Another release of trl is refused by number;
tests/training fails where one of them changed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer

from btrans_eval.config import PopulationConfig
from btrans_eval.errors import UserError
from btrans_eval.population import calibrate
from btrans_eval.population.norms import unwrap
from btrans_eval.population.population import Population
from btrans_eval.training import checkpoints, learned_noise, refusals
from btrans_eval.training.onpolicy import difference, importance, padded, refuse_apart
from btrans_eval.training.rollouts import Rollouts
from btrans_eval.training.sampler import Likelihoods, RowEnds, Watch, seen

_LEARNED_BY = (
    "members", "update", "schedule", "sigma_end", "weight_limit", "learn", "noise_learning_rate",
)  # fmt: skip
"""Of `Rollouts`, what changes what is learned."""


class BTransGRPOTrainer(GRPOTrainer):
    """GRPO (arXiv 2402.03300) in which a rollout is answered, and updated, under its own member.

    Takes what ``trl.GRPOTrainer`` takes, and:

    Args:
        population: whose members answer; a `PopulationConfig`, or a `Population` of the model.
            Without noise it is trl's own trainer, bit for bit.
        rollouts: how rollouts are members.
        extra_votes: responses to each prompt that are generated beside its group and not trained
            on, for rewards that are votes; `votes` has them.
        watch: makes a new judge of whether a response is done with its last token, for each row;
            None: only end tokens and ``max_completion_length`` end it.

    Attributes:
        population: with sigma as a number.
        calibration: how it was found, or None.
        learned: the noise that learns by reward, or None.
        members: of the rows that are being generated, or were last.
        votes: tokens of what else was generated for each of their prompts.

    Raises:
        UserError: on an argument that members cannot be had with, before the model is loaded; in
            training, if what is updated is not what generated.
    """

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: Any = None,
        *others: Any,
        population: PopulationConfig | Population,
        rollouts: Rollouts | None = None,
        watch: Callable[[], Watch] | None = None,
        extra_votes: int = 0,
        **given: Any,
    ) -> None:
        refusals.check_trl()
        self.rollouts = rollouts or Rollouts()
        if args is not None:
            refusals.check_arguments(args, self.rollouts, {**given, "watch": watch})
        refusals.check_population(population)
        super().__init__(model, reward_funcs, args, *others, **given)
        if args is None:  # what trl chose
            refusals.check_arguments(self.args, self.rollouts, {**given, "watch": watch})
        self.calibration: dict[str, Any] | None = None
        self.population = self._populate(population)
        refusals.check_model(self.model, self.population.layers)
        refusals.check_reference(self.ref_model, self.population, self.rollouts)
        self.learned = learned_noise.begun(self.population, self.rollouts, self)
        if self.learned is not None:
            self.add_callback(self.learned)  # before the marks: a marked checkpoint has its noise
        self._watch, self._extra_votes = watch, extra_votes
        self.votes: list[list[list[int]]] = []
        self._generations = 0  # that were begun in this run, with those before a checkpoint
        self._answering: Population | None = None  # while rollouts of a clean update generate
        self._is_followed = False
        self.members: list[int] = []
        self._likelihoods: list[list[float]] = []
        self._scaled: tuple[float, Population] = (1.0, self.population)
        self._binding = ExitStack()
        self._noted: dict[str, list[float]] = defaultdict(list)
        self.add_callback(checkpoints.Marks(self._facts))

    def _populate(self, population: PopulationConfig | Population) -> Population:
        if isinstance(population, Population):
            return population
        tokenizer = getattr(self.processing_class, "tokenizer", self.processing_class)
        found = calibrate.resolve(unwrap(self.model), tokenizer, population)
        self.calibration = found[2]
        return calibrate.population_of(self.model, population, found)

    def train(self, resume_from_checkpoint: Any = None, *others: Any, **given: Any) -> Any:
        """As trl's; a checkpoint that was not finished is never resumed from."""
        if resume_from_checkpoint is True:
            resume_from_checkpoint = checkpoints.latest(Path(str(self.args.output_dir)))
            if resume_from_checkpoint is None:
                raise UserError(
                    f"resume_from_checkpoint: {self.args.output_dir} has no finished checkpoint; "
                    "leave it out to begin"
                )
        if resume_from_checkpoint:
            found = checkpoints.read(Path(resume_from_checkpoint), self._facts())
            self._generations = found["generations"]
            if self.learned is not None:
                self.learned.restore(Path(resume_from_checkpoint))
        return super().train(resume_from_checkpoint, *others, **given)

    def _facts(self) -> dict[str, Any]:
        """What a checkpoint must agree in, and how far it is."""
        return {
            "noise_sha256": self.population.digest(),
            "seed": self.population.seed,
            **{name: getattr(self.rollouts, name) for name in _LEARNED_BY},
            "generations": self._generations,
        }

    # ------------------------------------------------------------- generation
    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        is_training = self.model.training
        group = self.num_generations if is_training else self.num_generations_eval
        generation = self._generations if is_training else 0
        every = len(inputs) * self.accelerator.num_processes
        first = generation * every + self.accelerator.process_index * len(inputs)
        fixed = self.rollouts if is_training else Rollouts(members="fixed")
        population = self._at(generation)
        extra = self._extra_votes if is_training else 0
        self.votes = self._vote(inputs, first, group, population) if extra else []
        self.members = fixed.numbered(first, len(inputs), group, extra)
        is_clean = is_training and self.rollouts.update == "clean"
        self._answering = population if is_clean else None
        is_noisy = is_training and not population.is_stock
        checks = is_noisy and self._is_due(generation)
        self._is_followed = checks or (is_noisy and is_clean)
        with nullcontext() if is_clean else population.windows(self.members):
            output: dict[str, Any] = super()._generate_and_score_completions(inputs)
            if checks and not is_clean:
                self._check(output, generation)
        if is_training:
            self._generations += 1
        if is_noisy and is_clean:
            if checks:
                with population.windows(self.members):
                    self._check(output, generation)
            self._correct(output)
        device = output["completion_ids"].device
        output["member"] = torch.tensor(self.members, device=device)
        output["generation"] = torch.full_like(output["member"], generation)
        return output

    def _vote(
        self, inputs: Sequence[dict[str, Any]], first: int, group: int, population: Population
    ) -> list[list[list[int]]]:
        """Responses that are not trained on, of each prompt."""
        if len(inputs) % group:
            raise UserError(
                f"extra_votes: a process must hold whole groups of {group}, got {len(inputs)} rows"
            )
        extra, prompts = self._extra_votes, [row["prompt"] for row in inputs[::group]]
        members = self.rollouts.untrained(first // group, len(prompts), group, extra)
        tokens = self.processing_class(text=prompts)["input_ids"]
        asked = [tokens[place // extra] for place in range(len(members))]
        found: list[list[int]] = []
        self._answering, self._is_followed = population, False
        for start in range(0, len(asked), len(inputs)):  # no more at once than are trained on
            rows = slice(start, start + len(inputs))
            self.members = members[rows]
            found += self._generate_single_turn(asked[rows], None, {}, extra)[0]
        return [found[start : start + extra] for start in range(0, len(found), extra)]

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        answering = self._answering
        likelihoods = Likelihoods(self.temperature) if self._is_followed else None
        ends = None
        if self._watch is not None:
            ends = RowEnds([self._watch() for _ in self.members])
        with (
            nullcontext() if answering is None else answering.members(self.members),
            seen(unwrap(self.model), likelihoods, ends),
        ):
            completions, logprobs = super()._generate_single_turn(*args, **kwargs)
        if ends is not None:
            completions = [row[: len(end)] for row, end in zip(completions, ends.said, strict=True)]
        if likelihoods is not None:
            self._likelihoods = likelihoods.of(completions)
        return completions, logprobs

    def _at(self, generation: int) -> Population:
        """The population with its noise as it is at a generation."""
        if self.learned is not None:
            return self.learned.population
        generations = -(-self.state.max_steps * self.args.gradient_accumulation_steps
                        // (self.args.steps_per_generation * self.num_iterations))  # fmt: skip
        factor = self.rollouts.factor(generation, generations)
        if factor == 1.0:
            return self.population
        if self._scaled[0] != factor:  # its members' noise is kept
            self._scaled = factor, self.population.times(factor)
        return self._scaled[1]

    # ------------------------------------------------- what generated and what is updated
    def _is_due(self, generation: int) -> bool:
        every = self.rollouts.check_every
        return bool(every) and generation % every == 0

    def _check(self, output: dict[str, Any], generation: int) -> None:
        """Stop where the pass that is updated differs from the one that generated."""
        apart = difference(
            self._passed(output),
            padded(self._likelihoods, output["completion_ids"]),
            output["completion_mask"],
        )
        found = float(self.accelerator.gather(apart).mean())
        self._noted["on_policy_difference"].append(found)
        is_mixed = self.args.bf16 or self.args.fp16
        refuse_apart(found, torch.bfloat16 if is_mixed else self.model.dtype, generation)

    def _correct(self, output: dict[str, Any]) -> None:
        """Truncated importance weights of a clean update, on the advantage of each token.

        A loss of trl is linear in a positive factor of the advantage, but for its KL term, which
        stays as it is.
        """
        sampled = padded(self._likelihoods, output["completion_ids"])
        mask, limit = output["completion_mask"], self.rollouts.weight_limit
        weights, noted = importance(self._passed(output), sampled, mask, limit)
        output["advantages"] = output["advantages"][:, None] * weights
        for name, value in noted.items():
            self._noted[name].append(value)

    @torch.no_grad()
    def _passed(self, output: dict[str, Any]) -> Tensor:
        """The same from a pass over the finished rows, under whatever binds the model."""
        tokens = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
        mask = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
        found, _, _ = self._get_per_token_logps_and_entropies(
            self.model, tokens, mask, output["completion_ids"].size(1),
            batch_size=self.args.per_device_train_batch_size,
        )  # fmt: skip
        passed: Tensor = found.float()
        return passed

    # ------------------------------------------------------------------- the update
    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """As trl's; rows are bound to their members until after the backward pass.

        Under gradient checkpointing layers run again there, and nothing would tell if noise was
        gone by then.
        """
        with self._binding:
            return super().training_step(*args, **kwargs)

    def prediction_step(self, *args: Any, **kwargs: Any) -> Any:
        """As trl's, under members 0 to G - 1 of each group."""
        with self._binding:
            return super().prediction_step(*args, **kwargs)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """As trl's, with the noise that learns in a group of its own."""
        is_new = self.optimizer is None
        optimizer = super().create_optimizer(*args, **kwargs)
        if is_new and self.learned is not None:
            optimizer.add_param_group(self.learned.parameters())
        return optimizer

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As trl's, of rows that are bound to their members; who calls it lets them go."""
        members = inputs["member"].tolist()
        if self.learned is not None:
            self._binding.enter_context(self.learned.members(members))
        elif self.rollouts.update == "member" or not self.model.training:
            population = self._at(int(inputs["generation"][0]))
            self._binding.enter_context(population.members(members))
        return super().compute_loss(model, inputs, *args, **kwargs)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """As trl's, with what was noted of the members."""
        noted = {name: sum(values) / len(values) for name, values in self._noted.items()}
        self._noted.clear()
        if self.learned is not None:
            noted |= self.learned.figures()
        super().log({**logs, **noted}, *args, **kwargs)
