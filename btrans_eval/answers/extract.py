"""The answer a response states, by the kind of the gold answer; None where it states none.

A missed answer costs one vote, a false one is a wrong number: an ambiguous form gives None.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from decimal import Context, Decimal
from fractions import Fraction

from btrans_eval.errors import UserError

KINDS = ("letter", "integer", "number", "latex", "text")
ANSWERS_SCHEME = 1  # raising it is a CHANGELOG line: answers of two schemes do not compare

_BRACES = re.compile(r"\\(boxed|fbox)\s*\{|\\(?:[^\\]|\\(?!boxed|fbox))|[{}]", re.S)
_BARE_BOX = re.compile(r"\\(boxed|fbox)[ \t]+([-+]?[0-9](?:[0-9.,/]*[0-9])?|[A-Z])(?![\w{.])")
_BLANK_BOX = re.compile(r"[\s.…?]*|\\l?dots|(?:\\text\{)?(?:(?:your|the|final) )*answer\}?", re.I)
_LEAD = re.compile(
    r"\b(?:answer|(?:correct|best|right|closest) (?:option|choice|letter|one))\b(?: choice| option|"
    r" letter)?(?: (?:to|for) (?:the|this|that|your)(?: \w+){1,3}?)?(?:(?P<mark>[\"'”]?\s*[:=]|"
    r"\s*\n)| (?:is|was|(?:would|should|must|will) be)\b\s*:?)\s*(?:(?:therefore|thus|then|hence|"
    r"clearly|indeed|simply|just|still|now|most|likely|probably|definitely|actually|exactly|both|"
    r"either|equal to|(?:the )?(?:option|choice|letter)|approximately|about|none of the "
    r"above)\b[,:]?\s*){0,4}",
    re.I,
)
_DOUBT = re.compile(
    r"(?:(?:\bif|whether|why|suppos\w+|assum\w+|unless|doubt|n[o'’]t (?:think|believe))(?: that)?"
    r"(?: (?:the|my|our|an?))?(?: (?:final|correct|right|best|option|choice))?|\b(?:incorrect|"
    r"wrong|possible|previous|partial|intermediate|not (?:the|an?)))\s*\Z",
    re.I,
)
_CHARS = str.maketrans(dict(zip("−（）：", "-():", strict=True)) | {"½": " 1/2", "¼": " 1/4"})
_PLAIN = [(re.compile(pattern), by) for pattern, by in (
    (r"(?<![0-9])\*\*|\*\*(?![0-9])|\b__|__\b|`", ""),  # bold, not the power in 2**3
    (r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf|sf|it)|mbox)\s*\{([^{}]*)\}", r" \1 "),
    (r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf|sf|it)|mbox)\s*\{([^{}]*)\}", r" \1 "),  # nested once
    (r"(?<=[0-9])(?:\{,\}|,?\\[,!] ?|[\u00a0\u2009\u202f])(?=[0-9]{3})", ","),
    (r"(?<![0-9])(?<![0-9] )–(?=[$€£.0-9])", "-"),
    (r"(?<=[0-9]) ?(?=\\[dt]?frac)", " "),
    (r"\\[dt]?frac ?(?:\{(-?[0-9]+)\}|([0-9])) ?(?:\{([0-9]+)\}|([0-9]))", r"\1\2/\3\4"),
    (r"\\([%$&])", r"\1"),
    (r"\^ ?\{? ?\\circ ?\}?|\\left\b|\\right\b|\\[()\[\]!]|(?:\b(?:US|AU|CA|HK))?\$", ""),
    (r"\\[,;: ]|~|[^\S\n]+", " "),
    (r" {2,}", " "),
    (r"(?: ?\n ?)+", "\n"),
)]  # fmt: skip

_TAIL = (  # a capital counts where the sentence ends or gives its reason, not in "B cells"
    r"(?![\w'’])(?=[\"'”’]?(?:\s*$|\s*\n|[,;!)\]\"”]|:\s|\.(?!\w|\s[A-Z]\.|\s(?:coli|pylori|"
    r"elegans|subtilis|difficile|cerevisiae|melanogaster|albicans|aureus|cereus)\b)|"
    r"\s(?:because|since|as|which|due|given|but|and|or)\b|\s[–—]|\s\((?![a-z]\))))"
)
_PICK = re.compile(
    rf"[\"'“‘]?(?:\x01(?P<box>[A-Z])\x01|[(\[] ?(?P<par>[A-Za-z]) ?[)\]]|(?!A:)(?P<cap>[A-Z])"
    rf"{_TAIL}|(?P<low>[a-z])(?=[.,;:!)](?:\s|$)|\s*$|\n))(?!\?)"
)
_MORE = re.compile(r"[)\].\x01]?\s?(?:,|and\b|or\b|&|/)[\s,]*(?:and |or )?(?:\([A-J]\)|[A-HJ]\b)")
_NAMED = r"(?:(?i:\b(?:option|choice|answer|letter)) \(?|\()(?P<a>[A-Z])\b\)?"
_BEST = r" is (?:therefore |thus |indeed )?(?:the )?(?:most |single )?(?:correct|right|best)\b"
_CHOICES = (  # every other explicit form
    re.compile(r"\x01(?P<a>[A-Z])\x01"),
    re.compile(_NAMED + _BEST + r"(?: answer| option| choice| one)?(?=[.!,;\n]|$| because)"),
    re.compile(rf"\b(?P<a>[A-Z])(?= ){_BEST}(?: answer| option| choice)"),
    re.compile(rf"\b(?:I|[Ww]e)(?:'ll|'d| will| would)? (?:choose|pick|select|go with) {_NAMED}"),
    re.compile(rf"\b(?:corresponds to|matches|which is|closest to)(?: the)? {_NAMED}(?=[.!\n]|$)"),
)
_ONLY_LETTER = re.compile(r"[(\[]([A-Za-z])[)\]]\.?|([A-Z])[.)]?|([a-z])")
_MARKED = re.compile(r"(?:\(([A-Z])\)|([A-Z])[.)]) (?!(?:is|are|and|or|was|can|does|has|coli)\b)")
_MARK = re.compile(r"(?:^|\s)\(?[A-J][.)](?:\s|$)")

_RUN = re.compile(  # a mixed number; digits grouped by blanks; or digits with what glues them
    r"[0-9]+ [0-9]+/[0-9]+(?![0-9/.,])|[0-9]{1,3}(?: [0-9]{3})+(?!,?[0-9])|"
    r"(?:(?<![0-9.])\.)?[0-9](?:[0-9]|[-–.,:/^*+×](?=\.?[0-9]))*"
)
_NAME_BEFORE = re.compile(  # a name, an exponent, an index, the number of a step
    r"(?:[A-Za-z_]-?|[\^_]\{?-?|\b(?:step|part|case|question|problem|equation|line) [#(]?)\Z",
    re.I,
)
_NAME_AFTER = re.compile(r"(?:st|nd|rd|th)\b|-[A-Za-z]")
_BAD_BEFORE = re.compile(
    r"(?:[{√]|[0-9)] ?[+*×÷·/]{1,2} ?|[0-9] x |[0-9][.,:'’]|(?:minus|negative) )[€£¥]?\Z", re.I
)
_BAD_AFTER = re.compile(
    r"(?!(?:kg|g|mg|km|cm|mm|mi|ft|lbs?|oz|hrs?|mins?|secs?|ml|mph|am|pm)\b)[A-Za-z_(]"
    r"| ?(?:[\^²³π√½¼¾⅓⅔+×÷·=<>≈]|\\(?!\\|end)|\.\.|…|['’][0-9]|\* ?[\w(]|[-/] ?(?:[0-9(]|$))"
    r"| ?(?:hundred|thousand|million|billion|trillion|dozen)| (?:\w+ )?and (?:a|one|three)[ -]"
)
_SIGN = re.compile(r"(\S?)(\s*)-( ?)[€£¥]? ?\Z")
_DIGITS = re.compile(r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]*)(?:\.[0-9]+)?")
_ITEM = re.compile(r"(\n|\A)[#>* -]{0,8}(?:step )?([0-9]{1,2})[.):](?: (?=\S)|(\s*\Z))", re.I)
_STOP = re.compile(r"[.!?;](?=\s|$|[A-Za-z])|\n|,(?=\s)|(?<=[\w%.]) \(|,? (?:because|since|which|"
                   r"where|as|so|for|when)\b")  # fmt: skip
_LISTED = re.compile(r",\s(?:and |or )?[-+€£]*[0-9]")
_UNIT = re.compile(
    r"\s?[%°]?\s?(?:(?!(?:or|and|to|of|out|by|in|more|less|fewer|times|plus|minus|mod)\b)(?:[a-z]{2,}|[mgsLlhFCNJWKV€£]|USD|EUR)\b"
    r"(?: ?[a-z/]+){0,2}(?: ?\^? ?\{?[0-9²³]\}?)?)?[\s.!\"}*]*"
)
_MATHS = re.compile(r"\s*(?:\$\$?((?:\\.|[^$\\])+)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\])", re.S)
_WORD = re.compile(r"[^\W\d_]{3,}|\b(?:is|of|to|so|we|in|or|an|as|at|by|if|it|be|no|on)\b", re.I)
_COMMAND = re.compile(
    r"\\(?:text(?:bf|rm)?|mathrm|mbox|begin|end|operatorname)\s*\{[^{}]*\}|\\[A-Za-z]+"
    r"|\b(?:sin|cos|tan|log|exp|sqrt|arc(?:sin|cos|tan)|cot|sec|csc)\b"
)
_UNMATHS = re.compile(r"boxed|\n\n|\A[^$]*(?<!\\)\$(?:[^$]*[^$0-9.,][^$]*|)\Z|\\\\\Z|\A&|[^\\]&\Z")
_SOLID = re.compile(r"[0-9=]|\\(?:[dt]?frac|sqrt|pi|infty|text|begin|emptyset|varnothing)")
_ASIDE = re.compile(
    r"(?:\b(?:for|all|any|every|when|where|if|with|let|since|by|than|find|and|or)|,)\s*$"
)

_AIME = re.compile(r"[0-9]{1,3}")
_GOLD_NUMBER = re.compile(
    r"[-+−]?\s?[$€£]?-?(?=\.?[0-9])(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]*)(?:\.[0-9]+)?\s?%?"
)
_MARKUP = re.compile(r"\\[A-Za-z]|\$[^$]+\$")


def _visible(text: str) -> str:
    """The text without its reasoning: what stands in unfinished thoughts is no answer."""
    _, closed, rest = text.rpartition("</think>")
    shown = rest if closed else text.partition("<think>")[0]
    return shown.replace("<answer>", "\nAnswer: ").replace("</answer>", "\n")


def _boxes(text: str) -> list[tuple[int, int, str, str]]:
    """(start, end, name, content) of each complete, filled box, in the order of their starts."""
    found = [(m.start(), m.end(), m[1], m[2]) for m in _BARE_BOX.finditer(text)]
    opened: list[re.Match[str]] = []
    for m in _BRACES.finditer(text):
        if m[1] or m[0] == "{":
            opened.append(m)
        elif m[0] == "}" and opened and (start := opened.pop())[1]:
            # No answer is that long, and copying nested boxes would cost quadratic time.
            content = text[start.end() : m.start()] if m.start() - start.end() < 2000 else ""
            if "\n\n" not in content and not _BLANK_BOX.fullmatch(content):
                found.append((start.start(), m.end(), start[1], content))
    return sorted(found)


def _boxed(text: str) -> str | None:
    """The content of the last complete \\boxed, else of the last complete \\fbox."""
    boxes = _boxes(text)
    last = [box for box in boxes if box[2] == "boxed"] or boxes
    return last[-1][3] if last else None


def _plain(text: str) -> str:
    """The text without markup, white space folded, digit groups by commas, \\frac as a/b."""
    text = text.translate(_CHARS)
    for pattern, by in _PLAIN:
        text = pattern.sub(by, text)
    return text


def _claims(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    """The matches that are no hypothesis ("if the answer is ..."), the last first."""
    found = pattern.finditer(text)
    return [m for m in found if not _DOUBT.search(text[max(0, m.start() - 60) : m.start()])][::-1]


def _is_said(lead: re.Match[str], said: str, rest: str) -> bool:
    """Whether the lead states this: what follows "Answer:" may be a chain of thought.

    So it counts where it fills its line, or, being an equation, the rest of the text.
    """
    end = r"[^\n\w]{0,3}\s*" + (r"\Z" if "=" in said else r"(?:\n|\Z)")
    return not lead["mark"] or re.match(end, rest) is not None


def extract_letter(text: str, choices: int = 10) -> str | None:
    """The choice letter stated last ("the answer is (C)" and its kin), else the bare one.

    A last statement that names several letters, or one beyond the choices, is no answer.
    """
    if not 1 <= choices <= 26:
        raise UserError(f"choices must lie in 1..26, got {choices}: give the number of choices")
    seen, edge = _visible(text).replace("\x01", ""), len(text) * 2 + 99
    for start, end, _, content in reversed(_boxes(seen)):
        m = re.fullmatch(r"\s?(?:\(([a-zA-Z])\)|([A-Z]))(?:\s?[.):,]?\s.*|[.):]?)", _plain(content))
        if end <= edge:
            mark = f" \x01{(m[1] or m[2]).upper()}\x01 " if m else " "
            seen, edge = seen[:start] + mark + seen[end:], start
    plain = _plain(seen).strip()
    said: list[tuple[int, str]] = []
    for lead in _claims(_LEAD, plain):
        if pick := _PICK.match(plain, lead.end()):
            letter = pick[pick.lastgroup or 0].upper()
            said.append((pick.start(), "" if _MORE.match(plain, pick.end()) else letter))
    for pattern in _CHOICES:
        said += [(m.start("a"), m["a"]) for m in _claims(pattern, plain)]
    said = [(at, letter) for at, letter in said if letter != "X"]  # "the answer is (X)", retold
    letter = max(said)[1] if said else _bare_letter(plain)
    return letter if letter and ord(letter) - ord("A") < choices else None


def _bare_letter(plain: str) -> str:
    """The letter that is the whole text, its first or its last line, or marks its only line."""
    lines = plain.split("\n")
    for line, alone in ((lines[-1], len(lines) == 1), (lines[0], True)):
        listed = any(_MARK.search(other) for other in lines if other is not line)
        m = _ONLY_LETTER.fullmatch(line)
        if m and not listed and (alone or line not in ("A", "I", "a", "i")):
            return (m[1] or m[2] or m[3]).upper()
    m = _MARKED.match(plain) if len(lines) == 1 and len(plain) < 200 else None
    return (m[1] or m[2]) if m and not _MARK.search(plain, m.end()) else ""


def _numbers(plain: str) -> Iterator[tuple[int, int, str | None]]:
    """(start, end, value) of each number, the last first; value None where it is ambiguous."""
    for m in reversed(list(_RUN.finditer(plain))):
        before, after = plain[max(0, m.start() - 24) : m.start()], plain[m.end() : m.end() + 40]
        if not _NAME_BEFORE.search(before) and not _NAME_AFTER.match(after):
            bad = len(m[0]) > 40 or _BAD_BEFORE.search(before) or _BAD_AFTER.match(after)
            yield m.start(), m.end(), None if bad else _value(before, m[0])


def _value(before: str, run: str) -> str | None:
    """The canonical form of the digits: a decimal where that is exact, else a reduced fraction."""
    whole, _, ratio = run.rpartition(" ")
    parts = ratio.split("/")
    if not all(part and _DIGITS.fullmatch(part) for part in parts) or len(parts) > 2:
        return None
    numbers = [Fraction(part.replace(",", "")) for part in parts]
    if not all(numbers[1:]) or (whole and (len(numbers) < 2 or numbers[0] >= numbers[1])):
        return None
    value = numbers[0] / (numbers[1] if numbers[1:] else 1) + int(whole or 0)
    if sign := _SIGN.search(before):
        previous, space, gap = sign.groups()
        bullet = gap and "\n" in space
        if not bullet and (previous in tuple("0123456789)-") or (gap and previous != "=")):
            return None
        value = value if bullet else -value
    decimal = Context(prec=400).divide(Decimal(value.numerator), Decimal(value.denominator))
    return format(decimal, "f") if Fraction(decimal) == value else str(value)


def _sole(span: str) -> str | None:
    """The one number that is all of the span, or all that follows its last equals sign."""
    *left, last = re.split(r"[=≈]|\\approx", span)
    last = re.sub(r"\A\s*\(([^(),]*)\)\s*\Z", r"\1", last)
    found = list(_numbers(last))
    if len(found) != 1 or re.search(r"[,;](?![0-9]{3})|\band\b", span):
        return None
    start, end, value = found[0]
    clean = re.fullmatch(r"[\s€£¥+~\"-]*", last[:start]) and not any(map(_WORD.search, left))
    return value if clean and _UNIT.fullmatch(last[end:]) else None


def _stated(seen: str, plain: str) -> str | None:
    """The number of the last box, else of the last statement; "" where that one is no number."""
    if box := _boxed(seen):
        return _sole(_plain(box)) or ""
    for lead in _claims(_LEAD, plain):
        span = plain[lead.end() : lead.end() + 200]
        head = _STOP.split(span)[0]
        rest = span[len(head) :]
        if _is_said(lead, head, rest) and re.match(r"[\s€£¥+~\"-]*\.?[0-9]|.*=", head):
            return "" if _LISTED.match(rest) else _sole(head) or ""
    return None


def extract_integer(text: str) -> str | None:
    """An integer 0..999 (AIME), without leading zeros: last box, last statement, or final number.

    A box or a statement that holds anything else is no answer; nothing earlier replaces it.
    """
    seen = _visible(text)
    plain = _plain(seen)
    value = _stated(seen, plain)
    if value is None:
        body = _unnumbered(plain).strip()
        start, end, value = next(_numbers(body), (0, 0, None))
        ended = seen.rstrip()[-1:] in tuple(".!$)]*") or re.search(
            r"(?:\A|[\n=] ?)\Z", body[:start]
        )
        if body[end:].strip(" .!*") or not ended or _cut_off(seen) or _ASIDE.search(body[:start]):
            return None
    return value if value and _AIME.fullmatch(value) else None


def extract_number(text: str) -> str | None:
    """A number (GSM8K): "#### n", else last box, last statement, or the last number of the text.

    The form is canonical by the exact value: a decimal where it ends ("18.00" -> "18", "3/4" and
    "6/8" -> "0.75", "1 1/2" -> "1.5"), else the reduced fraction ("2/6" -> "1/3"). A percentage is
    its number ("50%" -> "50": GSM8K's convention), currency and units are dropped. Commas, \\, and
    thin spaces group digits by three; "1 000" with a plain space may be a list, as "3,4" is: None.
    So are scientific notation, ranges, ratios, times, "5 million", "5k", powers, and what is left
    of an unfinished sum ("16 - 3"). Names ("x2", "B2B"), exponents, ordinals do not count at all.
    """
    seen = _visible(text)
    plain = _plain(seen)
    for line in re.findall(r"(?<!#)####(?!#) ?([^\n]{0,200})", plain)[::-1]:
        heading = re.match(r"[0-9]{1,2}[.):] ?\S", line)
        if re.match(r"[\s€£¥+~-]*\.?[0-9]", line) and not heading:
            return _sole(_STOP.split(line)[0])
    value = _stated(seen, plain)
    if value is None:
        value = next(_numbers(_unnumbered(plain)), (0, 0, None))[2]
    return value or None


def _unnumbered(text: str) -> str:
    """The text without the numbers 1, 2, 3 ... of its list items, which are no answers."""
    seen = 0

    def drop(m: re.Match[str]) -> str:
        nonlocal seen
        dangling = m[3] is not None
        if int(m[2]) != seen + 1 and (int(m[2]) != 1 or dangling) or (dangling and not seen):
            return m[0]
        seen = int(m[2])
        return m[1]

    return _ITEM.sub(drop, text)


def extract_latex(text: str) -> str | None:
    """The expression in the last complete box, else in the last statement, else at the very end."""
    seen = _visible(text)
    box = _boxed(seen)
    if box is not None:
        return _bare_maths(box) or None
    body = re.sub(r"(?<![0-9])\*\*|\*\*(?![0-9])", "", seen)
    for lead in _claims(_LEAD, body):
        span = body[lead.end() : lead.end() + 400]
        m = _MATHS.match(span)
        content = (m[1] or m[2] or m[3]) if m else ""
        rest = span[m.end() :] if m else ""
        if not m or not _is_maths(content):
            content = re.split(r"[.?;](?=\s|$)|\n|,? (?:because|since|which|where|as)\b", span)[0]
            rest = span[len(content) :]
            if not _is_maths(content) or not _SOLID.search(content):
                continue
        if _is_said(lead, content, rest):
            listed = re.match(r"\s*(?:,|and\b|or\b)\s*(?:and |or )?(?:\$|\\\(|[-0-9])", rest)
            return None if listed else _bare_maths(content) or None
    return None if _cut_off(body) else _last_maths(_unnumbered(body).strip())


def _bare_maths(text: str) -> str:
    text = text.strip()
    while len(text) > 1 and text[0] == text[-1] == "$":
        text = text[1:-1].strip()
    alone = text[:1] == "$" and text.count("$") == 1  # a currency
    return text[1:] if alone else text


def _is_maths(text: str) -> bool:
    """Whether the text is one complete formula: balanced, without prose, no operator at its end."""
    text = text.strip()
    depth = [text.count(a) - text.count(b) for a, b in ("{}", ("\\begin", "\\end"))]
    if not 0 < len(text) <= 300 or any(depth) or _UNMATHS.search(text):
        return False
    return not _WORD.search(_COMMAND.sub(" ", text)) and not re.search(r"[-+*/=^_({\[,&]$", text)


def _cut_off(text: str) -> bool:
    """Whether a formula is begun and not ended: the text was truncated inside it."""
    pairs = ("\\[", "\\]"), ("\\(", "\\)"), ("\\begin{", "\\end{")
    dollars = len(re.findall(r"(?<!\\)\$", text))
    return dollars % 2 == 1 or any(text.rfind(a) > text.rfind(b) for a, b in pairs)


def _last_maths(text: str) -> str | None:
    """The formula that ends the text: its last $...$, \\(...\\), \\[...\\], or its last line."""
    block = text[text.rfind("\n\n") + 1 :] if len(text) - text.rfind("\n\n") < 3000 else ""
    parts = re.split(r"(?<!\\)(?:\$\$?|\\[()\[\]])", block)
    if len(parts) > 1:
        before, content, rest = parts[-3:] if len(parts) % 2 else ("for", "", "")  # unclosed
        if _ASIDE.search(before) or not re.fullmatch(r"(?: [a-z]+){1,2}[.!]|[\s.!)*]*", rest):
            return None
    else:
        content = block.rsplit("\n", 1)[-1].lstrip("= ").rstrip(" .")
    return _bare_maths(content) if _is_maths(content) and _SOLID.search(content) else None


def normalize_text(text: str) -> str | None:
    """The whole text, NFKC, case and white space folded; None where nothing is left."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split()) or None


def extract(text: str, kind: str) -> str | None:
    """The answer of that kind in the text, None where it states none."""
    functions = extract_letter, extract_integer, extract_number, extract_latex, normalize_text
    extractors: dict[str, Callable[[str], str | None]] = dict(zip(KINDS, functions, strict=True))
    if kind not in extractors:
        raise UserError(
            f"extractor must be one of {', '.join(KINDS)}, got {kind!r}: type one of them"
        )
    return extractors[kind](text)


def kind_of_gold(target: object, doc: Mapping[str, object]) -> str:
    """The kind of a gold answer by its form, and by the columns of its row; no response is read.

    Letter: the row lists its options, and the gold is a letter or an index. Integer: the columns
    are AIME's (id, problem, answer, perhaps solution) and the gold has at most three digits.
    Number: "####", or all of it is one number. LaTeX: markup, or a solution with a \\boxed (which
    goes before a plain number: all rows of MATH are of one kind). A list is of the kind all share.
    """
    if isinstance(target, (list, tuple)):
        kinds = {kind_of_gold(one, doc) for one in target}
        return kinds.pop() if len(kinds) == 1 else "text"
    row = {str(key).lower(): value for key, value in doc.items()}
    gold, boxed = str(target).strip(), "\\boxed" in str(row.get("solution"))
    if any(isinstance(row.get(name), list) for name in ("options", "choices")):
        letters = [
            re.fullmatch(r"\(?[A-J]\)?", str(one).strip()) for one in (gold, row.get("answer"))
        ]
        if type(target) is int or any(letters):
            return "letter"
    if row.keys() - {"solution"} == {"id", "problem", "answer"} and _AIME.fullmatch(gold):
        # A text column with worked solutions may be MATH's, an integer column is all integers.
        if type(row["answer"]) is int or not boxed:
            return "integer"
    if "####" in gold or (_GOLD_NUMBER.fullmatch(gold) and not boxed):
        return "number"
    markup = _MARKUP.search(gold) or (re.search(r"[\\^_$]", gold) and not _WORD.search(gold))
    return "latex" if boxed or markup else "text"
