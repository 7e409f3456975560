"""Contrasts of methods and readings at named steps: computed once more by hand, and claimed by the one rule."""

import re
from dataclasses import replace as changed
from itertools import groupby

import msgspec
import numpy as np
import pytest

from tools.site import freeze_map_section
from trl_suite.errors import InputError
from trl_suite.evidence.reading.curve import Floats
from trl_suite.evidence.report import paper_figures, report_files, table_files
from trl_suite.evidence.results import experiment_claims, experiment_results, paired_contrast
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.statistics import estimates

from .conftest import ENV, STEPS, Experiment

CONTRAST = {
    "knowledge": ["feature-extraction", "random-frozen"],
    "all": {"methods": ["finetune", "scratch"], "because": "what is copied <together>"},
}
READ_AT = [10_000, 50_000, 100_000]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    experiment = Experiment(tmp_path_factory.mktemp("contrasts"), seeds=10)
    experiment.write_plan(specification={"contrast": CONTRAST, "read_at": READ_AT})
    return experiment_results.load(experiment.root)


def returns(results: Results, method: str) -> Floats:
    curves = results.curves[ENV, method]
    return curves.returns[np.argsort(curves.seeds)]


def mean_until(values: Floats, step: int) -> Floats:
    count = int(np.searchsorted(STEPS, step)) + 1
    return np.trapezoid(values[:, :count], STEPS[:count], axis=1) / step


def test_a_contrast_is_the_paired_difference_in_units_of_the_scale(results):
    by_name = {row.name: row for row in results.contrasts()}
    assert list(by_name) == list(CONTRAST)
    width = results.scales[ENV].width
    for name, pair in (("knowledge", ("feature-extraction", "random-frozen")), ("all", ("finetune", "scratch"))):
        first, second = (returns(results, method) for method in pair)
        areas = mean_until(first, 100_000) - mean_until(second, 100_000)
        ends = first[:, -1] - second[:, -1]
        assert by_name[name].area.value == pytest.approx(areas.mean() / width)
        assert by_name[name].end.value == pytest.approx(ends.mean() / width, abs=0.02)
        assert by_name[name].area.low < by_name[name].area.value < by_name[name].area.high
        assert by_name[name].area.n == 10
    assert by_name["all"].because == "what is copied <together>"


def test_contrasts_of_a_target_are_one_family(results):
    rows = results.contrasts()
    assert [row.p_area_holm for row in rows] == pytest.approx(estimates.holm([row.area.p for row in rows]))
    assert rows[0].area_claim == "better"


def test_a_contrast_turned_round_is_its_negative(results):
    turned = {"there": ["finetune", "scratch"], "back": ["scratch", "finetune"]}
    plan = msgspec.structs.replace(results.plan, specification={"contrast": turned})
    there, back = changed(results, plan=plan).contrasts()
    assert (back.area.value, back.area.low, back.area.high) == pytest.approx(
        (-there.area.value, -there.area.high, -there.area.low)
    )
    assert back.area.p == there.area.p
    assert {there.area_claim, back.area_claim} == {"better", "worse"}


def test_nothing_is_claimed_where_runs_failed(results):
    row = results.contrasts()[0]
    assert msgspec.structs.replace(row, failed=1).area_claim == "not shown"
    assert paired_contrast.failed_runs(results, ENV, ("feature-extraction", "random-frozen")) == 0


def test_a_reading_is_that_of_a_budget_which_ends_there(results):
    rows = results.budgets()
    methods = ("finetune", "feature-extraction", "random-frozen")
    assert {(row.step, row.baseline, row.method) for row in rows} == {
        (step, baseline, method)
        for step in READ_AT
        for baseline in ("scratch", "finetune")
        for method in methods
        if method != baseline
    }
    width = results.scales[ENV].width
    for row in rows:
        first, second = returns(results, row.method), returns(results, row.baseline)
        expected = (mean_until(first, row.step) - mean_until(second, row.step)).mean() / width
        assert row.area.value == pytest.approx(expected), row


