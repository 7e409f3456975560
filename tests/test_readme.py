"""The generated tables of the pages agree with the definitions and the results."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from tools.site import experiment_pages as findings
from tools.site import method_pages, printed_numbers, study_plan
from tools.site.printed_numbers import Facts
from trl_suite import record
from trl_suite.evidence.figures.style import svg
from trl_suite.evidence.reading import run_records
from trl_suite.evidence.report import results_archive, table_files
from trl_suite.evidence.report.report_files import standalone
from trl_suite.evidence.results import advice_regret, experiment_claims
from trl_suite.evidence.statistics import similarity
from trl_suite.experiment.planning import grid
from trl_suite.experiment.specification import experiment_file
from trl_suite.mechanisms import methods
from trl_suite.record import SCRATCH

ROOT = Path(__file__).parent.parent
EXPERIMENT_PAGES = sorted((ROOT / "experiments").glob("*/README.md"))
WRITTEN_BY_HAND = [  # a page that opens so is compared with its source elsewhere, as a whole
    page for page in sorted((ROOT / "docs").glob("*.md")) if not page.read_text().startswith("<!-- written by")
]
PAGES = [
    ROOT / "README.md", *WRITTEN_BY_HAND, ROOT / "experiments/README.md", *EXPERIMENT_PAGES,
    ROOT / "policies/README.md", ROOT / "references/README.md",
]  # fmt: skip


@pytest.fixture(scope="module")
def library() -> findings.ExperimentLibrary:
    return findings.ExperimentLibrary(ROOT / "experiments")


@pytest.fixture(scope="module")
def facts(library) -> dict[str, Facts]:
    return {
        name: printed_numbers.of_experiment(table, library.results.get(name)) for name, table in library.tables.items()
    }


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


def test_the_committed_results_are_those_of_the_committed_experiment(library, monkeypatch):
    monkeypatch.setattr(experiment_file, "check_fit", lambda *_: None)  # a test of its own
    page = (ROOT / "experiments/README.md").read_text()
    for name, results in library.results.items():
        committed = run_records.plan_of(results.folder).runs  # digests are compared in test_record
        planned = grid.run_specs(experiment_file.load(ROOT / "experiments" / name))
        assert [(run.env, run.method, run.seed) for run in committed] == [
            (step.env, step.method, step.seed) for step in planned
        ], name
        found = {one.kind for one in results.irregularities}
        told = page.partition(f"### [{name}]")[2].partition("###")[0]
        if {step.method for step in planned} == {SCRATCH} or "**not timed**" in told:
            found.discard("no reference")  # that scratch has not learned is a result, and the page tells it
        found.discard("step labels")  # a grid between rollouts, which is told since; these results were made before
        assert not found, name


def test_a_page_reuses_results_that_have_runs_for_it(library, monkeypatch):
    monkeypatch.setattr(experiment_file, "check_fit", lambda *_: None)  # a test of its own
    for page in (ROOT / "experiments").glob("*/README.md"):
        for other in re.findall(r"(?:--reuse|results) experiments/([\w-]+)/results", page.read_text()):
            if other in library.results:
                planned = grid.run_specs(experiment_file.load(page.parent))
                sources = {spec.source for spec in planned}  # kept results hold no weights
                files = run_records.files(library.results[other].folder).values()
                records = record.relinked(record.decode(file["run.json"], record.RunRecord) for file in files)
                kept = {run.digest for run in records}
                assert any(spec.digest in kept for spec in planned if spec.folder not in sources), f"{page}: {other}"


@pytest.mark.slow
def test_every_committed_experiment_fits():
    for path in (ROOT / "experiments").glob("*/experiment.toml"):
        experiment_file.load(path.parent)


def test_every_summary_is_that_of_its_archive(library, tmp_path):
    for results in library.results.values():
        table_files.write_brief(results, tmp_path / "summary.csv")
        committed = (results.folder / results_archive.SUMMARY).read_text()
        assert (tmp_path / "summary.csv").read_text() == committed, results.folder


def test_the_page_of_experiments_is_that_of_the_committed_results(library):
    parts = findings.blocks(library)
    for page in (ROOT / "README.md", ROOT / "docs/findings.md", ROOT / "experiments/README.md", *EXPERIMENT_PAGES):
        assert findings.filled(page.read_text(), parts) == page.read_text(), "python -m tools.site.experiment_pages"
    for name, (_, figure) in findings.figures(library).items():
        committed = (ROOT / f"experiments/figures/{name}.svg").read_text()
        check_same_drawing(committed, standalone(svg(figure, name)))


def check_same_drawing(committed: str, drawn: str) -> None:
    """Check that the texts are equal and the coordinates within a tenth of a point: processors round differently."""
    number, attribute = re.compile(r"-?\d+(?:\.\d+)?"), re.compile(r'"[^"]*"')
    drawings = [re.sub(r"\bp[0-9a-f]{10}\b", "clip", each) for each in (committed, drawn)]  # named by its coordinates
    texts = [attribute.sub(lambda match: number.sub("", match[0]), each) for each in drawings]
    assert texts[0] == texts[1], "run python -m tools.site.experiment_pages"
    places = [
        np.array([float(value) for quoted in attribute.findall(each) for value in number.findall(quoted)])
        for each in drawings
    ]
    np.testing.assert_allclose(*places, rtol=0, atol=0.1, err_msg="run python -m tools.site.experiment_pages")


def test_a_drawing_with_another_number_or_another_place_is_told():
    drawing = '<path d="M 1.001 2"/><text>0.41</text>'
    check_same_drawing(drawing, drawing.replace("1.001", "1.009"))
    for old, new in (("1.001", "1.201"), (" 2", " 3"), ("path", "line"), ("0.41", "0.42")):
        with pytest.raises(AssertionError, match="experiment_pages"):
            check_same_drawing(drawing, drawing.replace(old, new))


def test_rules_are_advice_only_where_they_beat_always_fine_tuning(library):
    results = [library.results[name] for name in study_plan.STUDY if name in library.results]
    by_rule = {score.rule: score for score in advice_regret.scores(advice_regret.advice_pairs(results))}
    assert by_rule["the suite's rules"].beats_finetuning == similarity.RULES_BEAT


def test_make_study_runs_the_study():
    listed = (ROOT / "Makefile").read_text().partition("STUDY = ")[2].partition("\n\n")[0]
    assert tuple(listed.replace("\\", " ").split()) == study_plan.STUDY


def test_a_target_that_went_otherwise_is_named_once(library):
    for results in library.results.values():
        for expectation in experiment_claims.unmet_expectations(results):
            assert all(len(set(targets)) == len(targets) for targets in expectation.happened.values())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_number_in_prose_is_a_committed_fact(page, facts):
    unknown = printed_numbers.unknown(page.read_text(), printed_numbers.of_page(page, facts))
    assert not unknown, "no committed result has these: mend the text; tools/site/printed_numbers.py says how"


@pytest.mark.parametrize("name", [page.parent.name for page in EXPERIMENT_PAGES if "×" in page.read_text()])
def test_a_result_that_changes_is_missed_on_the_pages_that_print_it(name, facts):
    text = (ROOT / "experiments" / name / "README.md").read_text()
    linked = printed_numbers.of_page(ROOT / "experiments" / name / "README.md", {})
    changed = Facts(  # by one hundredth, or by one in the last of two printed decimals
        estimates=[tuple(x + max(0.01 * abs(x), 0.01) for x in numbers) for numbers in facts[name].estimates],
        asked=facts[name].asked | linked.asked,
    )
    printed = printed_numbers.unknown(text, Facts(asked=changed.asked))  # what no file asks for
    assert len(printed_numbers.unknown(text, changed)) > len(printed) / 2


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("It is 2.61× [1.78, 3.84] as fast.", []),
        ("It is 2.61× [1.78, 3.85] as fast.", ["2.61× [1.78, 3.85]"]),
        ("It is 2.6× as fast, in 9 of 10 runs.", []),
        ("It is 2.7× as fast, in 8 of 10 runs.", ["2.7", "8"]),
        ("It ends at 1,234, after\n102,400 steps.", []),
        ("It ends at 1,235, after 102,401 steps.", ["1,235", "102,401"]),
        ("Seed 3 of 7 TD3s (Fujimoto et al. 2018, section 4) took 20 minutes; `x = 99`, [a](12/README.md).", ["7"]),
        ("Twice it, 2,468. <!-- worked out: 2,468 = 2 * 1,234 -->", []),
        ("Twice it, 2,469. <!-- worked out: 2,469 = 2 * 1,234 -->", ["2,469"]),
        ("As others say, 9,999. <!-- not compared (theirs): 9,999 -->", []),
        ("As others say, 9,999. <!-- not compared: 9,999 -->", ["9,999"]),
        ("<!-- written by `python -m tools.site.env_table_page` -->\nAt most 64 keys.", []),
    ],
)  # fmt: skip
def test_numbers_are_found_as_exactly_as_they_are_printed(text, unknown):
    facts = Facts([(2.6123, 1.7777, 3.8401)], {(9, 10)}, {2.6123, 1234.4}, {10.0, 102_400.0})
    assert printed_numbers.unknown(text, facts) == unknown
