"""Kill a sampled run over real rows again and again, and compare with one that was left alone.

    cd ../shared/hub && python .../benchmarks/faults.py      # 20 kills, about 15 minutes
    python benchmarks/faults.py --memory                     # 10,000 questions, stub model

The first sends SIGKILL at random moments of the generation to ``lm_eval --model btrans-hf`` and
starts the same command again each time, at last until it ends by itself; then it compares
results, every response's text and the rows of the store with those of an undisturbed run, and
counts how many responses were generated in all.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from btrans_eval.demo import demo_arguments

BATCH = 4
SECONDS = 5.0  # a life generates for up to so long
RUN = ["run", "--model", "btrans-hf", "--tasks", "gsm8k_cot_zeroshot", "--limit", "30"]
RUN += ["--batch_size", str(BATCH), "--log_samples", "--seed", "1"]
RUN += ["--gen_kwargs", "do_sample=True,temperature=0.8,max_gen_toks=40"]


def child(counter: str, flags: list[str]) -> None:
    """lm_eval in this process; every generated row is one byte in the file ``counter``."""
    sys.argv = ["lm_eval", *flags]
    from lm_eval.__main__ import cli_evaluate

    from btrans_eval.model_adapters.hf.generation import Generation

    generate = Generation.static

    def counted(self: Generation, batch: list) -> list:
        texts = generate(self, batch)
        with Path(counter).open("a") as file:
            file.write("x" * len(batch))
        return texts

    Generation.static = counted
    cli_evaluate()


def start(folder: Path) -> subprocess.Popen:
    demo = ",".join(f"{name}={value}" for name, value in demo_arguments().items())
    arguments = f"{demo},sigma=0.01,members=8,batching=static,store={folder / 'store.sqlite'}"
    flags = [*RUN, "--model_args", arguments, "--output_path", str(folder)]
    command = [sys.executable, __file__, "--child", str(folder / "generated"), *flags]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def generated(folder: Path) -> int:
    path = folder / "generated"
    return path.stat().st_size if path.exists() else 0


def outcome(folder: Path) -> tuple:
    """Metrics, every member's responses, and the rows of the store."""
    (results,) = folder.rglob("results_*.json")
    (members,) = folder.glob("members_*.jsonl")
    lines = (json.loads(line) for line in members.read_text().splitlines())
    said = sorted((line["doc_id"], json.dumps(line["responses"])) for line in lines)
    with sqlite3.connect(folder / "store.sqlite") as connection:
        rows = connection.execute("SELECT key, text, tokens, finish FROM responses ORDER BY key")
        stored = rows.fetchall()
    return json.loads(results.read_text())["results"], said, stored


def kills(number: int, seed: int) -> None:
    """The test of the docstring."""
    with tempfile.TemporaryDirectory() as name:
        alone, killed = Path(name) / "alone", Path(name) / "killed"
        alone.mkdir(), killed.mkdir()
        began = time.monotonic()
        if start(alone).wait():
            raise SystemExit("the undisturbed run failed")
        took = time.monotonic() - began
        needed = generated(alone)
        moments, done = random.Random(seed), 0
        print(f"undisturbed: {needed} responses in batches of {BATCH}, {took:.0f} s", flush=True)
        while done < number and generated(killed) < needed:
            process = start(killed)
            before, length = generated(killed), moments.uniform(0.0, SECONDS)
            while generated(killed) == before and process.poll() is None:
                time.sleep(0.05)
            time.sleep(length)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                done += 1
            process.wait()
            print(f"kill {done}, {length:.2f} s after the first batch of its life: "
                  f"{generated(killed)} generated", flush=True)  # fmt: skip
        for path in (*killed.rglob("results_*"), *killed.glob("members_*.jsonl")):
            path.unlink()
        if start(killed).wait():
            raise SystemExit("the last run failed")
        same = [a == b for a, b in zip(outcome(alone), outcome(killed), strict=True)]
        keys = [row[0] for row in outcome(killed)[2]]
        twice = len(keys) - len({*keys})
        extra = generated(killed) - needed
        print(f"results equal: {same[0]}; every member's responses equal: {same[1]}")
        print(f"rows of the store equal, byte for byte: {same[2]}; rows twice: {twice}")
        print(f"generated beyond what was needed: {extra}; {done} kills allow {BATCH * done}")
        if not all(same) or extra > BATCH * done or done < number:
            raise SystemExit(1)


def memory(questions: int) -> None:
    """Peak memory of a run over many questions with a stub in place of the model."""
    from lm_eval.api.instance import Instance

    from btrans_eval.harness.response import Response
    from btrans_eval.model_adapters.hf import BTransHF

    with tempfile.TemporaryDirectory() as name:
        lm = BTransHF(
            sigma=0.01, members=8, batching="static", batch_size=64, store=f"{name}/store.sqlite"
        )
        text = "The answer is 5. " * 60  # 1 KB
        lm.engine.generation.static = lambda batch: [
            Response(f"{text}{row.draw} {row.question.request.doc_id}", 200, False) for row in batch
        ]
        for number in (questions // 10, questions):
            arguments = {"until": [], "max_gen_toks": 300}
            requests = [
                Instance("generate_until", {"answer": "5"}, (f"Question {n}?", arguments), 0,
                         ("stub", n, 1)) for n in range(number)
            ]  # fmt: skip
            began = time.monotonic()
            lm.generate_until(requests, disable_tqdm=True)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{number} questions, 8 members: peak {peak:.0f} MiB, "
                  f"{time.monotonic() - began:.0f} s", flush=True)  # fmt: skip


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--questions", type=int, default=10_000)
    given = parser.parse_args()
    if given.memory:
        memory(given.questions)
    else:
        kills(given.kills, given.seed)


if __name__ == "__main__":
    main()
