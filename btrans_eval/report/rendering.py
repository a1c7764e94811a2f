"""Pages of the house's look: one environment, one style sheet, one set of parts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from btrans_eval.report import questions
from btrans_eval.report.style import inline, variable
from btrans_eval.report.text import clean

PAGE = Path(__file__).parent / "page"


def render(template: Path, shown: Mapping[str, Any]) -> str:
    """A page from its template, which may use the parts of ``page/parts.html``."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, PAGE]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["inline"] = lambda picture: Markup(inline(picture))
    environment.filters["json"] = lambda value: Markup(questions.as_json(value))
    environment.filters["clean"] = clean
    environment.filters["breakable"] = _breakable
    environment.filters["variable"] = variable
    parts = {name: Markup((PAGE / f"page.{name}").read_text("utf-8")) for name in ("css", "js")}
    return environment.get_template(template.name).render(shown, **parts)


def _breakable(name: str) -> Markup:
    """A name that may be broken after its underscores."""
    return Markup(str(escape(clean(name))).replace("_", "_<wbr>"))
