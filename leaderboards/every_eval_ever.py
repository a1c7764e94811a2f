"""Every Eval Ever: one log per model and task, with every response beside it.

All of a task's numbers stand in one log: a log with the vote alone could be read, by programs
that take a log's only score for the model's score, as a single answer's accuracy.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from btrans_eval.leaderboards import facts
from btrans_eval.leaderboards.every_eval_ever_rows import result_id, rows
from btrans_eval.leaderboards.evidence import Evidence, Side, TaskEvidence
from btrans_eval.leaderboards.numbers import Number
from btrans_eval.leaderboards.options import ExportOptions, is_hub_id

SCHEMA_VERSION = "0.3.0"
_METRICS = {
    "mean": ("btrans.mean_at_k", "mean_score"),
    "maj": ("btrans.maj_at_k", "majority_vote"),
    "pass": ("pass_at_k", "pass_rate"),
    "brier": ("btrans.vote_brier", "vote_brier_score"),
    "ece": ("btrans.vote_ece", "calibration_error"),
}
"""Id and family. Only pass@k has an id that others use; no family is "accuracy", which the store
averages over logs, nor "brier_score", which there sums over choices and goes up to 2."""
_ENGINES = {"btrans-hf": "transformers", "hf": "transformers"}


def files(evidence: Evidence, options: ExportOptions) -> dict[str, str]:
    """Of each task the population's log and its stock model's, each with its responses."""
    found: dict[str, str] = {}
    for task in evidence.tasks:
        for side, model in (
            (task.population, options.model_id),
            (task.stock, options.base_model_id),
        ):
            found |= _log_files(task, side, model, evidence, options)
    return found


def _log_files(
    task: TaskEvidence, side: Side, model: str, evidence: Evidence, options: ExportOptions
) -> dict[str, str]:
    log = _log(task, side, model, evidence, options)
    lines = _jsonl(rows(task, side, model, log["evaluation_id"], SCHEMA_VERSION))
    place = f"data/{_portable(task.name)}/{model}/{_uuid4(_json(log) + lines)}"
    log["detailed_evaluation_results"] = {
        "format": "jsonl",
        "file_path": f"{place}_samples.jsonl",
        "hash_algorithm": "sha256",
        "checksum": hashlib.sha256(lines.encode()).hexdigest(),
        "total_rows": lines.count("\n"),
    }
    return {f"{place}.json": _json(log), f"{place}_samples.jsonl": lines}


def _log(
    task: TaskEvidence, side: Side, model: str, evidence: Evidence, options: ExportOptions
) -> dict[str, Any]:
    time = str(facts.timestamp(side))
    found = facts.settings(task, side, evidence)
    return {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": f"{task.name}/{model}/{time}",
        "evaluation_timestamp": time,
        "retrieved_timestamp": time,
        "source_metadata": {
            "source_name": "btrans-eval",
            "source_type": "evaluation_run",
            "source_organization_name": str(options.organization),
            "evaluator_relationship": options.relationship,
            "additional_details": _strings({"source_url": options.source_url}),
        },
        "model_info": _model(task, side, model, options, found),
        "eval_library": {
            "name": "lm_eval",
            "version": str(side.arm.run.results.get("lm_eval_version") or "unknown"),
            "additional_details": _strings(
                {
                    "plug_in": "btrans-eval",
                    **{
                        name: value
                        for name, value in found.items()
                        if name.endswith(("_version", "_scheme")) or "btrans_eval" in name
                    },
                }
            ),
        },
        "evaluation_results": [
            _result(task, side, number, options, found) for number in side.published.values()
        ],
    }


def _model(
    task: TaskEvidence, side: Side, model: str, options: ExportOptions, found: Mapping[str, Any]
) -> dict[str, Any]:
    engine = _ENGINES.get(str(side.arm.run.config.get("model")))
    noise = (
        "sigma", "mu", "prior", "noise", "noise_from", "norms", "norms_matched", "seed", "members",
    )  # fmt: skip
    info: dict[str, Any] = {
        "name": f"{model} ({found['source_of_responses']})",
        "id": model,
        "developer": model.partition("/")[0],
        "additional_details": {
            "deployment_type": "self_deployed" if engine else "unknown",
            "model_availability": options.availability,
            **_strings(
                {
                    "is_population": side.is_population,
                    "base_model": options.base_model_id if side.is_population else None,
                    "same_model_without_noise_as": None if side.is_population
                    else options.model_id,
                    "model_type_in_lm_eval": found.get("model_type"),
                    "model_sha": found.get("model_sha"),
                    "model_dtype": found.get("model_dtype"),
                    **{name: found.get(name) for name in noise},
                }
            ),
        },
    }  # fmt: skip
    if engine:
        version = side.arm.run.results.get("transformers_version")
        info["inference_engine"] = {"name": engine, "version": str(version or "unknown")}
    return info


def _result(
    task: TaskEvidence, side: Side, number: Number, options: ExportOptions, found: Mapping[str, Any]
) -> dict[str, Any]:
    metric_id, family = _METRICS[number.kind]
    return {
        "evaluation_result_id": result_id(task, number),
        "evaluation_name": f"{task.name}, {number.title}",
        "source_data": _source_data(task),
        "evaluation_timestamp": str(facts.timestamp(side)),
        "metric_config": {
            "evaluation_description": number.meaning,
            "metric_id": metric_id,
            "metric_name": number.title,
            "metric_kind": family,
            "metric_unit": "proportion",
            "metric_parameters": {
                "k": number.k,
                "n": number.n,
                "estimator": number.estimator,
                "calls_per_answer": number.k,
                "source_of_responses": found["source_of_responses"],
                "tie_rule": facts.TIES,
                "invalid_answer_rule": facts.INVALID,
                **facts.of_calibration(number),
            },
            "lower_is_better": number.lower_is_better,
            "score_type": "continuous",
            "min_score": 0,
            "max_score": 1,
        },
        "score_details": {
            "score": number.value,
            "details": _strings(_details(task, side, number, options)),
            "uncertainty": _uncertainty(number),
        },
        "generation_config": _generation(task, side, found),
    }


def _details(
    task: TaskEvidence, side: Side, number: Number, options: ExportOptions
) -> dict[str, Any]:  # fmt: skip
    """The other model's number at equal K, how far the two are apart, and what rows say of it."""
    other = task.stock if side.is_population else task.population
    name = "stock_model" if side.is_population else "population"
    pair = task.differences.get(number.kind, {})
    has_rows = number.kind in side.numbers
    return {
        name: options.base_model_id if side.is_population else options.model_id,
        f"{name}_score_same_k": other.published[number.kind].value,
        f"{name}_responses": facts.source(task, other),
        "stock_model_greedy_score_1_call": None
        if task.greedy is None or not has_rows
        else task.greedy.numbers["mean"].value,
        "population_minus_stock": pair.get("difference"),
        "population_minus_stock_low": pair.get("low"),
        "population_minus_stock_high": pair.get("high"),
        "population_minus_stock_p": pair.get("p"),
        "is_correct_in_samples": number.is_correct_rule if has_rows else None,
        "in_samples": None
        if has_rows
        else f"no rows of its own: in those of maj@{number.n} vote_share is the confidence and the "
        "score the credit",
        **side.rates,
    }


