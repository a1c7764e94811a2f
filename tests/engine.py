"""btrans-hf on a tiny checkpoint, and requests as the harness makes them."""

from __future__ import annotations

from lm_eval.api.instance import Instance

from btrans_eval.model_adapters.hf import BTransHF

GREEDY = {"until": ["w9"], "max_gen_toks": 6, "do_sample": False}
SAMPLED = {"until": [], "max_gen_toks": 6, "do_sample": True, "temperature": 1.0}
PROMPTS = ["w5 w6 w7", "w8", "w10 w11 w12 w13 w14", "w20 w21"]


def population_lm(checkpoint, **arguments) -> BTransHF:
    return BTransHF(checkpoint, device="cpu", **{"sigma": 0.5, "batch_size": 4, **arguments})


def instance(kind, arguments, doc_id=0, repeats=1, doc=None):
    return Instance(kind, doc or {"answer": "w7"}, arguments, 0, ("toy", doc_id, repeats))


def generation(prompts=PROMPTS, arguments=GREEDY, repeats=1):
    return [
        instance("generate_until", (prompt, dict(arguments)), place, repeats)
        for place, prompt in enumerate(prompts)
    ]


def cloned(requests):
    return [request for request in requests for _ in range(request.repeats)]
