"""One exporter per leaderboard format: ``export(format, folder, options)``; see README.md."""

from btrans_eval.leaderboards.formats import FORMATS, export
from btrans_eval.leaderboards.options import ExportOptions, add_arguments, options_from

__all__ = ["FORMATS", "ExportOptions", "add_arguments", "export", "options_from"]