def _uncertainty(number: Number) -> dict[str, Any]:
    found: dict[str, Any] = {"num_samples": number.questions}
    if number.stderr is not None:
        method = "analytic, over questions, for these responses"
        found["standard_error"] = {"value": number.stderr, "method": method}
        found["standard_deviation"] = number.deviation
    if number.low is not None and number.high is not None:
        found["confidence_interval"] = {
            "lower": number.low,
            "upper": number.high,
            "confidence_level": 0.95,
            "method": f"{number.method}, over questions, for these responses",
        }
    return found


def _source_data(task: TaskEvidence) -> dict[str, Any]:
    named, count = facts.dataset(task), len(task.joined.documents)
    details = _strings(
        {
            "dataset_config": named.get("config"),
            "questions": count,
            "documents_sha256": hashlib.sha256("\n".join(task.joined.documents).encode())
            .hexdigest(),
            "tasks_pooled": ", ".join(task.joined.parts) if len(task.joined.parts) > 1 else None,
        }
    )  # fmt: skip
    path = named.get("path", "")
    if not is_hub_id(path):
        details |= _strings({"dataset_path": path, "split": named.get("split")})
        return {"dataset_name": task.name, "source_type": "other", "additional_details": details}
    found = {
        "dataset_name": path.partition("/")[2],
        "source_type": "hf_dataset",
        "hf_repo": path,
        "samples_number": count,
        "additional_details": details,
    }
    return found | ({"hf_split": named["split"]} if "split" in named else {})


def _generation(task: TaskEvidence, side: Side, found: Mapping[str, Any]) -> dict[str, Any]:
    config = side.arm.run.results["configs"].get(task.joined.parts[0], {})
    arguments = {
        "temperature": found.get("temperature"),
        "top_p": found.get("top_p"),
        "top_k": found.get("top_k"),
        "max_tokens": found.get("max_new_tokens"),
        "prompt_template": config.get("doc_to_text"),
    }
    stop = facts.generation(task, side).get("until")
    return {
        "generation_args": {name: value for name, value in arguments.items() if value is not None},
        "additional_details": _strings({**found, "stop": stop}),
    }


def _strings(given: Mapping[str, Any]) -> dict[str, str]:
    """As the schema wants free fields: text, and none where nothing is known."""
    return {
        name: value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        for name, value in given.items()
        if value not in (None, "")
    }


def _uuid4(content: str) -> str:
    """A UUID in the form that the store asks for (version 4), made from the content."""
    digest = hashlib.sha256(content.encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def _portable(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def _jsonl(found: Sequence[Mapping[str, Any]]) -> str:
    # ASCII: readers that split lines as Python does would also split at U+2028 in a response
    return "".join(json.dumps(row, allow_nan=False) + "\n" for row in found)
