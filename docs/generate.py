"""Write the pages of docs/reference that are made from the code.

    python docs/generate.py            # or: make reference

``arguments.md`` from `PopulationConfig`, ``commands.md`` from the parsers, ``python.md`` from the
docstrings of the public names, ``files.md`` from the first line of every module.
``tests/docs/test_reference.py`` fails when a page is older than what it is made from.
"""

from __future__ import annotations

import argparse
import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
MADE = "<!-- Made by docs/generate.py; change what it is made from. -->\n\n"
FOLDERS = ("btrans_eval", "model_adapters", "tasks", "leaderboards", "benchmarks", "examples")
PACKAGES = {
    "btrans_eval": "btrans_eval/__init__.py",
    "btrans_eval.training": "btrans_eval/training/__init__.py",
}
MAPPED = {"leaderboards", "model_adapters", "tasks"}


def pages() -> dict[str, str]:
    """The text of each page by its name."""
    made = {"arguments": arguments(), "commands": commands(), "python": python(), "files": files()}
    return {f"{name}.md": text for name, text in made.items()}


def arguments() -> str:
    """Every model argument of ours, from the fields of `PopulationConfig`."""
    tree = parsed("btrans_eval/config.py")
    found = constants(tree) | {"demo.SIGMA": constants(parsed("btrans_eval/demo.py"))["SIGMA"]}
    config = next(n for n in ast.walk(tree) if isinstance(n, ast.ClassDef))
    rows = []
    for field, said in zip(config.body, config.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and field.value is not None:
            default, text = ast.literal_eval(field.value), said.value.value  # type: ignore
            shown = "" if default is None else f"`{str(default).lower()}`"
            rows.append((f"`{ast.unparse(field.target)}`", shown, with_values(text, found)))
    return (
        "# Model arguments\n\n"
        + MADE
        + "What `--model_args` takes beside all of `hf`'s own (`pretrained`, `dtype`, `peft`, "
        "`gguf_file`, `parallelize`, …), or of\n`btrans-vllm` beside all of `vllm`'s: `name=value` "
        "pairs, separated by commas. A misspelled name is refused.\n\n"
        + table(("argument", "default", "what it is"), rows)
        + "\nσ must fit the model, so leave it out unless you know it "
        "([how much noise](../howto/model.md#how-much-noise)).\nWhat was really used stands in the "
        "results file under `config.btrans`.\n"
    )


def commands() -> str:
    """Every command with its arguments, from the parsers."""
    from btrans_eval.cli import USAGE, parsers

    text = "# Commands\n\n" + MADE + f"```\n{USAGE.rstrip()}\n```\n"
    for parser in parsers():
        text += f"\n## {parser.prog}\n\n"
        if parser.prog == "btrans-eval run":
            text += "Takes every flag of `lm_eval run`, and these:\n\n"
        elif parser.description:
            text += f"{plain(parser.description)}\n\n"
        text += table(("argument", "what it is"), list(rows_of(parser)))
    return (
        text + "\n## Exit codes\n\n0: done. 2: a mistake of yours, in one line. 3: questions could "
        "not be scored, and count as wrong.\n130: interrupted.\n"
    )


def rows_of(parser: argparse.ArgumentParser, before: str = "") -> Iterator[tuple[str, str]]:
    """Each argument of a parser as it is typed, and its help."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {each.dest: each.help for each in action._choices_actions}
            for name, inner in action.choices.items():
                yield f"`{name}`", helps[name] or ""
                yield from rows_of(inner, f"{name} ")
        elif not isinstance(action, argparse._HelpAction):
            given = f" {action.metavar}" if action.option_strings and action.nargs != 0 else ""
            typed = ", ".join(action.option_strings) or str(action.metavar)
            needed = " **Needed.**" if action.required and action.option_strings else ""
            if not action.help:
                raise ValueError(f"{parser.prog}: {typed} has no help")
            help_text = action.help.replace("%%", "%")
            yield f"`{before}{typed}{given}`", help_text + needed


def python() -> str:
    """The public names, from their signatures and docstrings; nothing is imported."""
    text = "# Python\n\n" + MADE
    text += (
        "`import btrans_eval` imports nothing heavy; a name loads what it needs when it is used.\n"
    )
    for package, path in PACKAGES.items():
        tree = parsed(path)
        public = ast.literal_eval(next(
            node.value for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        ))  # fmt: skip
        homes = {
            alias.asname or alias.name: (node.module, alias.name)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        for name in sorted(set(public) & homes.keys(), key=str.lower):
            text += described(package, name, *homes[name])
    return text


def described(package: str, name: str, module: str | None, inner: str) -> str:
    """One public name: how it is called, and what its docstring says."""
    tree = parsed(home_of(str(module)))
    found = next(n for n in tree.body if getattr(n, "name", None) == inner)
    text = f"\n## {name}\n\n`from {package} import {name}`\n\n"
    if isinstance(found, ast.FunctionDef):
        return text + signature(found, name) + plain(ast.get_docstring(found) or "") + "\n"
    assert isinstance(found, ast.ClassDef)
    methods = [each for each in found.body if isinstance(each, ast.FunctionDef)]
    start = next((each for each in methods if each.name == "__init__"), None)
    text += signature(start, name) if start else ""
    text += plain(ast.get_docstring(found) or "") + "\n"
    for method in methods:
        if not method.name.startswith("_") and ast.get_docstring(method):
            text += f"\n### {name}.{method.name}\n\n"
            is_property = any(ast.unparse(each) == "property" for each in method.decorator_list)
            text += "" if is_property else signature(method, method.name)
            text += plain(ast.get_docstring(method) or "") + "\n"
    return text


def signature(function: ast.FunctionDef, name: str) -> str:
    """A function's arguments and what it returns, as a block of code."""
    call = f"{name}({ast.unparse(function.args)})"
    call = re.sub(r"\((self|cls)(, )?", "(", call, count=1)
    returns = ast.unparse(function.returns) if function.returns else ""
    call += f" -> {returns}" if returns not in ("", "None") else ""
    lines = textwrap.wrap(call, 96, subsequent_indent="    ", break_long_words=False)
    return "```python\n" + "\n".join(lines) + "\n```\n\n"


def plain(docstring: str) -> str:
    """A docstring as Markdown: sections become bold words, their entries list items."""
    lines, entry = [], ""
    for line in docstring.strip().splitlines():
        text = re.sub(r"``(.+?)``", r"`\1`", line)
        if re.fullmatch(r"(Args|Attributes|Returns|Raises|Yields|Example|Examples):", text):
            entry = text[:-1]
            lines += [f"**{entry}**", ""]
        elif entry in ("Args", "Attributes", "Raises") and re.match(r" {4}\S.*?:( |$)", text):
            name, _, rest = text.strip().partition(":")
            lines.append(f"- `{name}`:{rest}")
        elif entry in ("Args", "Attributes", "Raises") and text.startswith("        "):
            lines.append("  " + text.strip())
        elif entry and not entry.startswith("Example") and text.startswith("    "):
            lines.append(text.strip())
        else:
            entry = entry if text.startswith("    ") or not text else ""
            lines.append(text)
    return "\n".join(lines).strip()


def files() -> str:
    """Every module with the first line that it says of itself."""
    text = "# Files\n\n" + MADE + "The first line of every module. "
    text += "[Architecture](../explanation/architecture.md) has the rules.\n"
    for folder in FOLDERS:
        paths = sorted((ROOT / folder).rglob("*.py"))
        rooms: dict[str, list[tuple[str, str]]] = {}
        for path in paths:
            if said := ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))):
                where = path.parent.relative_to(ROOT).as_posix()
                first = plain(said.split("\n\n")[0]).replace("\n", " ")
                rooms.setdefault(where, []).append((f"`{path.name}`", first))
        for where, rows in rooms.items():
            text += f"\n## {where}\n\n" + table(("file", "what it is"), rows)
    return text


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    cells = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def with_values(text: str, values: dict[str, object]) -> str:
    """A docstring in one line, the names of constants in it replaced by what they are."""
    text = plain(" ".join(text.split()))

    def value(found: re.Match[str]) -> str:
        held = values[found[0]]
        each = held if isinstance(held, tuple) else (held,)
        return ", ".join(f"`{one}`" for one in each)

    names = "|".join(re.escape(name) for name in sorted(values, key=len, reverse=True))
    return re.sub(rf"\b(?:{names})\b", value, text)


def constants(tree: ast.Module) -> dict[str, object]:
    """The constants of a module, by name."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, (ast.Constant, ast.Tuple)):
            found[ast.unparse(node.targets[0])] = ast.literal_eval(node.value)
    return found


def home_of(module: str) -> str:
    """The file of a module of ours, in the checkout."""
    parts = module.split(".")
    return "/".join(parts[1:] if parts[1] in MAPPED else parts) + ".py"


def parsed(path: str) -> ast.Module:
    """The syntax tree of a file of the checkout."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


if __name__ == "__main__":
    REFERENCE.mkdir(exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text, encoding="utf-8")
        print(f"wrote docs/reference/{name}")
