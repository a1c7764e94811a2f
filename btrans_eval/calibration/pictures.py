"""The pictures of a calibration."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter, StrMethodFormatter

from btrans_eval.report.style import BLUE, GREEN, INK, Picture, figure, picture

_LOOKS = {"isotropic": (BLUE, "o", "-"), "scaled": (GREEN, "s", (0, (5, 2)))}


def competence(found: Mapping[str, Any]) -> Picture:
    """KL against sigma for each prior, with the share of greedy choices that changed."""
    with figure(5.2, 3.6) as (drawn, axes):
        curves = {
            prior: [row for row in found["curve"] if row["prior"] == prior] for prior in _LOOKS
        }
        shown = {prior: rows for prior, rows in curves.items() if rows}
        leftmost = min(shown, key=lambda prior: fmean(row["sigma"] for row in shown[prior]))
        for prior, rows in shown.items():
            colour, marker, line = _LOOKS[prior]
            sigmas, kls = ([row[name] for row in rows] for name in ("sigma", "kl"))
            axes.errorbar(
                sigmas, kls, yerr=[row["stderr"] for row in rows], color=colour, marker=marker,
                linestyle=line, linewidth=1.1, label=prior,
            )  # fmt: skip
            # away from the other curve, which may lie close
            place, side = ((-7, 3), "right") if prior == leftmost else ((7, -9), "left")
            for row in rows:
                said = f"{100 * row['greedy_changed']:.0f}%, × {row['perplexity_ratio']:.2f}"
                axes.annotate(
                    said, (row["sigma"], row["kl"]), xytext=place, ha=side, color=INK,
                    fontsize=7.5, textcoords="offset points",
                )  # fmt: skip
        axes.set(xscale="log", yscale="log", xlabel="sigma")
        axes.set_ylabel("KL(model ‖ member), nats per token")
        for axis in (axes.xaxis, axes.yaxis):  # the house's figures parse no 10^{-2}
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.margins(x=0.3, y=0.15)
        title = "beside a point: greedy choices that changed, perplexity over the model's"
        drawn.legend(loc="outside lower center", ncols=2, title=title, title_fontsize=8)
        caption = "Bars: standard error over members."
        return picture("competence", "What noise does to the model", caption, drawn)


def layers(found: Mapping[str, Any]) -> Picture:
    """Each layer's share of the KL when noise of one sigma is in it alone."""
    rows = found["layers"]
    with figure(6.4, max(2.4, 0.9 + 0.14 * len(rows))) as (drawn, axes):
        places = range(len(rows))
        axes.barh(places, [row["share"] for row in rows], color=BLUE, height=0.7)
        axes.set_yticks(places, [row["name"] for row in rows], fontsize=6)
        axes.invert_yaxis()
        axes.margins(y=0.01)
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("share of the sum of KL, noise of one sigma in this layer alone")
        return picture("layers", "What each layer bears", "Equal sigma in every layer.", drawn)
