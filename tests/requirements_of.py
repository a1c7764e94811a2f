"""Print what an installed package requires, one a line, but for some.

python tests/requirements_of.py NAME EXTRA LEFT_OUT ...; EXTRA may be empty.
"""

import sys
from importlib.metadata import requires

from packaging.requirements import Requirement

name, extra, *left_out = sys.argv[1:]
for line in requires(name) or []:
    wanted = Requirement(line)
    applies = wanted.marker is None or wanted.marker.evaluate({"extra": extra})
    if wanted.name not in left_out and applies:
        wanted.marker = None
        print(wanted)
