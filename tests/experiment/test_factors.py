"""Several values of a factor: the whole grid for each, and the contrast between them."""

from pathlib import Path

import numpy as np
import pytest

from trl_suite.errors import InputError
from trl_suite.evidence.report import report_files
from trl_suite.evidence.results import experiment_results
from trl_suite.evidence.results.factor_contrasts import contrasts
from trl_suite.evidence.statistics import measures
from trl_suite.experiment.planning import grid
from trl_suite.experiment.specification import experiment_file

from .conftest import OFF_POLICY, TINY, made_of

HEAD = "[source]"
ENV = "inverted-pendulum.gravity-1.5"


def specs_of(folder: Path, *lines: str, tables: str = ""):
    (folder / "experiment.toml").write_text(TINY.replace(HEAD, "\n".join([*lines, HEAD]), 1) + tables)
    return grid.run_specs(experiment_file.load(folder))


def test_each_value_has_the_whole_grid(tiny: Path):
    alone, both = specs_of(tiny), specs_of(tiny, 'engine = ["cohort", "sb3"]')
    assert len(both) == 2 * len(alone)
    assert {spec.cell for spec in both} == {"engine=cohort", "engine=sb3"}
    assert len({spec.digest for spec in both}) == len(both)
    assert {spec.digest for spec in both[: len(alone)]} == {
        spec.digest for spec in specs_of(tiny, 'engine = "cohort"')
    }, "a run of a cell is the run of an experiment with that value"


def test_factors_are_crossed(tiny: Path):
    crossed = specs_of(tiny, 'engine = ["cohort", "sb3"]', 'algorithm = ["ppo", "sac"]', tables=OFF_POLICY)
    assert len({spec.cell for spec in crossed}) == 4
    assert {spec.specification["algorithm"] for spec in crossed if "algorithm=sac" in spec.cell} == {"sac"}


def test_a_list_of_one_is_that_value(tiny: Path):
    assert [spec.digest for spec in specs_of(tiny, 'engine = ["sb3"]')] == [
        spec.digest for spec in specs_of(tiny, 'engine = "sb3"')
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("engine = []", "engine: a value, or a list of values"),
        ('engine = ["sb3", "sb3"]', "engine: .* names one twice"),
        ('engine = ["sb3", "auto"]', "'auto' is no value to compare"),
        ('engine = ["cohort", "sbx"]', "sbx"),
        ("engine = [1, 2]", "engine: a value, or a list of values"),
        ('engine = ["cohort", "sb3"]\nphysics = ["warp", "mujoco"]', "physics = 'warp' simulates cohorts"),
        ("factors = { engine = ['sb3'] }", "unknown key 'factors'"),
        ('device = ["cpu", "cuda"]', "device"),
    ],
)
def test_other_lists_are_refused_by_key(tiny: Path, line: str, message: str):
    with pytest.raises(InputError, match=message):
        specs_of(tiny, line)


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = TINY.replace(HEAD, 'engine = ["cohort", "sb3"]\n\n[source]', 1)
    return made_of(text, tmp_path_factory.mktemp("factors"))


def test_a_method_is_compared_with_scratch_of_its_own_cell(crossed: Path):
    results = experiment_results.load(crossed)
    assert {finding.kind for finding in results.irregularities} <= {"no reference"}  # such short runs may not learn
    assert results.envs == (f"{ENV} (engine=cohort)", f"{ENV} (engine=sb3)")
    for env in results.envs:
        assert results.methods(env) == ("scratch", "finetune", "random-frozen")
        assert {run.split("--")[0].split("/")[0] for run in results.curves[env, "scratch"].folders} == {ENV}


def test_the_contrast_is_the_paired_difference_by_seed(crossed: Path):
    results = experiment_results.load(crossed)
    rows = contrasts(results)
    assert [(row.method, row.value, row.baseline) for row in rows] == [
        (method, "sb3", "cohort") for method in ("scratch", "finetune", "random-frozen")
    ]
    first, second = (results.curves[f"{ENV} (engine={engine})", "scratch"] for engine in ("cohort", "sb3"))
    np.testing.assert_array_equal(first.seeds, second.seeds)
    difference = (measures.area(second.steps, second.returns) - measures.area(first.steps, first.returns)).mean()
    scale = results.scales.get(f"{ENV} (engine=cohort)")
    width = scale.width if rows[0].scaled and scale is not None else 1.0
    assert rows[0].area.value == pytest.approx(difference / width)
    assert rows[0].area_claim == "too few"


def test_the_report_has_the_contrasts(crossed: Path):
    page = report_files.write(crossed).read_text()
    assert "What another engine changes" in page
    assert "against cohort" in page
