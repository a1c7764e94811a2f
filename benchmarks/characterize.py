"""Whether two checkouts do the same: the files of many runs, byte for byte, on this machine.

    python benchmarks/characterize.py OLD_CHECKOUT NEW_CHECKOUT [--only NAME ...]

The runs are those of ``tests/characterization/runs.py`` here, of a tiny random Llama and of canned
responses: population tasks, votes, loglikelihoods, sigma = 0, sampling, parts of a run, two
processes, a failing metric, a kill, views and comparisons. Exit code 1 where a file differs.
A checkout needs no environment of its own, but may have one (``--old-python``); the two must
have the same releases of everything else.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "characterization"))

from record import differences, make_place, perform
from runs import MODEL, RUNS


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path, metavar="OLD_CHECKOUT")
    parser.add_argument("new", type=Path, metavar="NEW_CHECKOUT")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=RUNS, help=" ".join(RUNS))
    parser.add_argument("--canned", action="store_true", help="the canned runs, too")
    parser.add_argument("--old-python", default=sys.executable, metavar="FILE")
    parser.add_argument("--new-python", default=sys.executable, metavar="FILE")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="a new folder for the files")
    given = parser.parse_args()
    names = given.only or list(RUNS if given.canned else MODEL)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.keep or Path(temporary) / "files").resolve()
        folder.mkdir(parents=True)
        place = Path(temporary) / "place"
        make_place(place, given.old_python)
        sides = (("old", given.old, given.old_python), ("new", given.new, given.new_python))
        for side, checkout, python in sides:
            began = time.monotonic()
            print(f"{side}: {checkout}", flush=True)
            perform(checkout.resolve(), folder / side, names, python, place)
            print(f"{side}: {time.monotonic() - began:.0f} s in all\n", flush=True)
        found = {name: differences(folder / "old" / name, folder / "new" / name) for name in names}
    for name, different in found.items():
        how = f"{len(different)} files differ\n{different[0]}" if different else "equal"
        print(f"{name:28} {how}")
    sys.exit(1 if any(found.values()) else 0)


if __name__ == "__main__":
    main()
