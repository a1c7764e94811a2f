"""How arms look in every picture, and figures as SVG and PNG."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from btrans_eval.report.text import clean, short

INK, FAINT, PAPER = "#161616", "#d8d8d8", "#fefefe"
# Okabe and Ito's colours, which colour-blind readers tell apart; their yellow is lost on white
BLUE, RED, GREEN, PURPLE, SKY, ORANGE = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00",
)  # fmt: skip
_COLOURS = {
    "population": (BLUE, GREEN, SKY, PURPLE, ORANGE, RED),
    "stock": (RED, ORANGE, PURPLE, SKY, GREEN, BLUE),
    "other": (PURPLE, SKY, ORANGE, GREEN, RED, BLUE),
}
_MARKERS = "osD^vPX*<>hd"
GLYPHS = dict(zip(_MARKERS, "●■◆▲▼✚✖★◀▶⬢⬧", strict=True))
_LINES: dict[str, str | tuple[float, tuple[float, ...]]] = {
    "population": "-",
    "stock": (0, (5, 2)),
    "other": (0, (1.5, 1.5)),
}
_RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a "$" in a name is a "$"
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
}


@dataclass(frozen=True)
class Look:
    """An arm in a picture: its colour, marker, dashes, and name as far as it fits."""

    colour: str
    marker: str
    line: str | tuple[float, tuple[float, ...]]
    label: str

    @property
    def glyph(self) -> str:
        """The marker as a character."""
        return GLYPHS[self.marker]


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        name: of its files, without ending.
        title: what it shows, in a few words.
        caption: how to read it.
        svg: the file.
        png: the file.
    """

    name: str
    title: str
    caption: str
    svg: str
    png: bytes


class Named(Protocol):
    """What has a look: its name, and its kind (population, stock or other)."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...


def looks(arms: Sequence[Named]) -> dict[str, Look]:
    """A look for each arm: cool colours and solid lines for populations, warm and dashed stock."""
    taken: dict[str, int] = {}
    found = {}
    for place, arm in enumerate(arms):
        colours = _COLOURS[arm.kind]
        free = [colour for colour in colours if colour not in taken]
        colour = free[0] if free else min(colours, key=lambda one: taken[one])
        taken[colour] = taken.get(colour, 0) + 1
        marker = _MARKERS[place % len(_MARKERS)]
        found[arm.name] = Look(colour, marker, _LINES[arm.kind], short(arm.name, 34))
    return found


@contextmanager
def figure(width: float = 4.4, height: float = 3.4) -> Iterator[tuple[Figure, Axes]]:
    """A figure with one pair of axes in the house's style, whatever the user's settings are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_RC)
        drawn = Figure(figsize=(width, height), layout="constrained")
        yield drawn, drawn.add_subplot()


def picture(
    name: str, title: str, caption: str, drawn: Figure, hints: Mapping[str, str] | None = None
) -> Picture:
    """The figure as files, the same bytes for the same figure. Call inside ``figure``.

    Args:
        name: of the files.
        title: for readers and screen readers.
        caption: how to read it.
        drawn: the figure.
        hints: text to show over the elements that have these gids.
    """
    matplotlib.rcParams["svg.hashsalt"] = name
    vector, raster = io.StringIO(), io.BytesIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*[Gg]lyph")  # names in any script
        drawn.savefig(vector, format="svg", metadata=nothing)
        drawn.savefig(raster, format="png", dpi=200, metadata={"Software": None})
    svg = _titled(vector.getvalue(), hints or {})
    return Picture(name, title, caption, svg, raster.getvalue())


def _titled(svg: str, hints: Mapping[str, str]) -> str:
    for gid, hint in hints.items():
        tag = f'<g id="{gid}">'
        svg = svg.replace(tag, f'<g class="point"><title>{_escaped(hint)}</title>', 1)
    return svg


def _escaped(text: str) -> str:
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(character, entity)
    return clean(text)


def inline(shown: Picture) -> str:
    """The picture for the page: without a prolog, ids of its own, colours that follow the page."""
    svg = shown.svg[shown.svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    label = _escaped(f"{shown.title}. {shown.caption}")
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    used = set(re.findall(r"url\(#([^)]+)\)", svg)) | set(re.findall(r'href="#([^"]+)"', svg))
    for name in set(re.findall(r' id="([^"]+)"', svg)):
        new = f' id="{shown.name}-{name}"' if name in used else ""
        svg = svg.replace(f' id="{name}"', new)
    svg = re.sub(r"url\(#", f"url(#{shown.name}-", svg)
    svg = re.sub(r'href="#', f'href="#{shown.name}-', svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    return svg


_VARIABLES = {
    INK: "ink", FAINT: "faint", PAPER: "paper", BLUE: "blue", RED: "red", GREEN: "green",
    PURPLE: "purple", SKY: "sky", ORANGE: "orange",
}  # fmt: skip


def variable(colour: str) -> str:
    """The page's name for a colour of ours."""
    return _VARIABLES[colour]
