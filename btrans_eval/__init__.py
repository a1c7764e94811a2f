"""Evaluate populations of minds in EleutherAI's lm-evaluation-harness (arXiv 2512.25063)."""

TYPE_CHECKING = False  # every Python start passes here, and `import typing` takes milliseconds
if TYPE_CHECKING:
    from btrans_eval.population.calibrate import calibrate
    from btrans_eval.population.population import Population
    from btrans_eval.population.wrapper import BayesianBiasWrapper

__version__ = "0.1.0"
__all__ = ["BayesianBiasWrapper", "Population", "__version__", "calibrate"]


def __getattr__(name: str) -> object:
    # torch waits until it is wanted
    if name == "Population":
        from btrans_eval.population.population import Population

        return Population
    if name == "BayesianBiasWrapper":
        from btrans_eval.population.wrapper import BayesianBiasWrapper

        return BayesianBiasWrapper
    if name == "calibrate":
        from btrans_eval.population.calibrate import calibrate

        return calibrate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
