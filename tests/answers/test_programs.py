"""The program of a response, by public failures: each case says whose."""

# ruff: noqa: E501  # programs, as they are
from __future__ import annotations

import ast
import time

import pytest

from btrans_eval.answers.programs import defines, imports_of, names_under_test, program_in

PROMPT = '''from typing import List


def helper(x: int) -> int:
    return x + 1


def double(values: List[int]) -> List[int]:
    """ Each value twice.
    >>> double([1])
    [2]
    """
'''
BODY = "    return [2 * each for each in values]\n"
WHOLE = "def double(values):\n    return [2 * each for each in values]\n"


def runs(response: str, prompt: str = PROMPT) -> bool:
    """Whether the program doubles, when it is run here: all of these are ours."""
    source = program_in(response, ["double"], prompt)
    space: dict = {}
    try:
        exec(compile(source, "<program>", "exec"), space)
        return space["double"]([1, 3]) == [2, 6]
    except Exception:
        return False


RIGHT = {
    "the prompt goes on": BODY,
    "it goes on and defines more": BODY + "\n\ndef other():\n    pass\n",
    "the whole function, bare": WHOLE,
    "a space before it": " " + WHOLE,
    "the prompt again, and on": PROMPT + BODY,
    # lm-evaluation-harness 4091: `def` was taken for a language
    "unfenced, closed by a fence that the prompt opened": WHOLE + "```\n\nIt doubles each value.",
    "the body, closed so": BODY + "```\nThat is all.",
    "an import first, closed so": "import math\n\n" + WHOLE + "```",
    "a fence": f"```python\n{WHOLE}```",
    # inspect_ai 581: fences without a language were not found
    "a bare fence": f"Here it is:\n```\n{WHOLE}```\nDone.",
    "py": f"```py\n{WHOLE}```",
    "Python": f"```Python\n{WHOLE}```",
    "python3 and attributes": f'```python3 title="a.py"\n{WHOLE}```',
    "a word before a bare fence": f"Solution\n```\n{WHOLE}```",
    # opencompass 2515, cuga-agent 252: cut before it was closed
    "an unclosed fence": f"Sure!\n```python\n{WHOLE}",
    # human-eval-bia 76
    "five marks": f"`````python\n{WHOLE}`````",
    "a fence in a list": "1. Like so:\n\n   ```python\n"
    + "".join(f"   {line}\n" for line in WHOLE.splitlines())
    + "   ```\n",
    "tildes": f"~~~python\n{WHOLE}~~~\n",
    "on the line of the fence": "```python def double(values):\n"
    "    return [2 * each for each in values]\n```",
    "in one line": "```python def double(values): return [2 * each for each in values]```",
    "windows' lines": f"```python\n{WHOLE}```".replace("\n", "\r\n"),
    # evalscope 1170: a draft was scored in place of what came last
    "a draft, then the answer": f"```python\ndef double(values):\n    return values\n```\n"
    f"That is wrong. Better:\n```python\n{WHOLE}```",
    "usage after it": f"```python\n{WHOLE}```\nUse it:\n```python\nprint(double([1]))\n```",
    "output after it": f"```python\n{WHOLE}```\nIt prints\n```\n[2]\n```\n",
    "a shell before it": f"```bash\npip install nothing\n```\n```python\n{WHOLE}```",
    "helpers in a block before": "```python\nfrom operator import mul\ndef twice(x):\n    return mul(2, x)\n"
    "print(twice(1))\nraise SystemExit\n```\nand\n"
    "```python\ndef double(values):\n    return [twice(each) for each in values]\n```",
    "the prompt's own helper": "```python\ndef double(values):\n"
    "    return [helper(each) + each - 1 for each in values]\n```",
    "the prompt's own import": "```python\ndef double(values: List[int]) -> List[int]:\n"
    "    return [2 * each for each in values]\n```",
    "a future import": f"```python\nfrom __future__ import annotations\n\n{WHOLE}```",
    "the body in a fence": f"```python\n{BODY}```",
    "prose around, no fence": f"Here is the function:\n\n{WHOLE}\nIt doubles each value (twice).",
    "thoughts with a draft": f"<think>\n```python\ndef double(values):\n    return 0\n```\n</think>\n"
    f"```python\n{WHOLE}```",
    "an end token": f"```python\n{WHOLE}```<|im_end|>\n",
    # benchlocal-cli 120: a closer alone was taken for an opener
    "a closer alone": WHOLE + "```",
    "code after a fence that shows input": f"```\ndouble([1])\n```\n```python\n{WHOLE}```",
    "assigned": "double = lambda values: [2 * each for each in values]\n",
}


