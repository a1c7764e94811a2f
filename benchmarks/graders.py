"""Our reading and equality of answers beside what other graders publish.

    python benchmarks/graders.py --clones DIR [--only NAME] [--limit N]      # half a minute

DIR holds clones of public repositories, in folders named OWNER+NAME or NAME. Their tables of tests
and outputs of models are read where they lie: ``grader_tables`` says which. Printed are repository,
path, commit and the rule by which rows were taken, how many agree, and every disagreement with one
word why; ``grader_words`` says what the words rest on. Exit code 1 if there is no word for one.
Altered and rewritten gold answers are not here: tests/answers/test_mutations.py.
"""

from __future__ import annotations

import argparse
import subprocess
from collections import Counter
from itertools import groupby
from pathlib import Path

from grader_tables import SOURCES, Case, Source, spread
from grader_words import WORDS, word_for

from btrans_eval.answers.equivalence import Judge


def version(clone: Path) -> str:
    """The clone's commit."""
    asked = ["git", "-C", str(clone), "rev-parse", "--short=12", "--show-toplevel", "HEAD"]
    found = subprocess.run(asked, capture_output=True, text=True).stdout.split("\n")
    inside = len(found) > 1 and Path(found[0]).resolve() == clone.resolve()
    return f"commit {found[1]}" if inside else "no clone, so no version"


def clone_of(source: Source, place: Path) -> Path | None:
    """The clone of the source's repository."""
    names = source.repository.replace("/", "+"), source.repository.partition("/")[2]
    return next((place / name for name in names if (place / name).is_dir()), None)


def taken(source: Source, folder: Path, limit: int | None) -> list[Case]:
    files = [file for pattern in source.patterns for file in sorted(folder.glob(pattern))]
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
    print(f"  {source.repository}, {version(folder)}: {' '.join(source.patterns)}")
    print(f"  rows: {source.rule}")
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
    options.add_argument("--clones", type=Path, required=True, metavar="DIR")
    options.add_argument("--only", choices=[source.name for source in SOURCES])
    options.add_argument("--limit", type=int, help="at most so many rows of each")
    given = options.parse_args()
    unexplained = 0
    with Judge() as judge:
        for source in SOURCES:
            folder = clone_of(source, given.clones)
            if given.only not in (None, source.name):
                continue
            if folder is None:
                print(f"\n{source.name}: no clone of {source.repository} in {given.clones}")
            elif cases := taken(source, folder, given.limit):
                unexplained += report(source, folder, cases, judge)
            else:
                options.error(f"{folder} holds no rows of {' '.join(source.patterns)}")
        print(f"\nundecided pairs: {judge.undecided}; unexplained disagreements: {unexplained}")
    return int(unexplained > 0)


if __name__ == "__main__":
    raise SystemExit(main())
