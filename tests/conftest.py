import gc
import os
import sys
from pathlib import Path

# before any test module imports torch, transformers or datasets
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
if "PYTEST_XDIST_WORKER" in os.environ:  # two busy torch processes on two cores are far slower
    os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

from listed_once import list_once  # noqa: E402

# with few tests that take long: they begin first, so that no process is left alone with them
_LONG = ("test_characterization", "test_real_input", "test_interrupts", "test_launch", "test_study",
         "test_examples", "test_posterior", "test_real", "test_families")  # fmt: skip

list_once()


def pytest_collection_modifyitems(items: list) -> None:
    items.sort(key=lambda item: item.path.stem not in _LONG)


def pytest_collection_finish() -> None:
    """What is imported by now stays; looking through it for garbage took a tenth of the time."""
    gc.collect()
    gc.freeze()
