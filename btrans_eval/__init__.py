"""Evaluate populations of minds in EleutherAI's lm-evaluation-harness (arXiv 2512.25063)."""

TYPE_CHECKING = False  # every Python start passes here, and `import typing` takes milliseconds
if TYPE_CHECKING:
    from btrans_eval.answers.equal import equal
    from btrans_eval.answers.extract import extract
    from btrans_eval.face.ask import ask
    from btrans_eval.face.compared import compare_runs
    from btrans_eval.population.calibrate import calibrate
    from btrans_eval.population.population import Population
    from btrans_eval.population.wrapper import BayesianBiasWrapper
    from btrans_eval.results.runs import load as load_run
    from btrans_eval.scores.estimators import maj_at_k, pass_at_k

__version__ = "0.2.0"
__all__ = [
    "BayesianBiasWrapper",
    "Population",
    "__version__",
    "ask",
    "calibrate",
    "compare_runs",
    "equal",
    "extract",
    "load_run",
    "maj_at_k",
    "pass_at_k",
]

_HOMES = {
    "BayesianBiasWrapper": "population.wrapper",
    "Population": "population.population",
    "ask": "face.ask",
    "calibrate": "population.calibrate",
    "compare_runs": "face.compared",
    "equal": "answers.equal",
    "extract": "answers.extract",
    "load_run": "results.runs",
    "maj_at_k": "scores.estimators",
    "pass_at_k": "scores.estimators",
}


def __getattr__(name: str) -> object:
    # torch waits until it is wanted
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    home = import_module(f"{__name__}.{_HOMES[name]}")
    found: object = getattr(home, "load" if name == "load_run" else name)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
