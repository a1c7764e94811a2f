"""The unit after a value, or the currency before it: a name of its own, never converted."""

from __future__ import annotations

import re

_ALIASES = {
    "cm": "centimeter centimeters centimetre centimetres",
    "mm": "millimeter millimeters millimetre millimetres",
    "km": "kilometer kilometers kilometre kilometres",
    "m": "meter meters metre metres",
    "ft": "foot feet", "in": "inch inches", "yd": "yard yards", "mi": "mile miles",
    "kg": "kilogram kilograms", "g": "gram grams gm", "mg": "milligram milligrams",
    "lb": "lbs pound pounds", "oz": "ounce ounces",
    "L": "l liter liters litre litres", "mL": "ml milliliter milliliters",
    "s": "sec secs second seconds", "min": "mins minute minutes", "hr": "h hrs hour hours",
    "day": "days", "week": "weeks", "month": "months", "year": "yr yrs years",
    "mph": "mi/hr", "kph": "kmh km/hr",
    "degree": "degrees deg", "rad": "radian radians", "dollar": "dollars", "cent": "cents",
    "euro": "euros", "unit": "units", "J": "joule joules", "N": "newton newtons", "W": "watt watts",
    "Hz": "hertz", "V": "volt volts", "K": "kelvin",
}  # fmt: skip
_CANONICAL = {other: unit for unit, others in _ALIASES.items() for other in others.split()}
_KNOWN = sorted(
    {word for word in [*_ALIASES, *_CANONICAL] if len(word) > 1 and "/" not in word} - {"in"},
    key=len,
    reverse=True,
)
_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9,
           "trillion": 10**12, "dozen": 12}  # fmt: skip
_POWER = r"(?:\s*\^\{-?\d\})?"
_KNOWN_UNIT = rf"(?:square |cubic |sq\.? |cu\.? )?(?:{'|'.join(_KNOWN)}){_POWER}"
_BARE = re.compile(
    rf"(.*?(?:[\d}})\]!]|\\pi)\s*)((?:(?:{'|'.join(_SCALES)})\b ?)?(?:{_KNOWN_UNIT}"
    rf"(?:(?:\s*/\s*|\s+per\s+)(?:{_KNOWN_UNIT}|h|s))?)?)(?![A-Za-z])",
    re.S,
)
_UPRIGHT = re.compile(
    rf"(.*[^\s\\])\s*((?<![\^_])(?:\\text\{{[^{{}}]*\}}{_POWER}(?:\s*(?:/|\\cdot)\s*)?)+)", re.S
)
_PERCENT = re.compile(
    r"(.+?)\s*(?:\\?%|\\text\{ *(?:\\?%|percent|percentage|per cent) *\}"
    r"|\b(?:percent(?:age)?|pct))",
    re.S,
)
_DEGREES = re.compile(r"(.*[^\s\\])\s*\^\{\\circ\}\s*(?:\\text\{ *([CFK]) *\}|([CFK]))?", re.S)
_CURRENCY = re.compile(r"([-+]?)\s*(\\\$|€|£)\s*(-?)\s*(\.?\d.*)", re.S)
_CURRENCIES = {"\\$": "dollar", "€": "euro", "£": "pound sterling"}
_VALUE = re.compile(r"\d|\\pi|\\frac|\\sqrt")
_ANGLES = re.compile(r"\\circ|\\[a-z]*(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
_NO_UNIT = re.compile(
    r"\s*(?:or|and|if|when|where|for|more|less|at|to|by|times|plus|minus|is|are|not|of|base|mod|"
    r"choose|modulo|through|out)\b"
)


def split_unit(text: str) -> tuple[str, str, int]:
    """(value, unit, scale) of a cleaned answer, unit "" where none follows; "%" is a percentage.

    "5 million dollars" is 5, dollar, 1000000. A single letter is a unit in ``\\text`` only: "5m"
    may be a product. In an expression with a function (``\\cos 60^{\\circ}``) degrees are no unit.
    """
    if m := _CURRENCY.fullmatch(text):
        value, unit, scale = split_unit(m[1] + m[3] + m[4])
        return value, _CURRENCIES[m[2]] if unit in ("", "dollar") else unit, scale
    if m := _PERCENT.fullmatch(text):
        return m[1], "%", 1
    m = _DEGREES.fullmatch(text)
    if m and _VALUE.search(m[1]) and not _ANGLES.search(m[1]):
        scale_name = m[2] or m[3]
        return m[1], f"degree {scale_name}" if scale_name else "degree", 1
    for pattern in _UPRIGHT, _BARE:
        m = pattern.fullmatch(text)
        if m and m[2] and "\\text" not in m[1] and _VALUE.search(m[1]):
            words = re.sub(r"\\text\{([^{}]*)\}", r" \1 ", m[2])
            if _NO_UNIT.match(words):
                break
            first, _, rest = words.strip().partition(" ")
            scale = _SCALES.get(first.lower().rstrip("s") if first else "", 1)
            return m[1].strip(), _canonical(rest if scale > 1 else words), scale
    return text, "", 1


def _canonical(words: str) -> str:
    """One name for one unit: "square inches" and "inches^2" are "in2", "miles per hour" "mph"."""
    words = re.sub(r"\bsq(?:uare|\.)?\s+([A-Za-z]+)", r"\1^{2}", words.strip(" ."))
    words = re.sub(r"\bcu(?:bic|\.)?\s+([A-Za-z]+)", r"\1^{3}", words)
    words = re.sub(r"\s*(?:/|\bper\b)\s*", "/", words)
    words = re.sub(r"\s*\^\s*\{?(-?\d)\}?", r"\1", words).replace("\\cdot", " ")
    named = re.sub(r"[A-Za-z]+", lambda m: _name(m[0]), " ".join(words.split()))
    return _CANONICAL.get(named, named)


def _name(word: str) -> str:
    for known in (word, word.lower()):
        if known in _ALIASES or known in _CANONICAL:
            return _CANONICAL.get(known, known)
    return word if len(word) < 3 else word.lower().removesuffix("s")
