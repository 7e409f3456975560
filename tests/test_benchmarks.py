"""The pages of committed benchmarks say what their records say."""

import argparse
import importlib.util
import json
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


@pytest.mark.parametrize("script", ["where"], indirect=True)
def test_a_stopped_profile_loses_one_row_and_goes_on_with_those_of_its_commit(script, tmp_path, monkeypatch):
    out = tmp_path / "where.json"
    asked = argparse.Namespace(cases=["SAC 256-256"], members=[1, 8], chunks=1, resume=True, out=out)
    profiled = []

    def profile(hyperparameters, members, chunks):
        profiled.append(members)
        if members == 8 and len(profiled) < 3:
            raise KeyboardInterrupt
        return [script.Chunk(1, dict.fromkeys(script.PHASES, 1.0), 80.0)]

    monkeypatch.setattr(script, "profile", profile)
    with pytest.raises(KeyboardInterrupt):
        script.measure(asked)
    script.measure(asked)
    assert profiled == [1, 8, 8]
    assert [row["members"] for row in json.loads(out.read_text())["rows"]] == [1, 8]
    monkeypatch.setattr(script.provenance, "commit", lambda: ("another", False))
    assert not script.measured(out)


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
