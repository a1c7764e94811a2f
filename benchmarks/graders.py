"""Our reading and equality of answers beside what other graders publish.

    python benchmarks/graders.py --tables DIR... --outputs DIR...     # a minute on one processor

DIR are clones of public repositories, named in ``grader_tables``; their tables are read where they
lie. For each are printed the repository, path and version, the rule by which rows were taken, how
many agree, and every disagreement with one word why. A disagreement that no word explains makes
the exit code 1. Altered and rewritten gold answers are not here: tests/answers/test_mutations.py.
"""

from __future__ import annotations

import argparse
import subprocess
from collections import Counter
from itertools import groupby
from pathlib import Path

from grader_tables import OUTPUTS, TABLES, Case, Source, spread
from grader_words import WORDS, word_for

from btrans_eval.answers.equivalence import Judge


def version(clone: Path) -> str:
    """The clone's commit."""
    asked = ["git", "-C", str(clone), "rev-parse", "--short=12", "--show-toplevel", "HEAD"]
    found = subprocess.run(asked, capture_output=True, text=True).stdout.split("\n")
    inside = len(found) > 1 and Path(found[0]).resolve() == clone.resolve()
    return f"commit {found[1]}" if inside else "no clone, so no version"


def files_of(source: Source, folders: list[Path]) -> tuple[Path | None, list[Path]]:
    """The folder that holds the source, and its files there."""
    for folder in folders:
        if files := sorted(folder.glob(source.pattern)):
            return folder, files[:: source.step]
    return None, []


def taken(source: Source, folder: Path, files: list[Path], limit: int | None) -> list[Case]:
    cases = [case for file in files for case in source.cases(file, str(file.relative_to(folder)))]
    return cases if limit is None else spread(cases, limit)


def verdicts(cases: list[Case], judge: Judge) -> list[bool]:
    """Whether we find both answers of each row equal; no answer equals no answer."""
    pairs = [(case.ours or "", case.other or "", case.kind) for case in cases]
    said = judge.equal_pairs(pairs)
    return [
        case.ours == case.other if None in (case.ours, case.other) else same is True
        for case, same in zip(cases, said, strict=True)
    ]


def short(answer: str | None) -> str:
    text = " ".join((answer or "(none)").split())
    return text if len(text) <= 70 else f"{text[:32]} ... {text[-32:]}"


def report(source: Source, folder: Path, cases: list[Case], judge: Judge) -> int:
    """Print a source's agreement and disagreements; how many of these no word explains."""
    equal = verdicts(cases, judge)
    odd = [
        (word_for(case), case, same)
        for case, same in zip(cases, equal, strict=True)
        if same is not case.expected
    ]
    print(f"\n{source.name}: {len(cases) - len(odd)} of {len(cases)} agree", flush=True)
    print(f"  {source.repository}, {source.pattern}, {version(folder)}\n  rows: {source.rule}")
    joined = sum(same for _, _, same in odd)
    print(f"  equal for us alone: {joined}; for them alone: {len(odd) - joined}")
    if graded := [case for _, case, _ in odd if case.right is not None]:
        we, they = (
            sum(getattr(case, side) == case.right for case in graded) for side in ("ours", "other")
        )
        print(f"  of {len(graded)} that we read otherwise, the gold is ours {we}, theirs {they}")
    for word, group in groupby(sorted(odd, key=lambda one: one[0]), key=lambda one: one[0]):
        rows = list(group)
        print(f"  {word}: {len(rows)} ({WORDS.get(word, 'no word for it')})")
        for _, case, same in rows:
            ours, other = short(case.ours), short(case.other)
            print(f"    {case.key} {case.place}: {ours} {'=' if same else '≠'} {other}")
    return Counter(word for word, _, _ in odd)["unexplained"]


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--tables", nargs="+", type=Path, default=[], metavar="DIR",
                         help="clones whose test tables to read")  # fmt: skip
    options.add_argument("--outputs", nargs="+", type=Path, default=[], metavar="DIR",
                         help="clones whose published outputs to read")  # fmt: skip
    options.add_argument("--limit", type=int, help="at most so many rows of each")
    given = options.parse_args()
    wanted = [(source, given.tables) for source in TABLES]
    wanted += [(source, given.outputs) for source in OUTPUTS]
    found = [(source, *files_of(source, folders)) for source, folders in wanted]
    used = {folder for _, folder, _ in found}
    if strange := [str(one) for one in [*given.tables, *given.outputs] if one not in used]:
        options.error(f"nothing that is read here lies in {', '.join(strange)}")
    unexplained = 0
    with Judge() as judge:
        for source, folder, files in found:
            if folder is None:
                print(f"\n{source.name}: not asked for ({source.repository})")
            else:
                cases = taken(source, folder, files, given.limit)
                unexplained += report(source, folder, cases, judge)
        print(f"\nundecided pairs: {judge.undecided}; unexplained disagreements: {unexplained}")
    return int(unexplained > 0)


if __name__ == "__main__":
    raise SystemExit(main())
