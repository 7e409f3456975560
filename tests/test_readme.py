"""The README keeps its promises: its code runs, its tables agree with the definitions, its links lead somewhere."""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from trl_suite import tables
from trl_suite.cli import arguments
from trl_suite.evidence import pages as findings
from trl_suite.evidence import results
from trl_suite.evidence.figures.style import svg
from trl_suite.evidence.report import standalone
from trl_suite.experiment.planning import grid
from trl_suite.experiment.specification import experiment_file
from trl_suite.mechanisms import method_pages, methods
from trl_suite.record import SCRATCH

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES += sorted(path for kind in ("envs", "policies", "experiments") for path in (ROOT / kind).rglob("*.md"))


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_ten_lines_run(tmp_path):
    code = blocks("python")[0].replace("200_000", "2_048").replace("100_000", "2_048")
    assert len(code.strip().splitlines()) <= 12
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "actor.trunk.0" in done.stdout
    assert not list(tmp_path.iterdir())


def test_the_worlds_can_be_made(tmp_path):
    code = "import gymnasium as gym, trl_suite\n" + blocks("python")[1] + blocks("python")[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_a_policy_comes_in_and_goes_out(tmp_path):
    head = "import gymnasium as gym\nfrom stable_baselines3 import PPO\nimport trl_suite\n"
    head += "from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize\n"
    make = "made = trl_suite.train('half-cheetah', steps=100).to_sb3('ppo-HalfCheetah-v5.zip')\n"
    make += "made[1].rename('vec_normalize.pkl')\n"
    [block] = [block for block in blocks("python") if "to_sb3" in block]
    check = "\nassert (model.predict(env.reset(), deterministic=True)[0].shape) == (1, 6)"
    subprocess.run([sys.executable, "-c", head + make + block + check], check=True, cwd=tmp_path)


def test_every_verb_of_the_command_line_is_one():
    named = set(re.findall(r"^trl-suite (\w+)", "\n".join(blocks("bash")), flags=re.MULTILINE))
    assert named
    assert named <= {verb.__name__.lower() for verb in arguments.Verb.__subclasses__()}


def test_what_an_experiment_may_ask_for_is_understood(tmp_path):
    [more] = [block for block in blocks("toml") if "[reference]" in block]
    keys, tables = more.split("[reference]")
    quickstart = (ROOT / "experiments" / "quickstart" / "experiment.toml").read_text()
    (tmp_path / "experiment.toml").write_text(f"{keys}{quickstart}\n[reference]{tables}")
    found = experiment_file.load(tmp_path)
    assert (found.retention, found.probes, len(found.reference.seeds)) == (True, 3, 3)
    assert found.expected == {"finetune": "sooner"}


def test_a_method_and_a_source_of_ones_own_are_understood():
    method, source, shipped, *_ = (tomllib.loads(block) for block in blocks("toml"))
    [found] = methods.read(method["method"], "README.md").values()
    assert methods.remembered(found) == ("replay", "optimiser.actor")
    assert tables.convert(source["source"], experiment_file.Source, "README.md").heads
    assert tables.convert(shipped["source"], experiment_file.Source, "README.md").shipped


def test_the_number_of_variants_is_that_of_the_catalogue():
    tables_of_envs = [tables.load(path) for path in (ROOT / "envs").glob("*/env.toml")]
    told = f"{sum(len(table.get('variants', {})) for table in tables_of_envs)} named variants"
    assert len(tables_of_envs) == 15
    assert f"Fifteen robots, {told}" in README
    assert told in (ROOT / "CHANGELOG.md").read_text()


def test_the_table_of_methods_is_that_of_the_definitions():
    assert method_pages.page(README) == README, "run python -m trl_suite.mechanisms.method_pages"
    assert all(f"| `{name}` | {method.summary} |" in README for name, method in methods.shipped().items())


def test_the_table_of_policies_is_that_of_their_cards():
    page = (ROOT / "policies/README.md").read_text()
    assert method_pages.page(page) == page, "run python -m trl_suite.mechanisms.method_pages"


def test_the_shipped_policies_are_small():
    assert sum(path.stat().st_size for path in (ROOT / "policies").rglob("*") if path.is_file()) < 20_000_000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_wheel_holds_the_content_and_nothing_else(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)], cwd=ROOT, check=True
    )
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"trl_suite"}
    assert "trl_suite/_content/envs/hopper/env.toml" in names
    assert "trl_suite/py.typed" in names
    assert not [name for name in names if name.startswith("trl_suite/_content") and name.endswith(".py")]
    assert wheel.stat().st_size < 5_000_000
    code = "import trl_suite; from trl_suite import content; print(content.find('envs', 'hopper'))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(tmp_path / "site/trl_suite/_content/envs/hopper")


def test_every_dependency_is_pinned():
    pinned = {
        line.partition("==")[0].lower().replace("-", "_") for line in (ROOT / "constraints.txt").read_text().split()
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [
        *project["project"]["dependencies"],
        *project["dependency-groups"]["dev"],
        *project["build-system"]["requires"],
        *(entry for extra in project["project"]["optional-dependencies"].values() for entry in extra),
    ]
    names = {re.match(r"[\w-]+", entry)[0].lower().replace("-", "_") for entry in wanted}
    assert names <= pinned, names - pinned


def test_every_experiment_stands_on_the_page_with_its_question():
    page = (ROOT / "experiments/README.md").read_text()
    for path in (ROOT / "experiments").glob("*/experiment.toml"):
        question = tomllib.loads(path.read_text())["question"]
        assert f"| [{path.parent.name}]({path.parent.name}/README.md) | {question} |" in page


def test_the_committed_results_are_those_of_the_committed_experiment():
    page = (ROOT / "experiments/README.md").read_text()
    for path in (ROOT / "experiments").glob("*/results/plan.json"):
        committed = json.loads(path.read_text())["runs"]
        planned = grid.steps(experiment_file.load(path.parents[1]))
        assert [run["folder"] for run in committed] == [step.planned.folder for step in planned], path
        found = {one.kind for one in results.load(path.parent).findings}
        told = page.partition(f"### [{path.parents[1].name}]")[2].partition("###")[0]
        if {step.planned.method for step in planned} == {SCRATCH} or "**not timed**" in told:
            found.discard("no reference")  # that scratch has not learned is a result, and the page tells it
        assert not found, path


def test_the_page_of_experiments_is_that_of_the_committed_results():
    found = findings.Study(ROOT / "experiments")
    parts = findings.blocks(found)
    page = (ROOT / "experiments/README.md").read_text()
    assert findings.page(page, parts) == page, "run python -m trl_suite.evidence.pages"
    front = (ROOT / "README.md").read_text()
    assert findings.page(front, parts) == front, "run python -m trl_suite.evidence.pages"
    for name, (_, figure) in findings.figures(found).items():
        drawn = (ROOT / f"experiments/figures/{name}.svg").read_text()
        assert drawn == standalone(svg(figure, name)), "run python -m trl_suite.evidence.pages"
