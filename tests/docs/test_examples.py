"""The python blocks of README.md and docs/ run, page by page, as a reader would type them in."""

import re
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```python *\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: \S.* -->\n\Z")


class Block(NamedTuple):
    """Code of a page, the line of the page it starts at, and whether the page says it runs."""

    code: str
    line: int
    runs: bool


def blocks(text):
    found = FENCE.finditer(text)
    return [
        Block(
            match["code"],
            line=text.count("\n", 0, match.start("code")),
            runs=NOT_RUN.search(text, 0, match.start()) is None,
        )
        for match in found
    ]


def runnable(page):
    return [block for block in blocks(page.read_text(encoding="utf-8")) if block.runs]


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if runnable(page)],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_the_python_blocks_of_a_page_run_one_after_the_other(page, request, tmp_path, monkeypatch):
    code = "".join(block.code for block in runnable(page))
    if '"sample"' in code:
        shutil.copytree(request.getfixturevalue("real_store"), tmp_path / "sample")
    monkeypatch.chdir(tmp_path)

    namespace = {"__name__": "__main__"}
    for block in runnable(page):
        # As many empty lines first as make a traceback point to the line of the page.
        exec(compile("\n" * block.line + block.code, str(page), "exec"), namespace)


def test_readme_and_band_page_have_blocks_that_run():
    assert runnable(ROOT / "README.md")
    assert runnable(ROOT / "docs" / "bands.md")


def test_a_block_is_left_out_only_after_a_comment_that_says_why():
    text = (
        "```python\na = 1\n```\n\n"
        "<!-- not run: because -->\n```python\nb = 2\n```\n\n"
        "<!-- not run: -->\n```python\nc = 3\n```\n\n"
        "<!-- not run: too far -->\n\n```python\nd = 4\n```\n"
        "```sh\ne\n```\n"
    )

    assert [(block.code, block.runs) for block in blocks(text)] == [
        ("a = 1\n", True),
        ("b = 2\n", False),
        ("c = 3\n", True),
        ("d = 4\n", True),
    ]


def test_a_block_knows_its_line():
    assert blocks("one\ntwo\n```python\nthree\n```\n")[0].line == 3
