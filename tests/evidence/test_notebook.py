"""What a notebook shows of results, records and policies, and the figures that it can ask for."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from trl_suite.errors import InputError
from trl_suite.evidence.results.experiment_results import load
from trl_suite.html_tables import ROWS_MAX, html_table
from trl_suite.record import Transplant

from .conftest import ENV


@pytest.fixture
def results(experiment):
    return load(experiment.root)


def test_results_are_a_line_and_a_table(results):
    line = repr(results)
    assert len(line) < 250
    assert f"{len(results.recorded)} runs done; {ENV}; scratch, finetune" in line
    page = results._repr_html_()
    assert page.count("<tr>") == 1 + len(results.measures())
    assert "claim" in page


@pytest.mark.parametrize("kind", ["curves", "speed-up", "survival"])
def test_a_picture_is_a_figure_that_shows_itself(results, kind):
    figure = results.plot(kind, env=ENV)
    assert isinstance(figure, Figure)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert results.plot(kind).axes  # one target: it needs no name


@pytest.mark.parametrize(
    ("kind", "env", "message"),
    [
        ("curve", None, "unknown kind of picture 'curve' .did you mean 'curves'"),
        ("curves", "half-cheetah", "unknown target 'half-cheetah'"),
        ("matrix", None, "no picture 'matrix': it needs several targets, sources"),
    ],
)
def test_a_picture_that_is_not_there_says_why(results, kind, env, message):
    with pytest.raises(InputError, match=message):
        results.plot(kind, env)


def test_of_nothing_there_is_no_picture(experiment):
    for planned in experiment.planned:
        experiment.write(planned, np.arange(3.0), status="interrupted")
    with pytest.raises(InputError, match="no picture 'survival' of .*: not enough runs are done"):
        load(experiment.root).plot("survival")


def test_a_transplant_is_a_line_and_a_table():
    record = Transplant(method="<b>", source="ab" * 32, copied=("actor.trunk.0", "actor.head"), frozen=("actor.head",))
    assert repr(record) == "<transplant '<b>' from ababababab: 2 copied, 0 fresh, 1 frozen, 0 unmatched>"
    page = record._repr_html_()
    assert "actor.trunk.0, actor.head" in page
    assert "<b>'" not in page


def test_a_policy_is_a_line_and_a_table(make_policy):
    page = make_policy(["a.position"], ["a.control"])._repr_html_()
    assert "observations" in page
    assert "sha256" in page


def test_a_long_table_says_how_long_it_is():
    page = html_table("<t>", ("a",), [(i,) for i in range(ROWS_MAX + 5)])
    assert page.count("<tr>") == ROWS_MAX + 1
    assert "and 5 more rows" in page
    assert "&lt;t&gt;" in page
