"""The tables of docs/noise.md from finished comparisons.

    python benchmarks/noise_tables.py out/amount --against "stock T=0.7"

For every task: each arm's sigma and the KL it has (nats per token, measured by sigma=auto on the
shipped text, with the standard error over members 0 to 3), its numbers with 95% intervals over
questions, and paired differences to one arm with the exploratory p of the sign-flip test.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

RATES = ("mean", "maj", "pass", "invalid_rate", "truncated_rate")
OTHERS = {"cosine_distance": 3, "mean_tokens": 1}


def interval(given: dict[str, Any] | None, digits: int, factor: float = 1.0) -> str:
    if given is None:
        return "–"
    mean, low, high = (factor * given[name] for name in ("estimate", "low", "high"))
    return f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def noise_of(arm: dict[str, Any]) -> str:
    used = arm["population"] or {}
    found = used.get("calibration")
    if not found:
        return "– | –"
    return f"{found['sigma']:.3g} | {found['kl']:.4f} ± {found['stderr']:.4f}"


def line(arm: dict[str, Any], numbers: dict[str, Any], k: int) -> str:
    metrics = numbers["metrics"]
    names = [f"{name}@{k}" if name in ("maj", "pass") else name for name in RATES]
    cells = [interval(metrics.get(name), 1, 100.0) for name in names]
    cells += [interval(metrics.get(name), digits) for name, digits in OTHERS.items()]
    return f"| {arm['name']} | {noise_of(arm)} | {' | '.join(cells)} |"


def differences(task: dict[str, Any], against: str, k: int) -> list[str]:
    lines = []
    for name in task["arms"]:
        cells = []
        for metric in (f"mean@{k}", f"maj@{k}", f"pass@{k}"):
            pair, sign = _pair(task, name, against, metric)
            if pair is None:
                cells.append("–")
                continue
            ends = [points(sign * pair[end]) for end in ("low", "high")]
            gap, (low, high) = points(sign * pair["difference"]), sorted(ends)
            cells.append(f"{gap:+.1f} ({low:+.1f} to {high:+.1f}), p = {pair['p']:.2g}")
        if name != against:
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def points(share: float) -> float:
    """Percentage points; what rounds to nothing has no sign."""
    return round(100 * share, 1) + 0.0


def _pair(task: dict[str, Any], a: str, b: str, metric: str) -> tuple[dict[str, Any] | None, int]:
    for pair in task["pairs"]:
        if pair["metric"] == metric and {pair["a"], pair["b"]} == {a, b}:
            return pair, 1 if pair["a"] == a else -1
    return None, 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of a comparison")
    parser.add_argument("--against", required=True, help="name of an arm")
    given = parser.parse_args()
    found = json.loads((given.out / "comparison.json").read_text(encoding="utf-8"))
    for task in found["tasks"]:
        named = [name for arm in task["arms"].values() for name in arm["metrics"]]
        k = max([int(n.removeprefix("pass@")) for n in named if n.startswith("pass@")], default=1)
        print(f"\n`{task['name']}`, {task['questions']} questions, percent\n")
        print(f"| arm | sigma | KL | mean@{k} | maj@{k} | pass@{k} | invalid | truncated "
              "| cosine distance | tokens |")  # fmt: skip
        print("|---" * 10 + "|")
        for arm in found["arms"]:
            if arm["name"] in task["arms"]:
                print(line(arm, task["arms"][arm["name"]], k))
        print(f"\n| minus {given.against}, points | mean@{k} | maj@{k} | pass@{k} |")
        print("|---" * 4 + "|")
        print("\n".join(differences(task, given.against, k)))


if __name__ == "__main__":
    main()
