"""The runs whose outcome must not change: as the commands that a user would give."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace

from place import ADAPTER, LLAMA, TABLE

EVERY_KIND = "stock_number,read_number,stock_letter,stock_latex,stock_text"
EVERY_REQUEST = "population_number,read_number,choice,rolling"
NOTEBOOK = """
import json
import lm_eval
from lm_eval.tasks import TaskManager
from btrans_eval.model_adapters.hf import BTransHF

tasks = TaskManager(include_path="tasks")
for sigma in (0.5, 0.0):
    model = BTransHF("CHECKPOINT", device="cpu", sigma=sigma, batch_size=4, members=3)
    for name in ("stock_latex", "failing", "choice"):
        found = lm_eval.simple_evaluate(model, tasks=[name], task_manager=tasks)
        config = {key: found["config"].get(key) for key in ("btrans", "btrans_scores")}
        del config["btrans"]["version"]
        said = [(each["resps"], each["filtered_resps"]) for each in found["samples"][name]]
        for each in (found["results"], config, *said):
            print(json.dumps(each))
"""


@dataclass(frozen=True)
class Step:
    """One command, in the folder of its run.

    Attributes:
        program: ``lm_eval``, ``btrans-eval`` or ``python``.
        arguments: its arguments; of ``python``, a script.
        stopped_at: (store, number): a signal once so many responses are in the store.
        by: the signal.
        processes: how many share it; more than 1 are started by torchrun.
    """

    program: str
    arguments: tuple[str, ...]
    stopped_at: tuple[str, int] | None = None
    by: int = signal.SIGKILL
    processes: int = 1


@dataclass(frozen=True)
class Run:
    """Steps that are done one after another in a folder of their own."""

    steps: tuple[Step, ...]

    def of(self, checkpoint: str) -> Run:
        """The same run of a checkpoint."""
        return Run(
            tuple(
                replace(
                    step,
                    arguments=tuple(
                        each.replace("CHECKPOINT", checkpoint) for each in step.arguments
                    ),
                )
                for step in self.steps
            )
        )


def evaluate(
    tasks: str,
    *flags: str,
    out: str = "files",
    program: str = "lm_eval",
    size: int = 4,
    **own: object,
) -> Step:
    """One evaluation; ``own``: arguments of the model type, on top of the usual ones."""
    given = {"pretrained": "CHECKPOINT", "sigma": 0.5, **own}
    model_args = ",".join(f"{name}={value}" for name, value in given.items())
    return Step(
        program,
        (
            *("run", "--model", "btrans-hf", "--model_args", model_args, "--tasks", tasks),
            *("--include_path", "tasks", "--device", "cpu", "--batch_size", str(size)),
            *("--output_path", out, "--log_samples", *flags),
        ),
    )


def btrans(*arguments: str) -> Step:
    """Another command of ours."""
    return Step("btrans-eval", arguments)


def _sharded() -> Run:
    tasks, own = "population_sampled,stock_text,choice,rolling", {"members": 4}
    parts = [
        evaluate(
            tasks, "--store", f"{part}.db", "--shard", f"{part}/2", program="btrans-eval", **own
        )
        for part in (1, 2)
    ]
    merged = ("--store", "all.db")
    return Run(
        (
            *parts,
            btrans("store", "merge", "all.db", "1.db", "2.db"),
            evaluate(tasks, *merged, program="btrans-eval", out="loaded", **own),
            evaluate(tasks, *merged, "--from_store", program="btrans-eval", out="scored", **own),
        )
    )


def _stopped(by: int, **own: object) -> Run:
    whole = evaluate("many", members=4, store="s.db", **own)
    return Run((replace(whole, stopped_at=("s.db", 9), by=by), whole))


def _compared(*flags: str) -> Run:
    model = "pretrained=CHECKPOINT,sigma=0.5"
    return Run(
        (
            btrans(
                *("compare", "--tasks", "stock_number", "--model_args", model, "--repeats", "4"),
                *("--arms", "stock@T,population", "--temperature", "0.8", "--batch_size", "4"),
                *("--include_path", "tasks", "--output_path", "files", *flags),
            ),
        )
    )


_EVERYWHERE: Mapping[str, Run] = {
    "population": Run(
        (evaluate("population_number,population_letter,population_latex", store="s.db"),)
    ),
    "vote": Run((evaluate(EVERY_KIND, members=8, store="s.db"),)),
    "vote_of_stated_kind": Run(
        (evaluate("stock_text", members=5, extractor="letter", think_end_token="</think>"),)
    ),
    "first": Run((evaluate("read_number,choice", aggregate="first"),)),
    "thoughts": Run((evaluate("stock_number", members=8, think_end_token="</think>"),)),
    "choice": Run((evaluate("choice", members=4, store="s.db"),)),
    "rolling": Run((evaluate("rolling", members=3, store="s.db"),)),
    "stock": Run((evaluate(EVERY_REQUEST, sigma=0, store="s.db"),)),
    "sampled": Run((evaluate("population_sampled,stock_sampled", members=4, store="s.db"),)),
    "sampled_static": Run(
        (evaluate("population_sampled", members=4, store="s.db", batching="static", size=3),)
    ),
    "stock_sampled": Run((evaluate("population_sampled", members=4, sigma=0),)),
    "static": Run((evaluate("population_number,stock_text", batching="static", seed=3, size=3),)),
    "token_noise": Run((evaluate("population_number,choice", noise="token", mu=0.01),)),
    "scaled": Run((evaluate("population_number,choice", prior="scaled", norms="residual"),)),
    "limited": Run((evaluate("read_number", "--limit", "2", members=3),)),
    "sharded": _sharded(),
    "failing": Run((evaluate("failing", store="s.db"),)),
    "killed": _stopped(signal.SIGKILL, batching="static"),
    "notebook": Run((Step("python", (NOTEBOOK,)),)),
    "view": Run(
        (
            evaluate(
                "read_number,stock_latex,choice",
                *("--repeats", "4"),
                program="btrans-eval",
                store="s.db",
            ),
        )
    ),
    "compared": _compared("--no_report"),
}
_CANNED_ONLY: Mapping[str, Run] = {
    "killed_refilling": _stopped(signal.SIGKILL),
    "interrupted": _stopped(signal.SIGTERM),
    "mistakes": Run(
        (
            evaluate("population_number", members=3),
            evaluate("population_number", sigma=-1),
            evaluate("population_number", store="s.db", from_store="true"),
            evaluate("population_number", "--use_cache", "cache"),
            evaluate("population_number", "--gen_kwargs", "temperatur=1"),
            evaluate("population_sampled", "--gen_kwargs", "do_sample=false", members=4),
        )
    ),
}
_MODEL_ONLY: Mapping[str, Run] = {
    "adapter": Run((evaluate("population_number,choice", peft=ADAPTER, store="s.db"),)),
    "embedded": Run((evaluate("population_embedded"),)),
    "auto": Run((evaluate("population_number,choice", sigma="auto", kl=0.05),)),
    "balanced": Run((evaluate("population_number", prior="balanced", sigma="auto"),)),
    "generation_noise": Run((evaluate("population_number,choice", noise_from="generation"),)),
    "bfloat16": Run((evaluate("population_number,choice", dtype="bfloat16"),)),
    "batch_of_auto": Run((evaluate("choice", size="auto", members=3),)),  # type: ignore[arg-type]
    "two_processes": Run((replace(evaluate(EVERY_REQUEST, members=4, store="s.db"), processes=2),)),
    "reported": _compared(),
}
CANNED = {f"canned_{name}": run.of(TABLE) for name, run in {**_EVERYWHERE, **_CANNED_ONLY}.items()}
"""Of `table_model`: their outcome is the same on every machine."""
MODEL = {f"model_{name}": run.of(LLAMA) for name, run in {**_EVERYWHERE, **_MODEL_ONLY}.items()}
"""Of a random Llama: their outcome is the same on one machine."""
RUNS = CANNED | MODEL
