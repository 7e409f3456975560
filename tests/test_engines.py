"""The committed comparison of the engines says what its results say."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "engines.py"


@pytest.fixture(scope="module")
def engines():
    spec = importlib.util.spec_from_file_location("engines", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_made_of_the_results(engines):
    text = engines.README.read_text()
    assert engines.page(text) == text


@pytest.mark.parametrize("env", ["hopper", "half-cheetah"])
def test_areas_of_ten_seeds_agree_within_the_interval(engines, env):
    row = engines.compared(env)
    assert row["seeds"] == 10
    assert row["low"] < 0 < row["high"]
