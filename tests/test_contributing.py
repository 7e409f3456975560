"""The recipes of CONTRIBUTING.md, done as they stand there in a copy of the checkout.

A block of a file begins with a line that says where it goes: its path (a new file), `PATH, at the end`, or
`PATH, below TEXT`. Blocks of bash are run from the copy's root, by the interpreter of the tests.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
QUICK = {"Add a method"}  # the others are slow
PLACE = re.compile(r"(?:#|<!--) (?P<path>[\w./-]+)(?:, (?P<where>at the end|below (?P<text>.+?)))?(?: -->)?\n")


def recipes() -> dict[str, list[tuple[str, str]]]:
    """The blocks of each section whose title begins with "Add"."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    sections = re.split(r"^## ", page, flags=re.MULTILINE)[1:]
    return {
        section.splitlines()[0]: re.findall(r"^```(\w+)\n(.*?)^```", section, flags=re.DOTALL | re.MULTILINE)
        for section in sections
        if section.startswith("Add ")
    }


def apply(block: str, root: Path) -> None:
    """Put a block of a file where its first line says."""
    place = PLACE.match(block)
    assert place, block.splitlines()[0]
    path, body = root / place["path"], block[place.end() :]
    if place["where"] is None:
        assert not path.exists(), f"{place['path']} exists already"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body)
        return
    old = path.read_text()
    if place["where"] == "at the end":
        path.write_text(f"{old.rstrip()}\n\n\n{body}" if path.suffix == ".py" else f"{old.rstrip()}\n\n{body}")
    else:
        lines = old.splitlines(keepends=True)
        matching = [number for number, line in enumerate(lines) if place["text"] in line]
        assert matching, f"{place['path']} has no line with {place['text']!r}"
        path.write_text("".join([*lines[: matching[0] + 1], body, *lines[matching[0] + 1 :]]))


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A copy of the checkout, with what is not committed yet."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.check_output(listed, cwd=ROOT, text=True).split("\0")
    there = "\0".join(name for name in names if name and (ROOT / name).is_file())
    packed = subprocess.run(["tar", "c", "--null", "-T", "-"], cwd=ROOT, input=there.encode(), capture_output=True)
    subprocess.run(["tar", "x", "-C", tmp_path], input=packed.stdout, check=True)
    return tmp_path


@pytest.mark.parametrize(
    "title", [pytest.param(title, marks=[] if title in QUICK else [pytest.mark.slow]) for title in recipes()]
)
def test_a_recipe_works_as_it_stands(title, checkout):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    environment["PYTHONPATH"] = str(checkout)
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    for language, block in recipes()[title]:
        if language != "bash":
            apply(block, checkout)
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block], cwd=checkout, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"


def test_every_thing_that_can_be_added_has_a_recipe():
    things = ("variant", "env", "method", "experiment", "measure", "mechanism", "algorithm")
    with_code = {title for title, blocks in recipes().items() if any(language == "bash" for language, _ in blocks)}
    missing = [thing for thing in things if not any(title.endswith(f" {thing}") for title in with_code)]
    assert not missing


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("# a.toml, at the end\n[b]\n", "[a]\nx = 1\n\n[b]\n"),
        ("# a.toml, below [a]\ny = 2\n", "[a]\ny = 2\nx = 1\n"),
    ],
)
def test_a_block_goes_where_its_first_line_says(block, expected, tmp_path):
    (tmp_path / "a.toml").write_text("[a]\nx = 1\n")
    apply(block, tmp_path)
    assert (tmp_path / "a.toml").read_text() == expected
