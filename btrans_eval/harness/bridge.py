"""What lm_eval 0.4.13 has no entry points for, added when the module named is imported.

Each function is called once by ``btrans_eval._autoload`` with the freshly imported module.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

from btrans_eval.config import PopulationConfig, split_arguments
from btrans_eval.errors import UserError

MODELS = {
    "btrans-hf": "btrans_eval.model_adapters.hf:BTransHF",
    "btrans-vllm": "btrans_eval.model_adapters.vllm:BTransVLLM",
}
_SCORES = "btrans_scores"
FILTERS = {"btrans_population": "btrans_eval.harness.scoring:PopulationFilter"}


def register_models(models: ModuleType) -> None:
    """``lm_eval.models``: add our model types, unless the harness finds them itself.

    Harnesses after 0.4.13 load the entry points of the group ``lm_eval.models``.
    """
    _register("model_registry", MODELS)


def register_filters(filters: ModuleType) -> None:
    """``lm_eval.filters``: add our filters, unless the harness finds them itself."""
    _register("filter_registry", FILTERS)


def _register(registry_name: str, targets: dict[str, str]) -> None:
    from lm_eval.api import registry

    if hasattr(registry, "load_plugins"):
        return
    known = getattr(registry, registry_name)
    for name, target in targets.items():
        if name not in known:
            known.register(name, target=target)


def show_tasks(manager: Any) -> None:
    """``lm_eval.tasks.manager``: list our tasks after the harness's own and before the user's."""
    original = manager.TaskManager.__init__
    signature = inspect.signature(original)

    @functools.wraps(original)
    def init(*args: Any, **kwargs: Any) -> None:
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        given = call.arguments["include_path"]
        if call.arguments["include_defaults"]:
            listed = list(given) if isinstance(given, (list, tuple)) else [given] if given else []
            # later paths win, so a user's task of the same name does
            call.arguments["include_path"] = [tasks_folder(), *listed]
        original(*call.args, **call.kwargs)

    manager.TaskManager.__init__ = init
    load = manager.TaskManager.load

    @functools.wraps(load)
    def load_and_check(*args: Any, **kwargs: Any) -> Any:
        from btrans_eval.harness.checks import check_tasks, missing_fields_explained

        with missing_fields_explained():
            loaded = load(*args, **kwargs)
            check_tasks(loaded["tasks"].values())
        return loaded

    manager.TaskManager.load = load_and_check


def tasks_folder() -> Path:
    """Where our task files lie."""
    spec = importlib.util.find_spec("btrans_eval.tasks")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("btrans_eval.tasks is not installed")
    return Path(next(iter(spec.submodule_search_locations))).resolve()


def prepare_run(evaluate_config: ModuleType) -> None:
    """``lm_eval.config.evaluate_config``: check what a run of ours was asked to do."""
    original = evaluate_config.EvaluatorConfig.from_cli.__func__

    @functools.wraps(original)
    def from_cli(cls: type, namespace: Any) -> Any:
        run = original(cls, namespace)
        if run.model in MODELS:
            check_run(run)
        return run

    evaluate_config.EvaluatorConfig.from_cli = classmethod(from_cli)


def check_run(run: Any) -> None:
    """Refuse what the model could only refuse later, and say where responses go.

    Args:
        run: the harness's ``EvaluatorConfig``; a path for the responses of all members is added
            to its model arguments where samples are logged.
    """
    from btrans_eval.harness import command
    from btrans_eval.store.store import Store

    own, _ = split_arguments(run.model_args)
    config = PopulationConfig(**own)
    if config.store is not None and os.path.exists(config.store):
        Store(config.store).close()
    if run.use_cache:
        refuse_cache()
    if (run.cache_requests or {}).get("cache_requests"):
        refuse_cached_requests()
    command.begin(config.store, run.gen_kwargs or {})
    if config.shard is None and run.log_samples and run.output_path and not config.responses:
        folder = Path(run.output_path)
        folder = folder.parent if folder.suffix == ".json" else folder
        stamp = time.strftime("%Y-%m-%dT%H-%M-%S")
        run.model_args["responses"] = str(folder / f"members_{stamp}_{os.getpid()}.jsonl")


def refuse_cache_hook(hook: Any) -> None:
    """Refuse the harness's response cache where it comes as a hook.

    Raises:
        UserError: unless the hook caches nothing.
    """
    if getattr(hook, "dbdict", None) is not None:
        refuse_cache()


def refuse_cache() -> None:
    """The harness's response cache keys on the prompt alone.

    It would give one member's text to all, and one sigma's or seed's texts to another run.
    """
    raise UserError(
        "use_cache: the harness's cache cannot tell members, sigmas or seeds apart; "
        "drop --use_cache"
    )


def refuse_cached_requests() -> None:
    """The harness's cache of requests would give a task the requests of another run."""
    raise UserError(
        "cache_requests: the harness's cache of requests does not know repeats or generation "
        "arguments; drop --cache_requests (in Python cache_requests=)"
    )


