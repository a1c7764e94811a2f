"""A task of the harness as what is trained on: its rows, its prompts and its scores."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.tasks import TaskManager
from lm_eval.utils import handle_non_serializable

from btrans_eval.answers.extract import normalize_text
from btrans_eval.errors import UserError
from btrans_eval.harness.executing import load_without_programs
from btrans_eval.harness.response import Response
from btrans_eval.harness.scoring import PopulationFilter
from btrans_eval.harness.views import view_tasks
from btrans_eval.judged import JudgedResponse

Doc = Mapping[str, Any]
COMMAND = "btrans-eval train"


@dataclass(frozen=True)
class Judged:
    """What a rollout was found to say.

    Attributes:
        response: read and scored by the task.
        score: what rewards it.
    """

    response: JudgedResponse
    score: float


@dataclass(frozen=True)
class Asking:
    """How prompts are made of rows; as the harness's flags."""

    num_fewshot: int | None = None
    apply_chat_template: bool | str = False
    system_instruction: str | None = None
    include_path: str | None = None


class TrainingTask:
    """A generative task, population task or not, as trained on.

    Args:
        name: of the task.
        group: responses of a prompt.
        asking: how prompts are made.
        reward: metric, or filter:metric; None: the only one; ``vote``: votes reward, and the only
            one is logged.

    Raises:
        UserError: if there is no such task, it runs programs, a single response has no score, or
            it could not be trained on as it is evaluated.
    """

    def __init__(
        self, name: str, group: int, asking: Asking | None = None, reward: str | None = None
    ) -> None:
        self.name, self._group, self._asking = name, group, asking or Asking()
        manager = TaskManager(include_path=self._asking.include_path)
        if name not in manager.all_tasks:
            raise UserError(f"task: no task named {name}; lm_eval ls tasks lists them")
        tasks = list(load_without_programs(manager, [name], COMMAND)["tasks"].values())
        if len(tasks) != 1:
            raise UserError(f"task: must be one task, got the group {name} of {len(tasks)}")
        self.task = tasks[0]
        if self.task.OUTPUT_TYPE != "generate_until":
            raise UserError(
                f"task: must be one that generates, but {name} is scored by loglikelihood"
            )
        if self._asking.num_fewshot and self.task.config.num_fewshot == 0:
            raise UserError(
                f"num_fewshot: must be 0 for {name}, which says so itself and is evaluated by the "
                f"harness without examples whatever is asked, got {self._asking.num_fewshot}; "
                "leave it out"
            )
        if self._asking.num_fewshot is not None:
            self.task.set_config("num_fewshot", self._asking.num_fewshot)
        self.task.set_fewshot_seed(1234)  # the harness's own default
        view_tasks([self.task], group, None)
        for pipeline in getattr(self.task, "_filters", ()):
            if hasattr(pipeline, "filters"):  # embedding every rollout would cost more than it
                pipeline.filters = [_without_encoder(part) for part in pipeline.filters]
        self._by_vote = reward == "vote"
        self._reward = None if self._by_vote else reward
        if self._by_vote:
            self._pipeline()  # refused here where it would be later

    # ------------------------------------------------------------------ rows and prompts
    def training_docs(self) -> list[Doc]:
        """The rows of its split for training."""
        if not self.task.has_training_docs():
            raise UserError(
                f"task: {self.name} has no rows for training; name a task with training_split, or "
                "give rows: FILE.jsonl of your own"
            )
        return list(self.task.training_docs())

    def evaluated(self) -> set[str]:
        """The questions that the task is evaluated on."""
        return {self.question(doc) for doc in self.task.eval_docs}

    def own_docs(self, lines: Sequence[str], where: str) -> list[Doc]:
        """Rows of the user's own, processed as the task's; empty lines are none.

        Raises:
            UserError: if a line is no JSON object, or gives no prompt or gold answer.
        """
        found: list[Doc] = []
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                doc = json.loads(line)
                if not isinstance(doc, dict):
                    raise ValueError("it is no JSON object")
                process = self.task.config.process_docs
                if process is not None:
                    import datasets

                    (doc,) = list(process(datasets.Dataset.from_list([doc])))
                self.task.doc_to_text(doc), self.task.doc_to_target(doc)
            except Exception as error:
                raise UserError(
                    f"rows: line {number} of {where} is no row of {self.name} "
                    f"({type(error).__name__}: {error})"
                ) from None
            found.append(doc)
        return found

    def question(self, doc: Doc) -> str:
        """A row's prompt without examples and template, normalized: what makes two rows one."""
        return normalize_text(str(self.task.doc_to_text(doc))) or ""

    def request(self, doc: Doc, doc_id: int, template: Callable[..., str] | None) -> Instance:
        """What the harness would ask a model.

        Args:
            doc: the row.
            doc_id: its number.
            template: renders messages to a prompt; None: no chat template.
        """
        prompt = self.task.fewshot_context(
            doc,
            num_fewshot=self.task.config.num_fewshot or 0,
            system_instruction=self._asking.system_instruction,
            apply_chat_template=template is not None,
            fewshot_as_multiturn=template is not None,
            chat_template=template,
            gen_prefix=self.task.doc_to_prefix(doc),
        )
        made = self.task.construct_requests(
            doc=doc,
            ctx=prompt,
            metadata=(self.name, doc_id, self._group),
            apply_chat_template=template is not None,
            chat_template=template,
        )
        found: Instance = made[0] if isinstance(made, list) else made
        return found

    # ------------------------------------------------------------------------- scores
    def judge(
        self, docs: Sequence[Doc], groups: Sequence[Sequence[Response]]
    ) -> list[list[Judged]]:
        """Answers and scores of each row's responses, by the task's own filters and metrics."""
        instances = [
            Instance("generate_until", dict(doc), ("", {}), 0, (self.name, place, self._group))
            for place, doc in enumerate(docs)
        ]
        for instance, texts in zip(instances, groups, strict=True):
            instance.resps = list(texts)
        self.task._instances = instances
        pipeline = self._pipeline()
        pipeline.apply(instances)
        return [
            [self._rewarded(one) for one in instance.filtered_resps[pipeline.name].responses]
            for instance in instances
        ]

    def _pipeline(self) -> Any:
        named = {pipeline.name: pipeline for pipeline in self.task._filters}
        wanted = (self._reward or "").rpartition(":")[0]
        if wanted in named:
            return named[wanted]
        if self._by_vote and len(named) > 1:
            raise self._no_votes(f"has the filters {', '.join(named)}")
        if wanted or len(named) > 1:
            raise UserError(
                f"reward: {self.name} has the filters {', '.join(named)}, got {self._reward!r}; "
                f"for example reward: {next(iter(named))}:METRIC"
            )
        return next(iter(named.values()))

    def _no_votes(self, but: str) -> UserError:
        return UserError(
            f"reward: vote needs a task with one filter and one metric, but {self.name} {but}; "
            "name a task of your own (include_path) with one of each"
        )

    def _rewarded(self, response: JudgedResponse) -> Judged:
        scores = response.scores
        wanted = (self._reward or "").rpartition(":")[2]
        if not wanted and len(scores) == 1:
            wanted = next(iter(scores))
        if self._by_vote and len(scores) > 1:
            raise self._no_votes(f"scores a response by {', '.join(scores)}")
        if wanted not in scores:
            raise UserError(
                f"reward: {self.name} scores a response by {', '.join(scores) or 'nothing'}, got "
                f"{self._reward!r}; name one of them"
            )
        if not self.task.higher_is_better().get(wanted, True):
            raise UserError(
                f"reward: {wanted} of {self.name} is better the less it is, and would be learned "
                "the wrong way; name another metric"
            )
        return Judged(response, float(scores[wanted]))


def check_evaluated(names: Sequence[str], asking: Asking) -> None:
    """Refuse, before anything is trained, tasks that could not be evaluated after it.

    Args:
        names: of tasks or groups.

    Raises:
        UserError: if there is none of a name, or it runs programs.
    """
    if not names:
        return
    manager = TaskManager(include_path=asking.include_path)
    for name in names:
        if name not in manager.all_tasks:
            raise UserError(f"evaluation: no task or group named {name}; lm_eval ls tasks has them")
        load_without_programs(manager, [name], COMMAND)


def _without_encoder(part: Any) -> Any:
    if part.func is not PopulationFilter:
        return part
    return functools.partial(part.func, *part.args, **{**part.keywords, "encoder": None})


def row_hash(doc: Doc) -> str:
    """Hex digest of a row, as it stands in the results."""
    text = json.dumps(
        dict(doc), default=handle_non_serializable, ensure_ascii=False, sort_keys=True
    )
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def generation_arguments(request: Instance, limit: int | None) -> Instance:
    """The request with at most so many tokens; None: as the task says."""
    if limit is None:
        return request
    prompt, arguments = request.args
    changed = deepcopy(request)
    changed.arguments = (prompt, {**arguments, "max_gen_toks": limit})
    return changed
