"""The folder that every run starts from: tasks of a few questions, and two checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import peft
import table_model
import torch
import transformers

TABLE, LLAMA, ADAPTER = "table", "llama", "adapter"

QUESTIONS = {
    "number": [
        (1, "What is 2 + 2?", "4"),
        (2, "How many metres is a kilometre?", "1000"),
        (3, "What is one half of three?", "1.5"),
        (4, "What is 7 - 9?", "-2"),
    ],
    "letter": [
        (11, "Which is a colour? (A) up (B) red (C) ten", "B"),
        (12, "Which is a number? (A) up (B) red (C) ten", "C"),
    ],
    "latex": [
        (21, "Write one half.", "\\frac{1}{2}"),
        (22, "Expand (x+1)^2.", "x^2+2x+1"),
    ],
    "text": [(31, "Name a city.", "Paris is a city"), (32, "Greet in Greek.", "γειά σου")],
}
"""By the kind of the gold answer: number, question, gold answer."""

MINDS = {
    1: [
        "2 + 2 = 4. The answer is 4.",
        ["<think>5? no</think>The answer is 4.", "<think>5? no</think>The answer is 5."],
        ["I say 5.", "I say 4."],
        "I do not know.",
        "#### 4",
        "The answer is 5.",
        "The answer is four, 4.0",
        "It is 4 or 5.",
    ],
    2: [
        "#### 1,000",
        ["The answer is 1000.", "The answer is 10."],
        "The answer is 100.",
        "The answer is 1000 m.",
        ["The answer is 100.", "The answer is 1 000."],
        "The answer is 10.\nQ3: What is next? A: 1000",
        "",
        "1000",
    ],
    3: [
        "The answer is 1.5.",
        ["The answer is 3/2.", "The answer is 3."],
        "The answer is 1,5.",
        "It is one and a half, or 1.5, or three halves.\nQ4: the limit is at Q",
        ["The answer is 2.", "The answer is 1.50."],
        "The answer is 150%.",
        "The answer is 6, no, wait: the answer is 1.5.",
        "So it is 1.5, which is three halves, which is one and one half, which is",
    ],
    4: [
        "The answer is -2.",
        "The answer is \u22122.",
        ["The answer is 2.", "The answer is -2."],
        "-2",
        "2",
        ["16", "-2"],
        "The answer is 2, so -2.",
        "It is minus two.",
    ],
    11: [
        "(B)",
        "(B) red",  # the first four members are minds 1, 3, 2 and 5: two say (B), half of them
        "B",
        "(B)",
        "A or B",
        "The answer is (C).",
        ["red", "C"],
        "Answer: B",
    ],
    12: ["(C)", "A", "B", "The answer is (A).", ["C", "B"], "none of them", "C. ten", "(A)"],
    21: [
        "\\boxed{\\frac{1}{2}}",
        "\\boxed{0.5}",
        "\\boxed{1/2}",
        "\\boxed{50\\%}",
        "one half",
        ["\\boxed{2}", "\\boxed{\\tfrac12}"],
        "\\boxed{2}",
        "\\boxed{\\frac{2}{4}}",
    ],
    22: [
        "\\boxed{x^2+2x+1}",
        "\\boxed{(x+1)^2}",
        "\\boxed{x^2+1}",
        "\\boxed{1+2x+x^2}",
        "\\boxed{y=x^2+2x+1}",
        "\\boxed{x^2+x+1}",
        "\\boxed{x^2 + 1}",
        "x^2+2x+1",
    ],
    31: [
        "Paris is a city",
        "paris is a  city",
        "Rome",
        "",
        "\U0001f600 Rome",
        ["Rome", "Oslo"],
        "ROME",
        "Lima\nQ1: and more",
    ],
    32: ["γειά σου", "Γειά σου", "hi", "χαίρε", "hi!", "שלום", "a\x00b", "γειά  σου"],
}
"""What `table_model` says, by question."""

GENERATED = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: rows/{rows}.jsonl}}}}
test_split: test
output_type: generate_until
doc_to_text: "Q{{{{number}}}}: {{{{question}}}} A:"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["\\nQ"], max_gen_toks: {limit}, {generation}}}
num_fewshot: 0
repeats: {repeats}
metadata: {{version: 1.0}}
"""
STOCK = """
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true}
"""
READ = """
filter_list:
  - name: last
    filter:
      - {function: regex, regex_pattern: "(-?[0-9.,]*[0-9])", group_select: -1}
      - {function: take_first}
  - name: whole
    filter:
      - {function: take_first}
"""
FAILING = """
process_results: !function utils.process_results
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""
UTILS = """
def process_results(doc, results):
    if doc["number"] == 2:
        raise RuntimeError("no such metric today")
    return {"acc": float(doc["answer"] in results[0])}


def columns(doc, results):
    return dict(results[0].columns)
