"""The program that a response gives: its fences, prose around them, or a prompt that goes on.

Rules, each with the failure that it is for, in docs/code.md. A program is text here: it is parsed,
and never run.
"""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from btrans_eval.answers.thoughts import visible

_FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<mark>`{3,}|~{3,})[ \t]*(?P<info>[^\n`]*)$", re.M)
_INLINE = re.compile(
    r"^[ \t]*```(?:python3?|py)?[ \t]+(?P<code>[^`\n]+?)[ \t]*```[ \t]*$", re.M | re.I
)
_PYTHON = {"", "python", "python3", "py", "py3", "python2", "pycon", "ipython"}
_STARTS = re.compile(r"^(?:from|import|def|class|async def|@)\b|^@", re.M)
_MOST_STARTS = 50  # lines that may begin a program in prose
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)


@dataclass(frozen=True)
class _Block:
    text: str
    language: str


def program_in(response: str, names: Sequence[str], prompt: str = "") -> str | None:
    """The program of a response; None where it is empty.

    Args:
        names: what the program must define.
        prompt: code that the response was asked to go on with; "" where it was none. Its imports
            and helpers are part of the program, whether the response repeats them or not.

    What cannot be read as Python stays as it is, behind the prompt, and fails when it is run.
    """
    text = visible(response).rstrip()
    if not text.strip():
        return None
    blocks = [each for each in _blocks(text) if each.language in _PYTHON and each.text.strip()]
    defining = [each.text for each in blocks if defines(each.text, names)]
    if defining:
        last = defining[-1]
        before = [each.text for each in blocks[: _place(blocks, last)]]
        return _whole(prompt, _helpers(before, names) + last)
    if blocks:
        return _goes_on(prompt, blocks[-1].text)
    bare = text.lstrip()  # a tokenizer may begin a response with a space
    if _STARTS.match(bare) and defines(bare, names):
        return _whole(prompt, bare)
    if _parsed(prompt + text) is None and (found := _in_prose(text, names)):
        return _whole(prompt, found)
    return _goes_on(prompt, text)


def defines(source: str, names: Sequence[str]) -> bool:
    """Whether a text is Python that defines all of the names at its top level."""
    tree = _parsed(source)
    return tree is not None and set(names) <= defined_in(tree)


def defined_in(tree: ast.Module) -> set[str]:
    """Names that a module's functions, classes and assignments define."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {each.id for target in targets for each in ast.walk(target)
                      if isinstance(each, ast.Name)}  # fmt: skip
    return found


def imports_of(source: str) -> str:
    """The import statements at the top level of a program; "" where it is no Python."""
    tree = _parsed(source)
    body = tree.body if tree else []
    return "".join(
        ast.unparse(node) + "\n" for node in body if isinstance(node, (ast.Import, ast.ImportFrom))
    )


def names_used(source: str) -> set[str]:
    """Names that a program reads anywhere; none where it is no Python."""
    tree = _parsed(source)
    found = ast.walk(tree) if tree else ()
    return {each.id for each in found if isinstance(each, ast.Name)}


def names_under_test(tests: str, code: str) -> tuple[str, ...]:
    """Names in a row's tests that are a program's: those that the row's own solution defines.

    So a program asked for a function ``sum`` is tested by it, and one that defines a ``set`` of its
    own leaves the tests theirs. Where the solution is no Python: all names that are neither the
    tests' own nor built in.
    """
    used, tree = names_used(tests), _parsed(code)
    if tree is not None and used & defined_in(tree):
        return tuple(sorted(used & defined_in(tree)))
    own = _parsed(tests)
    return tuple(sorted(used - set(dir(builtins)) - (defined_in(own) if own else set())))


def _parsed(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _blocks(text: str) -> list[_Block]:
    """Fenced blocks, in order; one that nothing closes goes to the end.

    A first fence without a language that closes what only a prompt can have opened makes a block of
    what stands before it.
    """
    found = [_Block(each["code"], "") for each in _INLINE.finditer(text)]
    fences = list(_FENCE.finditer(text))
    if fences and not fences[0]["info"].strip() and _is_code(text[: fences[0].start()]):
        found.append(_Block(text[: fences[0].start()], ""))
        fences = fences[1:]
    opened: re.Match[str] | None = None
    for fence in fences:
        if opened is None:
            opened = fence
        elif _closes(fence, opened):
            found.append(_block(opened, text[opened.end() + 1 : fence.start()]))
            opened = None
    if opened is not None:
        found.append(_block(opened, text[opened.end() + 1 :]))
    return found


def _is_code(text: str) -> bool:
    """Whether a text is Python that does something, perhaps the rest of a function."""
    tree = _parsed(text) or _parsed("def rest():\n" + text)
    found = ast.walk(tree) if tree else ()
    does = [each for each in found if isinstance(each, ast.stmt)]
    return any(not isinstance(each, ast.Expr) and getattr(each, "name", "") != "rest"
               for each in does)  # fmt: skip


def _closes(fence: re.Match[str], opened: re.Match[str]) -> bool:
    same = fence["mark"][0] == opened["mark"][0] and len(fence["mark"]) >= len(opened["mark"])
    return same and not fence["info"].strip()


def _block(opened: re.Match[str], text: str) -> _Block:
    # a fence within a list is indented, and its code with it
    inner = textwrap.dedent(text) if opened["indent"] else text
    first, _, rest = opened["info"].strip().partition(" ")
    if _STARTS.match(rest.strip()):  # code on the line of the fence
        inner = rest.strip() + "\n" + inner
    return _Block(inner, re.sub(r"[{}.]", "", first).lower())


def _place(blocks: Sequence[_Block], text: str) -> int:
    return max(place for place, each in enumerate(blocks) if each.text == text)


def _helpers(blocks: Sequence[str], names: Sequence[str]) -> str:
    """Imports, functions and classes of earlier blocks, but for what the last one defines anew."""
    kept = []
    for block in blocks:
        tree = _parsed(block)
        for node in tree.body if tree else ():
            if isinstance(node, _DEFINITIONS) and getattr(node, "name", None) not in names:
                kept.append(ast.unparse(node) + "\n")
    return "".join(dict.fromkeys(kept))


def _in_prose(text: str, names: Sequence[str]) -> str | None:
    """The longest run of whole lines that is Python and defines the names, without any fence."""
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if _STARTS.match(line)]
    for start in starts[:_MOST_STARTS]:
        end = len(lines)
        while end > start:
            found = "\n".join(lines[start:end])
            try:
                if set(names) <= defined_in(ast.parse(found)):
                    return found
                break
            except SyntaxError as error:  # nothing behind the line of the error can mend it
                end = min(end - 1, start + max((error.lineno or 1) - 1, 0))
            except (ValueError, RecursionError, MemoryError):
                break
    return None


def _whole(prompt: str, source: str) -> str:
    """A program that defines everything itself, behind the prompt's imports and helpers."""
    if not prompt or _parsed(prompt) is None:
        return source
    first = re.findall(r"^from __future__ import .*$", source, re.M)
    rest = re.sub(r"^from __future__ import .*$", "", source, flags=re.M)
    return "\n".join([*first, prompt.rstrip("\n"), "", rest, ""])


def _goes_on(prompt: str, text: str) -> str:
    return prompt + text + "\n"