def note_scoring(evaluator: Any) -> None:
    """``lm_eval.evaluator``: write how responses were scored, and what failed, into the results."""
    simple, inner = evaluator.simple_evaluate, evaluator.evaluate
    asked = inspect.signature(simple)

    @functools.wraps(simple)
    def simple_evaluate(*args: Any, **kwargs: Any) -> Any:
        from btrans_eval.harness.quiet import hushed

        given = asked.bind_partial(*args, **kwargs).arguments
        model = given.get("model")
        is_ours = model in MODELS if isinstance(model, str) else hasattr(model, "runner")
        if is_ours and given.get("cache_requests"):
            refuse_cached_requests()
        flags = given.get("gen_kwargs") or ""  # a dict, or name=value,name=value
        names = flags if isinstance(flags, dict) else re.findall(r"(\w+)\s*=", str(flags))
        with hushed(names, _model_arguments(given)) if is_ours else nullcontext():
            results = simple(*args, **kwargs)
        taken = results and results.pop(_SCORES, None)
        if taken:
            results["config"][_SCORES] = taken
        return results

    @functools.wraps(inner)
    def evaluate(lm: Any, task_dict: Any, *args: Any, **kwargs: Any) -> Any:
        from btrans_eval.harness import checks, doubts, executing, failures, part, record

        if "tasks" not in task_dict:  # as get_task_dict gives them
            groups, tasks = evaluator._handle_back_comp(task_dict)
            task_dict = {"groups": groups, "tasks": tasks}
        tasks = task_dict["tasks"].values()
        runner = getattr(lm, "runner", None)
        with record.begun(runner and runner.judge) as run:
            run.judge.forget()
            executing.prepare(tasks, bool(kwargs.get("confirm_run_unsafe_code")))
            if runner is not None:
                runner.likelihoods.said.clear()  # of requests that may be gone
                checks.check_run_of(lm, tasks)
            failures.watch(tasks, runner is not None, lambda: record.current().failures)
            with part.ended_before_scoring(lm, tasks):
                results = inner(lm, task_dict, *args, **kwargs)
        taken = {**run.notes, **run.failures.summary()}
        if results is not None and runner is not None and runner.ranks.size == 1:
            sure = doubts.of_tasks(tasks, runner.likelihoods.said)
            taken |= {"likelihoods": sure} if sure else {}
        if results is not None and taken:
            results[_SCORES] = taken
        return results

    evaluator.simple_evaluate, evaluator.evaluate = simple_evaluate, evaluate
    evaluator.get_git_commit_hash = _only_in_a_repository(evaluator.get_git_commit_hash)


def _model_arguments(given: Mapping[str, Any]) -> list[str]:
    """Names of the model arguments that ``simple_evaluate`` was given."""
    flags = given.get("model_args") or {}  # text names no loaded model
    named = [name for name in ("device",) if given.get(name) is not None]
    return [*named, *(flags if isinstance(flags, dict) else ())]


def _only_in_a_repository(commit: Callable[[], str | None]) -> Callable[[], str | None]:
    """``commit``, that is not asked where git would print that there is no repository."""

    @functools.wraps(commit)
    def found() -> str | None:
        try:
            asked = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True)
        except OSError:  # no git
            return commit()
        return None if asked.returncode else commit()

    return found


def explain_errors(run: ModuleType) -> None:
    """``lm_eval._cli.run``: end a run of ours with one line and its exit code."""
    original = run.Run._execute

    @functools.wraps(original)
    def execute(args: Any) -> None:
        from btrans_eval.harness import command

        command.run(original, args)

    run.Run._execute = staticmethod(execute)
