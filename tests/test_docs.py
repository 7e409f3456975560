"""README and docs keep their promises: every block of code runs from the wheel, every link and name leads somewhere."""

import ast
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import tyro

from tools.site import diagrams
from trl_suite.cli.arguments import Arguments
from trl_suite.evidence.results.experiment_results import load
from trl_suite.evidence.results.headline import headline

ROOT = Path(__file__).parent.parent
GUIDES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [*sorted(ROOT.glob("*.md")), *(path for kind in ("docs", "envs", "policies", "experiments") for path in
         sorted((ROOT / kind).rglob("*.md")))]  # fmt: skip
QUICK = {"README.md"}  # the other pages that have code are slow
LINES = 120  # of the README

# a block begins with one of these where it cannot run in a test
NOT_RUN = {
    "pip install": "needs the network",
    "apt install": "needs root and the network",
    "docker": "needs Docker",
    "trl-suite watch": "needs something to draw with; tests/experiment/test_watch.py does it",
    "trl-suite identify": "needs a log; tests/worlds/identification makes some",
    "tensorboard": "serves until it is stopped",
    "trl-suite run experiments/quickstart --on ray": "make test-ray does",
    "trl-suite run experiments/quickstart --on slurm": "needs Slurm; tests/experiment has a stand-in",
    "trl-suite run experiments/parts --reuse": "435 trainings",
    "trl-suite run experiments/reference-walker2d": "10 million steps",
    "trl-suite reference runs/reference-walker2d": "needs those; tests/evidence/test_measured_references.py has some",
    "trl-suite tune experiments/mine": "its [tune] is a piece of a file; tests/experiment/test_tune.py searches",
}
SHORTER = (  # budgets for a test, by what stands on the page
    (r"\bsteps(\s*)=(\s*)\d[\d_]*", r"steps\1=\g<2>4_096"),
    (r"--steps \d+", "--steps 4096"),
    (r"\.learn\(\d[\d_]*\)", ".learn(2_048)"),
    (r"\bevery(\s*)=(\s*)\d[\d_]*", r"every\1=\g<2>2_048"),
    (r"\bepisodes(\s*)=(\s*)\d+", r"episodes\1=\g<2>1"),
    (r"\bseeds(\s*)=(\s*)\[0, 1.*?\]", r"seeds\1=\g<2>[0, 1]"),
)
# what a reader has at hand where a page begins
GIVEN = {
    "docs/policies.md": """
import pathlib, trl_suite
files = trl_suite.train("half-cheetah", steps=4_096).to_sb3("ppo-HalfCheetah-v5.zip")
files[1].rename("vec_normalize.pkl")
""",
    "docs/cluster.md": "",
    "docs/tensorboard.md": """
import trl_suite
if __name__ == "__main__":
    trl_suite.run("experiments/quickstart")
""",
}
DRIVER = """
import json, pathlib, subprocess, sys
if __name__ == "__main__":
    names = {"__name__": "__main__"}
    for number, (language, code) in enumerate(json.loads(pathlib.Path("blocks.json").read_text())):
        print(f"--- {language} block {number}", flush=True)
        if language == "python":
            exec(compile(code, f"block {number}", "exec"), names)
        elif language == "bash":
            subprocess.run(["bash", "-euo", "pipefail", "-c", code], check=True)
        else:
            path = pathlib.Path(code.split("\\n")[0].strip("#<!- >").strip())
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code)
"""


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[tuple[str, str]]:
    """The code of a page, block by block: (language, code)."""
    return re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def file_of(language: str, code: str) -> str:
    """The file that a block says it is, in its first line; `""` where it is a piece of one."""
    first = re.fullmatch(r"(?:# |<!-- )([\w./-]+/[\w.-]+\.(?:toml|xml|md))(?: -->)?", code.splitlines()[0])
    return first[1] if first and language in ("toml", "xml") else ""


def shorter(code: str) -> str:
    for pattern, replacement in SHORTER:
        code = re.sub(pattern, replacement, code)
    return code


def runnable(page: Path) -> list[tuple[str, str]]:
    """The blocks of a page that a test runs: with short budgets, without the lines of `NOT_RUN`."""
    kept: list[tuple[str, str]] = []
    for language, code in blocks(page):
        if language == "bash":
            code = "\n".join(line for line in code.splitlines() if not line.startswith(tuple(NOT_RUN)))
        if language in ("python", "bash") or file_of(language, code):
            kept.append((language, shorter(code)))
    return [(language, code) for language, code in kept if code.strip()]


