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


@pytest.mark.parametrize("script", ["cohort", "off_policy", "physics"], indirect=True)
def test_the_page_is_made_of_the_results(script):
    text = script.README.read_text()
    assert script.page(text) == text


@pytest.mark.parametrize("script", ["engines"], indirect=True)
@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_both_engines_learn_alike_within_the_interval(script, algorithm):
    text = script.readme(algorithm).read_text()
    assert script.page(algorithm, text) == text
    for env in ("hopper", "half-cheetah"):
        row = script.compared(algorithm, env)
        assert row["seeds"] == 10
        assert row["low"] < 0 < row["high"]
