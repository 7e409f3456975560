"""The name that an error suggests: of a misspelt name, and of one whose end was left out."""

import pytest

from trl_suite import content
from trl_suite.errors import suggestion, unknown


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("freeze-mapp", "freeze-map-half-cheetah"),  # its end left out, and a letter too many
        ("matrx", "matrix-"),  # there are several
        ("quickstrt", "quickstart"),
        ("severity-walker", "severity-walker2d"),
    ],
)
def test_the_beginning_of_a_long_name_is_enough(wrong, near):
    assert near in suggestion(wrong, content.names("experiments"))


def test_nothing_is_suggested_where_nothing_is_near():
    assert suggestion("lr", ["learning_rate", "gamma"]) == ""


def test_a_whole_name_goes_before_a_beginning():
    assert suggestion("step", ["steps", "step_size_schedule"]) == " (did you mean 'steps'?)"


@pytest.mark.parametrize("name", content.names("experiments"))
def test_one_letter_less_leads_back(name):
    assert f"'{name}'" in str(unknown("experiment", name[:2] + name[3:], content.names("experiments")))
