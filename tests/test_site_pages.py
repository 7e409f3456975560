"""Pages of the site that are written from tables; Sphinx is not needed for them."""

import csv
import re
from pathlib import Path

import pytest

from tools.site import algorithm_pages
from trl_suite.algorithms.registry import DESCRIPTORS

EXPERIMENTS = Path(__file__).parent.parent / "experiments"


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_an_algorithm_is_told_with_all_its_keys(name: str):
    page = algorithm_pages.page(name)
    for key in DESCRIPTORS[name].hyperparameters.__struct_fields__:
        assert f"| `{key}` |" in page
    assert ("in cohorts: yes" in page) == bool(DESCRIPTORS[name].cohort_update)


def test_presets_stand_with_their_robots():
    page = algorithm_pages.page("ppo")
    for path in EXPERIMENTS.parent.glob("envs/*/training.toml"):
        assert f"(../envs/{path.parent.name}/README.md)" in page or "[ppo" not in path.read_text()


def test_where_a_method_helped_is_what_the_summaries_claim():
    rows = list(csv.DictReader((EXPERIMENTS / "methods/results/summary.csv").read_text().splitlines()))
    better = sum(row["method"] == "finetune" and row["area_claim"] == "better" for row in rows)
    told = re.search(r"\[methods\]\([^)]*\) \| (\d+) \|", algorithm_pages.evidence("finetune"))
    assert told is not None
    assert int(told[1]) == better
    assert "No experiment" in algorithm_pages.evidence("no-such-method")