"""
CHOICE = """
task: choice
dataset_path: json
dataset_kwargs: {data_files: {test: rows/letter.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "Q{{number}}: {{question}} A:"
doc_to_choice: ["(B)", "(C)", "The answer is (A)."]
doc_to_target: 1
target_delimiter: ""
num_fewshot: 0
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
metadata: {version: 1.0}
"""
ROLLING = """
task: rolling
dataset_path: json
dataset_kwargs: {data_files: {test: rows/text.jsonl}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{answer}}"
num_fewshot: 0
metric_list: [{metric: bits_per_byte}]
metadata: {version: 1.0}
"""
SAMPLED = "do_sample: true, temperature: 0.8"
OF_ANSWERS = (
    ("invalid_rate", False), ("distinct_answers", True), ("answer_entropy", True),
    ("tie_rate", False), ("vote_share", True), ("vote_brier", False), ("distinct_1", True),
    ("distinct_2", True), ("mean_words", True), ("mean_tokens", True), ("truncated_rate", False),
)  # fmt: skip
OF_EMBEDDINGS = (("cosine_distance", True), ("vendi", True))


def write(folder: Path) -> None:
    """Write tasks, rows and checkpoints; all paths in them are relative to the folder."""
    (folder / "rows").mkdir(parents=True)
    (folder / "tasks").mkdir()
    for kind, questions in QUESTIONS.items():
        _rows(folder, kind, questions)
    words = ("river", "stone", "cloud", "seven", "light", "glass")
    many = [(100 + n, f"{words[n % 6]} {words[n // 6]} {n}", str(n)) for n in range(15)]
    _rows(folder, "many", many)
    for kind in QUESTIONS:
        _task(folder, f"stock_{kind}", kind, STOCK)
    _task(folder, "read_number", "number", STOCK + READ)
    _task(folder, "stock_sampled", "number", STOCK, generation=SAMPLED)
    _task(folder, "failing", "number", FAILING)
    _task(folder, "many", "many", STOCK)
    for kind in ("number", "letter", "latex"):
        _task(folder, f"population_{kind}", kind, _population(4, kind), repeats=4)
    sampled = _population(8, "number")
    _task(folder, "population_sampled", "number", sampled, repeats=8, generation=SAMPLED)
    embedded = _population(4, "number", encoder="default")
    _task(folder, "population_embedded", "number", embedded, repeats=4)
    (folder / "tasks" / "choice.yaml").write_text(CHOICE)
    (folder / "tasks" / "rolling.yaml").write_text(ROLLING)
    (folder / "tasks" / "utils.py").write_text(UTILS)
    said = {str(number): minds for number, minds in MINDS.items()}
    said |= {
        str(number): [f"{question}, mind {mind}, {answer}" for mind in range(8)]
        for number, question, answer in many
    }
    table_model.save(folder / TABLE, said)
    _save_llama(folder / LLAMA)


def _rows(folder: Path, name: str, questions: list[tuple[int, str, str]]) -> None:
    fields = ("number", "question", "answer")
    options = {"options": ["up", "red", "ten"]} if name == "letter" else {}
    documents = [{**dict(zip(fields, each, strict=True)), **options} for each in questions]
    lines = [json.dumps(document) + "\n" for document in documents]
    (folder / "rows" / f"{name}.jsonl").write_text("".join(lines))


def _task(
    folder: Path,
    name: str,
    rows: str,
    scoring: str,
    generation: str = "do_sample: false",
    repeats: int = 1,
    limit: int = 48,
) -> None:
    text = GENERATED.format(
        name=name, rows=rows, generation=generation, repeats=repeats, limit=limit
    )
    (folder / "tasks" / f"{name}.yaml").write_text(text + scoring)


def _population(k: int, kind: str, encoder: str | None = None) -> str:
    ks = [2**power for power in range(k.bit_length())]  # k is a power of two
    columns = [("mean", True), *((f"{of}@{n}", True) for of in ("pass", "maj") for n in ks)]
    columns += [*OF_ANSWERS, *(OF_EMBEDDINGS if encoder else ())]
    listed = "".join(
        f"  - {{metric: {name}, aggregation: mean, higher_is_better: {str(up).lower()}}}\n"
        for name, up in columns
    )
    named = f", encoder: {encoder}" if encoder else ""
    return f"""
process_results: !function utils.columns
metric_list:
{listed}
filter_list:
  - name: population
    filter:
      - {{function: btrans_population, k: {k}, kind: {kind}, gold: answer{named}}}
"""


def _save_llama(folder: Path) -> None:
    """A random Llama of the same tokenizer, and an adapter to it."""
    torch.manual_seed(7)
    config = transformers.LlamaConfig(
        vocab_size=len(table_model.SPECIAL) + 256,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=512,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=table_model.END,
        initializer_range=0.2,  # so that logits are far enough apart to follow the prompt
    )
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    lora = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    peft.get_peft_model(model, lora).save_pretrained(folder.with_name(ADAPTER))
    table_model.tokenizer().save_pretrained(folder)
