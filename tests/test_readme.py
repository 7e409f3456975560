"""The generated tables of the pages agree with the definitions and the results."""

import tomllib
from pathlib import Path

from tools.site import experiment_pages as findings
from tools.site import method_pages
from trl_suite.evidence.figures.style import svg
from trl_suite.evidence.reading import run_records
from trl_suite.evidence.report.report_files import standalone
from trl_suite.evidence.results import experiment_results
from trl_suite.experiment.planning import grid
from trl_suite.experiment.specification import experiment_file
from trl_suite.mechanisms import methods
from trl_suite.record import SCRATCH

ROOT = Path(__file__).parent.parent


def test_the_table_of_methods_is_that_of_the_definitions():
    page = (ROOT / "docs/methods.md").read_text()
    assert method_pages.page(page) == page, "run python -m tools.site.method_pages"
    assert all(f"| `{name}` | {method.summary} |" in page for name, method in methods.shipped().items())


def test_the_table_of_policies_is_that_of_their_cards():
    page = (ROOT / "policies/README.md").read_text()
    assert method_pages.page(page) == page, "run python -m tools.site.method_pages"


def test_the_shipped_policies_are_small():
    assert sum(path.stat().st_size for path in (ROOT / "policies").rglob("*") if path.is_file()) < 20_000_000


def test_every_experiment_stands_on_the_page_with_its_question():
    page = (ROOT / "experiments/README.md").read_text()
    for path in (ROOT / "experiments").glob("*/experiment.toml"):
        question = tomllib.loads(path.read_text())["question"]
        assert f"| [{path.parent.name}]({path.parent.name}/README.md) | {question} |" in page


def test_the_committed_results_are_those_of_the_committed_experiment():
    page = (ROOT / "experiments/README.md").read_text()
    for path in (ROOT / "experiments").glob("*/results/plan.json"):
        committed = run_records.plan_of(path.parent).runs  # digests are compared in test_record
        planned = grid.run_specs(experiment_file.load(path.parents[1]))
        assert [(run.env, run.method, run.seed) for run in committed] == [
            (step.env, step.method, step.seed) for step in planned
        ], path
        found = {one.kind for one in experiment_results.load(path.parent).irregularities}
        told = page.partition(f"### [{path.parents[1].name}]")[2].partition("###")[0]
        if {step.method for step in planned} == {SCRATCH} or "**not timed**" in told:
            found.discard("no reference")  # that scratch has not learned is a result, and the page tells it
        found.discard("step labels")  # a grid between rollouts, which is told since; these results were made before
        assert not found, path


def test_the_page_of_experiments_is_that_of_the_committed_results():
    found = findings.ExperimentLibrary(ROOT / "experiments")
    parts = findings.blocks(found)
    page = (ROOT / "experiments/README.md").read_text()
    assert findings.filled(page, parts) == page, "run python -m tools.site.experiment_pages"
    for name, (_, figure) in findings.figures(found).items():
        drawn = (ROOT / f"experiments/figures/{name}.svg").read_text()
        assert drawn == standalone(svg(figure, name)), "run python -m tools.site.experiment_pages"
