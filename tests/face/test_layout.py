"""Columns of text: what fits, what is wide, and what would move the cursor."""

from __future__ import annotations

from btrans_eval.face.layout import cells, html_table, printable, side_by_side, table, wrapped


def test_lines_are_broken_at_words_and_keep_every_word():
    text = "one two three four five six seven\n\n  indented"
    lines = wrapped(text, 12)
    assert all(cells(line) <= 12 for line in lines)
    assert " ".join(" ".join(lines).split()) == " ".join(text.split())
    assert "" in lines and "  indented" in lines


def test_long_words_are_cut_and_the_empty_text_has_a_line():
    assert wrapped("abcdefghij", 4) == ["abcd", "efgh", "ij"]
    assert wrapped("", 4) == [""]
    assert wrapped("a\n", 4) == ["a", ""]
    assert wrapped("\u6c34" * 3, 1) == ["\u6c34"] * 3  # two cells each, and no endless loop


def test_wide_characters_take_two_cells():
    assert cells("\u6c34a") == 3
    assert cells("e\u0301") == 1
    assert wrapped("\u6c34\u6c34\u6c34", 4) == ["\u6c34\u6c34", "\u6c34"]


def test_nothing_reaches_the_terminal_but_text():
    shown = side_by_side([("member 0", "\x1b[31mred\x07\r\x9b2J\ud800 end")], 60)
    assert "\x1b" not in shown and "\x07" not in shown and "\r" not in shown
    assert "\x9b" not in shown and "red" in shown and "end" in shown
    shown.encode()
    assert printable("a\tb\r\nc") == "a   b\nc"


def test_columns_stand_side_by_side_or_below_where_there_is_no_room():
    columns = [(f"member {n}", f"said by {n}") for n in range(4)]
    (heads, rule, texts) = side_by_side(columns, 100).split("\n")
    assert heads.split("  ")[0].strip() == "member 0" and heads.count("member") == 4
    assert set(rule) == {"\u2500", " "}
    assert [texts.index(f"said by {n}") for n in range(4)] == [
        heads.index(f"member {n}") for n in range(4)
    ]
    two = side_by_side(columns, 44).split("\n\n")
    assert [part.count("member") for part in two] == [2, 2]
    one = side_by_side(columns, 5).split("\n\n")
    assert len(one) == 4 and all(cells(line) <= 5 for part in one for line in part.split("\n"))


def test_tables_line_up():
    shown = table(["arm", "mean@K"], [["stock", "12.5% [1 to 2]"], ["population", "7%"]])
    lines = shown.split("\n")
    assert lines[0].index("mean@K") == lines[2].index("12.5%") == lines[3].index("7%")


def test_html_is_text():
    made = html_table(["<b>"], [["</td><script>alert(1)</script>\x1b[0m"]], bold=0)
    assert "<script>" not in made and "&lt;script&gt;" in made and "\x1b" not in made
