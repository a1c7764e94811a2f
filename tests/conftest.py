import copy
import functools
import os
import sys
from pathlib import Path

# before any test module imports torch, transformers or datasets
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:  # two busy torch processes on two cores are far slower
    os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

from lm_eval.tasks import _index  # noqa: E402


def _read_once() -> None:
    """Let a process read the harness's 14,000 task files once, and not for every TaskManager."""
    folder = Path(_index.__file__).parent
    find, load = _index.TaskIndex._iter_yaml_files, _index.load_yaml
    known, files = functools.cache(load), functools.cache(lambda: list(find(folder)))

    def load_once(path, **how):
        return copy.deepcopy(known(path, **how)) if folder in path.parents else load(path, **how)

    def find_once(root):
        return files() if root == folder else find(root)

    _index.load_yaml, _index.TaskIndex._iter_yaml_files = load_once, staticmethod(find_once)


_read_once()
