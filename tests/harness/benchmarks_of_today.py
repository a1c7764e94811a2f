"""Benchmarks that the harness has: rows of our own in their formats, and what must come of each.

Four responses to a question: right, the same written otherwise, wrong, empty. What each filter
pipeline of the harness makes of them was worked out by hand: the scores of each, and its class
in the vote (None: no answer). docs/tasks.md tells users the same in words.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

NOT_VOTED = "every response is an answer of its own: no maj@k"
WHOLE, FILTERED = "our extractor for ", "filtered answers, equal as "


@dataclass(frozen=True)
class Found:
    """What a pipeline makes of the four responses.

    Attributes:
        scores: by metric, of each response.
        classes: of each response; none where there is no vote.
        votes: what is said of them in the results.
    """

    scores: dict[str, list[float]]
    classes: list[int | None]
    votes: str


@dataclass(frozen=True)
class Benchmark:
    """A task of the harness with a row in its dataset's format.

    Attributes:
        task: the harness's name.
        hub: the dataset's name.
        row: one row.
        said: the four responses, given the prompt.
        found: by pipeline.
        split, config, also: where the rows lie.
        copies: how many such rows there are, where a prompt has examples.
        left_out: metrics that are no means over questions.
        stands_in: modules that are not needed for this row, and may not be installed.
    """

    task: str
    hub: str
    row: dict[str, Any]
    said: Callable[[str], list[str]]
    found: dict[str, Found]
    split: str = "test"
    config: str = "default"
    also: tuple[str, ...] = ()
    copies: int = 1
    left_out: list[str] = field(default_factory=list)
    stands_in: tuple[str, ...] = ()


def always(*texts: str) -> Callable[[str], list[str]]:
    return lambda prompt: list(texts)


def exact(scores: list[float], classes: list[int | None], votes: str) -> Found:
    return Found({"exact_match": scores}, classes, votes)


# ---------------------------------------------------------------------------- choices
GPQA = {
    "Question": "Which gas has the lightest atoms?",
    "Correct Answer": "hydrogen",
    "Incorrect Answer 1": "neon",
    "Incorrect Answer 2": "argon",
    "Incorrect Answer 3": "xenon",
}


def of_shuffled(prompt: str) -> list[str]:
    """The options of GPQA are shuffled when its rows are loaded."""
    right, wrong = (
        re.search(rf"\(([A-D])\) {gas}", prompt).group(1) for gas in ("hydrogen", "neon")
    )
    return [f"The answer is ({right}).", f"The answer is {right}.", f"So ({wrong}).", ""]


GPQA_FOUND = {
    "strict-match": exact([1, 1, 0, 0], [0, 0, None, None], FILTERED + "letter"),
    # a letter without brackets is not seen
    "flexible-extract": exact([1, 0, 0, 0], [0, None, 1, None], FILTERED + "letter"),
}
BODY = {"question": "Which organ pumps blood?", "choices": ["lung", "heart", "ear", "eye"]}
OPTIONS = {"question": "2 + 2?", "options": ["3", "4", "5"], "answer": "B", "answer_index": 1}
COT = {"cot_content": "A: Let's think step by step. 2 + 2 = 4. The answer is (B).", "src": "ours"}

# ---------------------------------------------------------------------------- numbers and formulas
GSM = {"question": "What is 9 + 9?", "answer": "9 + 9 = 18\n#### 18"}
HALF = {
    "problem": "What is one divided by two?",
    "level": "Level 5",
    "type": "Algebra",
    "solution": "It is $\\boxed{\\frac{1}{2}}$.",
}
FINAL = "Final Answer: The final answer is ${}$. I hope it is correct."
# not 0.5: the harness compares values for five seconds of the clock, too few on a busy machine
HALVES = always(FINAL.format("\\frac{1}{2}"), FINAL.format("\\frac12"), FINAL.format("3"), "")
AIME = always("So $\\boxed{70}$.", "\\boxed{070}", "\\boxed{71}", "")
# the harness compares texts, so 070 is wrong to it; our vote counts it with 70
AIME_FOUND = [1.0, 0.0, 0.0, 0.0], [0, 0, 1, None]

# ---------------------------------------------------------------------------- others
IFEVAL = {
    "key": 1,
    "prompt": "Name two colours without a comma.",
    "instruction_id_list": ["punctuation:no_comma"],
    "kwargs": [{"num_words": None}],
}
IFEVAL_FOUND = {
    "none": Found(
        {"prompt_level_strict_acc": [1, 1, 0, 0], "prompt_level_loose_acc": [1, 1, 0, 0]},
        [],
        NOT_VOTED,
    )
}
IFEVAL_LEFT_OUT = ["inst_level_strict_acc", "inst_level_loose_acc"]
DATE = {
    "input": "Today is 2 May 2021. What is tomorrow?\nOptions:\n(A) 1 May 2021\n(B) 3 May 2021",
    "target": "(B)",
}
NO_DATE = {"day": "", "month": "", "year": ""}

BENCHMARKS = [
    Benchmark(
        "gpqa_diamond_cot_zeroshot",
        "Idavidrein/gpqa",
        GPQA,
        of_shuffled,
        GPQA_FOUND,
        split="train",
        config="gpqa_diamond",
    ),
    Benchmark(
        "gpqa_diamond_generative_n_shot",
        "Idavidrein/gpqa",
        GPQA,
        of_shuffled,
        GPQA_FOUND,
        split="train",
        config="gpqa_diamond",
    ),
    Benchmark(
        "mmlu_redux_anatomy_generative",
        "fxmarty/mmlu-redux-2.0-ok",
        {**BODY, "answer": 1},
        always("B", "(B)", "Answer: B", ""),  # the first capital from A to D counts
        {"default": exact([1, 1, 0, 0], [0, 0, 1, None], FILTERED + "letter")},
        config="anatomy",
    ),
    Benchmark(
        "mmlu_anatomy_generative",
        "cais/mmlu",
        {**BODY, "answer": 1},
        always(" B", "b.\nSo it is.", "A", ""),
        {"get_response": exact([1, 1, 0, 0], [0, 0, 1, None], FILTERED + "letter")},
        config="anatomy",
        also=("dev",),
    ),
    Benchmark(
        "mmlu_flan_cot_zeroshot_anatomy",
        "cais/mmlu",
        {**BODY, "answer": 1},
        always("The answer is (B).", "The answer is B.", "The answer is (A).", ""),
        {
            "strict-match": exact([1, 1, 0, 0], [0, 0, 1, None], FILTERED + "letter"),
            "flexible-extract": exact([1, 0, 0, 0], [0, None, 1, None], FILTERED + "letter"),
        },
        split="validation",
        config="anatomy",
        also=("dev", "test"),
    ),
    Benchmark(
        "mmlu_pro_math",
        "TIGER-Lab/MMLU-Pro",
        {**OPTIONS, **COT, "category": "math"},
        always("The answer is (B).", "the answer is B", "the answer is (C)", ""),
        {"custom-extract": exact([1, 1, 0, 0], [0, 0, 1, None], FILTERED + "letter")},
        also=("validation",),
        copies=6,
    ),
    Benchmark(
        "bbh_cot_fewshot_date_understanding",
        "SaylorTwift/bbh",
        DATE,
        always("So the answer is (B).", "the answer is B.", "the answer is (A).", ""),
        # no options in the row, so an answer is a text, and one without brackets another
        {"get-answer": exact([1, 0, 0, 0], [0, 1, 2, None], FILTERED + "text")},
        config="date_understanding",
    ),
    Benchmark(
        "super_glue-boolq-t5-prompt",
        "aps/super_glue",
        {"question": "is water wet", "passage": "Water is wet.", "idx": 0, "label": 1},
        always("True", "true", "False", ""),
        {"none": exact([1, 1, 0, 0], [0, 0, 1, None], WHOLE + "text")},
        split="validation",
        config="boolq",
        also=("train",),
    ),
    # ------------------------------------------------------------------------ numbers and formulas
    Benchmark(
        "bbh_cot_zeroshot_boolean_expressions",
        "SaylorTwift/bbh",
        {"input": "not True is", "target": "False"},
        always("So the answer is False.", "the answer is false.", "The answer is True.", ""),
        {
            "strict-match": exact([1, 1, 0, 0], [0, 0, 1, None], FILTERED + "text"),
            "flexible-extract": exact([1, 0, 0, 0], [0, None, 1, None], FILTERED + "text"),
        },
        config="boolean_expressions",
    ),
    Benchmark(
        "bbh_cot_zeroshot_multistep_arithmetic_two",
        "SaylorTwift/bbh",
        {"input": "((1 + 2) * (3 - 5)) =", "target": "-6"},
        always("The answer is -6.", "The answer is -6.0.", "The answer is 6.", ""),
        {
            "strict-match": exact([1, 0, 0, 0], [0, 0, 1, None], FILTERED + "number"),
            "flexible-extract": exact([1, 0, 0, 0], [0, 1, 2, None], FILTERED + "number"),
        },
        config="multistep_arithmetic_two",
    ),
    Benchmark(
        "bbh_cot_zeroshot_word_sorting",
        "SaylorTwift/bbh",
        {"input": "Sort the words: List: bee cat ape", "target": "ape bee cat"},
        always("The answer is ape bee cat.", "ape, bee, cat", "The answer is bee ape cat.", ""),
        {
            "strict-match": exact([1, 0, 0, 0], [0, None, 1, None], FILTERED + "text"),
            "flexible-extract": exact([1, 1, 0, 0], [0, 0, 1, None], FILTERED + "text"),
        },
        config="word_sorting",
    ),
    Benchmark(
        "gsm8k",
        "openai/gsm8k",
        GSM,
        always("9 + 9 = 18\n#### 18", "#### 18.0", "#### 17", ""),
        {
            # the harness compares texts: 18.0 is wrong to it; our vote counts it with 18
            "strict-match": exact([1, 0, 0, 0], [0, 0, 1, None], FILTERED + "number"),
            "flexible-extract": exact([1, 0, 0, 0], [0, 0, 1, None], FILTERED + "number"),
        },
        config="main",
        also=("train",),
        copies=6,
    ),
    Benchmark(
        "gsm8k_cot_llama",
        "openai/gsm8k",
        GSM,
        always("The final answer is 18", "The final answer is $18.", "The final answer is 17", ""),
        {
            "strict-match": exact([1, 1, 0, 0], [0, 0, 1, None], FILTERED + "number"),
            "flexible-extract": exact([1, 1, 0, 0], [0, 0, 1, None], FILTERED + "number"),
        },
        config="main",
        also=("train",),
    ),
    Benchmark(
        "gsm8k_platinum_cot_zeroshot",
        "madrylab/gsm8k-platinum",
        GSM,
        always("The answer is 18.", "The answer is 18.00.", "The answer is 17.", ""),
        {
            "strict-match": exact([1, 0, 0, 0], [0, 0, 1, None], FILTERED + "number"),
            "flexible-extract": exact([1, 0, 0, 0], [0, 0, 1, None], FILTERED + "number"),
        },
        config="main",
    ),
    Benchmark(
        "gsm_plus",
        "qintongli/GSM-Plus",
        {**GSM, "answer": "18", "solution": GSM["answer"]},
        always("#### 18", "#### 18.0", "#### 17", ""),
        {
            "strict-match": exact([1, 0, 0, 0], [0, 0, 1, None], FILTERED + "number"),
            "flexible-extract": exact([1, 0, 0, 0], [0, 0, 1, None], FILTERED + "number"),
        },
        copies=6,
    ),
    Benchmark(
        "mgsm_en_cot_en",
        "juletxara/mgsm",
        {**GSM, "answer": None, "answer_number": 18, "equation_solution": None},
        always("The answer is 18.", "The answer is 18.0.", "The answer is 17.", ""),
        {
            "strict-match": exact([1, 0, 0, 0], [0, 0, 1, None], FILTERED + "number"),
            "flexible-extract": exact([1, 0, 0, 0], [0, 0, 1, None], FILTERED + "number"),
        },
        config="en",
        also=("train",),
    ),
    Benchmark(
        "aime",
        "gneubig/aime-1983-2024",
        {"ID": "2020-I-1", "Year": 2020, "Problem Number": 1, "Question": "P", "Answer": "70"},
        AIME,
        {"none": exact(*AIME_FOUND, WHOLE + "number")},
        split="train",
    ),
    Benchmark(
        "aime24",
        "Maxwell-Jia/AIME_2024",
        {"ID": "2024-I-1", "Problem": "P", "Solution": "It is 70.", "Answer": 70},
        AIME,
        {"none": exact(*AIME_FOUND, WHOLE + "integer")},
        split="train",
    ),
    Benchmark(
        "aime25",
        "math-ai/aime25",
        {"problem": "P", "answer": "70", "id": "0"},
        AIME,
        {"none": exact(*AIME_FOUND, WHOLE + "integer")},
    ),
    Benchmark(
        "hendrycks_math500",
        "HuggingFaceH4/MATH-500",
        {**HALF, "answer": "\\frac{1}{2}"},
        # between the first and the last $: a box would be wrong to it
        always("It is $\\frac{1}{2}$.", "It is $\\frac{2}{4}$.", "It is $3$.", ""),
        {"none": exact([1, 0, 0, 0], [0, 0, 1, None], WHOLE + "latex")},
    ),
    Benchmark(
        "minerva_math_algebra",
        "EleutherAI/hendrycks_math",
        HALF,
        HALVES,
        {
            "none": Found(
                {"exact_match": [1, 1, 0, 0], "math_verify": [1, 1, 0, 0]},
                [0, 0, 1, None],
                WHOLE + "latex",
            )
        },
        config="algebra",
        also=("train",),
    ),
    Benchmark(
        "leaderboard_math_algebra_hard",
        "DigitalLearningGmbH/MATH-lighteval",
        HALF,
        HALVES,
        {
            "none": Found(
                {"exact_match": [1, 1, 0, 0], "exact_match_original": [1, 1, 0, 0]},
                [0, 0, 1, None],
                WHOLE + "latex",
            )
        },
        config="algebra",
        also=("train",),
    ),
    # ------------------------------------------------------------------------ others
    Benchmark(
        "drop",
        "EleutherAI/drop",
        {
            "section_id": "s",
            "query_id": "q",
            "passage": "They scored twice.",
            "question": "How many times did they score?",
            "answer": {"number": "2", "date": NO_DATE, "spans": [""]},
            "validated_answers": {"number": ["2"], "date": [NO_DATE], "spans": [[""]]},
        },
        always("2", " 2\n", "3", ""),
        {"none": Found({"em": [1, 1, 0, 0], "f1": [1, 1, 0, 0]}, [0, 0, 1, None], WHOLE + "text")},
        split="validation",
        also=("train",),
    ),
    Benchmark(
        "triviaqa",
        "mandarjoshi/trivia_qa",
        {
            "question": "Who wrote Babbitt",
            "answer": {"value": "Sinclair Lewis", "aliases": ["Sinclair Lewis", "Harry Lewis"]},
        },
        always("Sinclair Lewis", "sinclair lewis", "Mark Twain", ""),
        {"remove_whitespace": exact([1, 1, 0, 0], [0, 0, 1, None], WHOLE + "text")},
        split="validation",
        config="rc.nocontext",
        also=("train",),
    ),
    Benchmark(
        "ifeval",
        "google/IFEval",
        IFEVAL,
        always("Red and 7 blue", "blue 7", "red, blue 8", ""),
        IFEVAL_FOUND,
        split="train",
        left_out=IFEVAL_LEFT_OUT,
        stands_in=("langdetect", "immutabledict", "pkg_resources"),
    ),
]
