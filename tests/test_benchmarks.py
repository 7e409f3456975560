"""The pages of committed benchmarks say what their records say."""

import importlib.util
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def script(request, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)  # as for a script that is run from there
    spec = importlib.util.spec_from_file_location(request.param, FOLDER / f"{request.param}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("script", ["cohort", "off_policy", "physics", "where", "worlds"], indirect=True)
def test_the_page_is_made_of_the_results(script):
    text = script.README.read_text()
    assert script.page(text) == text


@pytest.mark.parametrize("script", ["engines"], indirect=True)
@pytest.mark.parametrize(
    ("algorithm", "seeds"),
    [("ppo", 10), ("sac", 10), ("sac-again", 10), ("sac-long", 10), ("sac-long-again", 20), ("td3", 10)],
)
def test_the_page_on_both_engines_is_made_of_all_their_seeds(script, algorithm, seeds):
    text = script.readme(algorithm).read_text()
    assert script.page(algorithm, text) == text
    assert {script.compared(algorithm, env)["seeds"] for env in script.STUDIES[algorithm][1]} == {seeds}


@pytest.mark.parametrize("script", ["engines"], indirect=True)
@pytest.mark.parametrize("env", ["hopper", "half-cheetah"])
def test_ppos_areas_of_ten_seeds_agree_within_the_interval(script, env):
    row = script.compared("ppo", env)
    assert row["low"] < 0 < row["high"]


@pytest.mark.parametrize("script", ["recompute"], indirect=True)
@pytest.mark.parametrize("name", ["quickstart", "shapes"])
def test_committed_numbers_are_those_of_code_that_shares_nothing_with_the_package(script, name):
    count, differing = script.compare(FOLDER.parent / "experiments" / name / "results")
    assert count > 10
    assert not differing