def test_the_last_reading_is_the_measure_of_the_whole_budget(results):
    measures = {row.method: row for row in results.measures()}
    for row in results.budgets():
        if row.step == READ_AT[-1] and row.baseline == "scratch":
            whole = measures[row.method]
            assert (row.area.value, row.end.value) == (whole.area_gain.value, whole.end_gain.value)
            assert (row.area_claim, row.end_claim) == (whole.area_claim, whole.end_claim)


def test_readings_of_one_step_and_baseline_are_one_family(results):
    family = [row for row in results.budgets() if (row.step, row.baseline) == (50_000, "scratch")]
    assert [row.p_end_holm for row in family] == pytest.approx(estimates.holm([row.end.p for row in family]))


def test_any_archive_is_read_at_any_evaluation(results):
    anew = results.reading_at([30_000])
    assert {row.step for row in anew.budgets()} == {30_000}
    assert {row.step for row in results.budgets()} == set(READ_AT)
    with pytest.raises(InputError, match="nothing is evaluated at step 35,000; .* 30,000 and 40,000"):
        results.reading_at([35_000])
    with pytest.raises(InputError, match="step 0"):
        results.reading_at([0])


def test_pages_and_tables_have_them(results, tmp_path):
    page = report_files.render(results)
    assert "One change at a time" in page
    assert "By budget" in page
    assert "what is copied &lt;together&gt;" in page
    text = report_files.markdown(results, tmp_path / "figures")
    assert "| knowledge |" in text
    assert "## By budget" in text
    assert {"budget.svg", "finetune-budget.svg"} <= {path.name for path in (tmp_path / "figures").iterdir()}
    table_files.write_all(results, tmp_path / "tables")
    head, *lines = (tmp_path / "tables/contrasts.csv").read_text().splitlines()
    assert {"name", "area_low", "p_end_holm", "area_claim"} <= set(head.split(","))
    assert len(lines) == 2
    assert len((tmp_path / "tables/budgets.csv").read_text().splitlines()) == 1 + 15


def test_a_budget_is_a_picture_with_its_numbers(results, tmp_path):
    picture, table = paper_figures.write(results, "budget", tmp_path / "fig.svg")
    assert picture.stat().st_size > 1_000
    assert "10,000" in table.read_text()
    assert "feature-extraction" in table.read_text()


def test_an_experiment_without_them_has_no_such_part(results):
    plain = changed(results, plan=msgspec.structs.replace(results.plan, specification={}))
    assert plain.contrasts() == plain.budgets() == ()
    assert "One change at a time" not in report_files.render(plain)
    with pytest.raises(InputError, match="no picture 'budget'.*--read-at"):
        plain.plot("budget")


def test_an_expectation_may_name_its_target(results):
    def unmet(expected):
        specification = {"expected": expected}
        return experiment_claims.unmet_expectations(
            changed(results, plan=msgspec.structs.replace(results.plan, specification=specification))
        )

    wrong = "not sooner" if not unmet({"finetune": "sooner"}) else "sooner"
    assert [line.targets for line in unmet({"finetune": wrong})] == [1]
    assert unmet({"finetune": {ENV: wrong}}) == unmet({"finetune": wrong})
    assert not unmet({"finetune": {"half-cheetah.gravity-2.0": wrong}})


def test_the_answer_is_written_from_the_results(results):
    name = "freeze-map-half-cheetah"
    empty = freeze_map_section.section({}, "../experiments/")
    assert empty.count("Not run yet.") == len(freeze_map_section.MAPS)
    part = freeze_map_section.section({name: results}, "../experiments/")
    assert part.count("Not run yet.") == len(freeze_map_section.MAPS) - 1
    claims = [row.end_claim for row in results.budgets() if (row.method, row.baseline) == ("finetune", "scratch")]
    line = next(line for line in part.splitlines() if line.startswith("| `finetune` minus `scratch`"))
    assert [claim for claim, _ in groupby(claims)] == re.findall("better|worse|not shown", line)
    assert "every budget" in line or f"up to {READ_AT[0]:,} steps" in line
    short = freeze_map_section.answer({name: results}, "experiments/", "docs/images/")
    assert f"](docs/images/{name}.svg)" in short
    assert line in short