@pytest.mark.parametrize("response", RIGHT.values(), ids=RIGHT.keys())
def test_a_right_program_is_found(response):
    assert runs(response)


WRONG = {
    "prose alone": "You should multiply each value by two.",
    "the prompt alone": PROMPT,
    "cut within a line": "    return [2 * each for ea",
    "another function": "```python\ndef triple(values):\n    return values * 3\n```",
    "a later one is wrong": f"```python\n{WHOLE}```\nNo:\n```python\ndef double(values):\n    return 1\n```",
    "in a class": "```python\nclass Solution:\n    def double(self, values):\n        return values\n```",
    "only in thoughts": f"<think>\n```python\n{WHOLE}```\n</think>\nI am done.",
}


@pytest.mark.parametrize("response", WRONG.values(), ids=WRONG.keys())
def test_a_wrong_one_is_not_made_right(response):
    assert not runs(response)


@pytest.mark.parametrize("response", ["", "  \n", "<think>x</think>", "<|im_end|>"])
def test_nothing_is_no_program(response):
    assert program_in(response, ["double"], PROMPT) is None


def test_a_completion_is_kept_as_it_is():
    """As the reference has it: the prompt and the completion, nothing mended."""
    for body in (BODY, "    return 1 +\n", "    x = 1\n\ndef double(y", "return 3\n"):
        assert program_in(body, ["double"], PROMPT) == PROMPT + body.rstrip() + "\n"


def test_without_a_prompt_the_whole_response_may_be_the_program():
    assert program_in(WHOLE + "\n", ["double"]) == WHOLE.rstrip()
    assert program_in("  \nnonsense here", ["double"]) == "  \nnonsense here\n"
    assert program_in(f"Sure.\n{WHOLE}Bye now.", ["double"]).strip() == WHOLE.strip()


def test_an_earlier_version_of_the_function_is_no_helper():
    response = "```python\ndef double(values):\n    return 1\n```\n```python\n" + WHOLE + "```"
    assert program_in(response, ["double"]).count("def double") == 1


def test_long_prose_takes_no_time():
    text = "\n".join(f"from the {n}th line, import this: (" for n in range(3000))
    before = time.monotonic()
    program_in(text, ["double"], PROMPT)
    assert time.monotonic() - before < 5


def test_names_that_tests_ask_for():
    tests = "root = Node(1)\nassert set(sum(1, 2)) == {math.pi, root}\n"
    code = "import math\nclass Node: pass\ndef sum(a, b): return a\ndef other(): pass\n"
    assert names_under_test(tests, code) == ("Node", "sum")
    assert names_under_test(tests, "no python (") == ("Node", "math")
    assert names_under_test("assert f(1) == len(g)", "") == ("f", "g")
    assert imports_of(code + "from a import b as c\n") == "import math\nfrom a import b as c\n"
    assert imports_of("no python (") == ""


def test_defines():
    assert defines("def f(): pass", ["f"]) and not defines("def f(): pass", ["f", "g"])
    assert defines("f: int = 1\ng = 2", ["f", "g"])
    assert not defines("class A:\n    def f(self): pass", ["f"]) and not defines("def f(:", ["f"])
    assert not defines("(" * 10_000, ["f"])
    assert ast.parse(program_in(BODY, ["double"], PROMPT))