TUTORIALS = [page for page in GUIDES if runnable(page)]


@pytest.mark.xdist_group("wheel")
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[] if named(page) in QUICK else [pytest.mark.slow]) for page in TUTORIALS],
    ids=named,
)
def test_the_code_of_a_page_runs_from_the_wheel(page, installed, tmp_path):
    quickstart = tmp_path / "experiments/quickstart/experiment.toml"
    quickstart.parent.mkdir(parents=True)
    quickstart.write_text(shorter((ROOT / "experiments/quickstart/experiment.toml").read_text()))
    kept = "experiments/severity/results"  # a page reads them in a checkout; no wheel has them
    shutil.copytree(ROOT / kept, tmp_path / kept)
    code = [("python", GIVEN[named(page)])] if named(page) in GIVEN else []
    (tmp_path / "blocks.json").write_text(json.dumps(code + runnable(page)))
    (tmp_path / "driver.py").write_text(DRIVER)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["PATH"] = f"{installed / 'bin'}:{environment['PATH']}"
    done = subprocess.run(
        [installed / "bin/python", "driver.py"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def test_the_shipped_quickstart_is_planned_from_the_wheel(installed, tmp_path):
    command = [installed / "bin/trl-suite", "run", "experiments/quickstart", "--plan"]
    lines = subprocess.check_output(command, cwd=tmp_path, text=True, env={}).splitlines()
    assert [line.split()[0] for line in lines] == ["5", "20", "in"]


def test_the_readme_is_short_and_in_a_readers_order():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= LINES
    order = [
        text.index(part) for part in ("![", "## Install", "## Your own model", "trl-suite run", "## What is known")
    ]
    assert order == sorted(order)
    [lines] = [code for language, code in blocks(ROOT / "README.md") if language == "python"]
    assert len([line for line in lines.splitlines() if line.strip()]) <= 12


def test_report_page_and_readme_say_the_same_of_the_quickstart():
    results = load(ROOT / "experiments/quickstart/results")
    sentence = headline(results, results.measures()).sentence
    for page in (ROOT / "README.md", ROOT / "experiments/quickstart/README.md"):
        assert sentence in " ".join(page.read_text().replace("\n> ", "\n").split()), page


@pytest.mark.parametrize("page", GUIDES, ids=named)
def test_every_command_is_understood(page):
    """Also those that no test runs: verbs and options are those of the command line."""
    for code in (code for language, code in blocks(page) if language == "bash"):
        for line in code.splitlines():
            if line.startswith("trl-suite "):
                arguments = shlex.split(line.partition(" > ")[0], comments=True)[1:]
                tyro.cli(Arguments, args=arguments)  # exits with 2 on what it does not know


@pytest.mark.parametrize("page", GUIDES, ids=named)
def test_every_block_that_is_a_piece_is_well_formed(page):
    for language, code in blocks(page):
        assert language in ("python", "bash", "toml", "xml", "text", "mermaid"), language
        if language == "toml":
            tomllib.loads(code)
        elif language == "python":
            ast.parse(code)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_diagrams_are_drawn_from_their_stages_and_name_files_that_exist():
    for file, text in diagrams.pictures().items():
        assert (diagrams.IMAGES / file).read_text() == text, "run python -m tools.site.diagrams"
    for stage in (stage for stages in diagrams.DIAGRAMS.values() for stage in stages):
        assert (ROOT / "trl_suite" / stage.file).is_file(), stage.file


def spans(page: Path) -> list[str]:
    """Inline code of a page, without its blocks."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", text)


def is_there(name: str) -> bool:
    """Whether a dotted name of the package leads to a module or to something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            place = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            if not hasattr(place, attribute):
                return False
            place = getattr(place, attribute)
        return True
    return False


@pytest.mark.parametrize("page", [*GUIDES, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"], ids=named)
def test_every_file_and_module_that_is_named_exists(page):
    for span in spans(page):
        for path in re.findall(r"(?<![\w/.])(?:trl_suite|tests|tools|benchmarks|docs|typings)/[\w./-]*", span):
            assert (ROOT / path).exists() or "NAME" in span, f"{named(page)}: {path}"
        if re.fullmatch(r"[a-z_]+\.(py|toml|md)", span) and span not in ("env.toml", "experiment.toml", "card.toml"):
            assert list(ROOT.glob(f"*/**/{span}")) or (ROOT / span).exists(), f"{named(page)}: {span}"
        if re.fullmatch(r"trl_suite(\.\w+)+", span):
            assert is_there(span), f"{named(page)}: {span}"
