"""The report in a browser: no script error, no overflow, pictures, search."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import finished_runs
import pytest
from test_report_page import hostile, letters

from btrans_eval import embeddings
from btrans_eval.report.report import write

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
CATCH = """<script>
  window.problems = [];
  addEventListener("error", (event) => problems.push(String(event.message)), true);
</script>"""
# the page runs in a frame, as a browser window cannot be as narrow as a phone
PROBE = """<body style="margin:0"><iframe id="f" src="page.html" style="width:%dpx;height:900px;
border:0"></iframe><pre id="found"></pre><script>
f.onload = async () => {
  const page = f.contentWindow, all = (what) => [...page.document.querySelectorAll(what)];
  const wait = () => new Promise((done) => setTimeout(done, 50));
  all("details").forEach((one) => { one.open = true; });
  await wait();
  const found = {
    width: page.innerWidth, needed: page.document.scrollingElement.scrollWidth,
    pictures: all("figure svg").map((one) => one.getBoundingClientRect().width),
    rows: all(".q").length, texts: all(".q .text").length, tables: all("table").length,
  };
  const input = all("input")[0], section = all("section.questions")[0];
  const rows = () => section.querySelectorAll(".q").length;
  found.searched = [];
  for (const sought of ["QUESTION: WHAT IS 3", "no such text", ""]) {
    input.value = sought;
    input.dispatchEvent(new page.Event("input"));
    await wait();
    found.searched.push(rows());
  }
  const order = section.querySelector(".order");
  found.orders = [];
  for (const chosen of [order.value, "-1"]) {
    order.value = chosen;
    order.dispatchEvent(new page.Event("change"));
    await wait();
    const ids = [...section.querySelectorAll(".q .id")];
    found.orders.push(ids.map((one) => Number(one.textContent)));
  }
  const point = all(".point")[0];
  point.dispatchEvent(new page.MouseEvent("click", {bubbles: true}));
  found.read = point.closest("figure").querySelector("output").textContent;
  found.problems = page.problems;
  found.hacked = String(page.hacked);
  document.getElementById("found").textContent = JSON.stringify(found);
};</script></body>"""


def visit(page: Path, folder: Path, width: int) -> dict:
    """What a browser finds in the page at a width."""
    text = page.read_text().replace("<head>", "<head>" + CATCH, 1)
    (folder / "page.html").write_text(text)
    (folder / "probe.html").write_text(PROBE % width)
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000",
        "--allow-file-access-from-files", f"--user-data-dir={folder / f'profile{width}'}",
        f"--window-size={max(width, 500)},900", "--dump-dom", (folder / "probe.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, timeout=180, check=True)
    (found,) = re.findall(r'<pre id="found">(.*?)</pre>', done.stdout.decode(), re.DOTALL)
    return json.loads(html.unescape(found))


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    folders = {name: tmp_path_factory.mktemp(name) for name in ("plain", "hostile")}
    finished_runs.study(folders["plain"])
    hostile(folders["hostile"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embeddings, "embed", letters)
        return {name: write(folder) for name, folder in folders.items()}


@pytest.mark.parametrize("width", [390, 1280])
def test_page_works(pages, tmp_path, width):
    found = visit(pages["plain"], tmp_path, width)
    assert found["problems"] == []
    assert found["width"] == width
    assert found["needed"] <= width
    assert len(found["pictures"]) >= 8
    assert all(200 < picture <= width for picture in found["pictures"])
    assert found["rows"] == 12
    assert found["texts"] > 12
    assert found["searched"] == [1, 0, 6]
    block = re.search(
        r'<script type="application/json">(.*?)</script>', pages["plain"].read_text(), re.DOTALL
    )
    data = json.loads(block[1])
    doubt = {}
    for row in data["rows"]:
        of_arm = row["arms"][data["first"]]
        doubt[row["id"]] = (of_arm["share"], -of_arm["entropy"], row["id"])
    assert found["orders"] == [sorted(doubt, key=doubt.get), sorted(doubt)]
    assert found["orders"][0] != found["orders"][1]
    assert "of 4: " in found["read"]


@pytest.mark.parametrize("width", [390, 1280])
def test_hostile_texts_do_nothing(pages, tmp_path, width):
    found = visit(pages["hostile"], tmp_path, width)
    assert found["hacked"] == "undefined"
    assert found["problems"] == []
    assert found["needed"] <= width
