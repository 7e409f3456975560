"""Pages of the site that are written from tables; Sphinx is not needed for them."""

import csv
import json
import re
from pathlib import Path

import pytest

from tools.site import algorithm_pages, certificate_pages, paper_pages
from trl_suite.algorithms.registry import DESCRIPTORS
from trl_suite.errors import InputError
from trl_suite.mechanisms import methods

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


@pytest.mark.parametrize("name", methods.shipped())
def test_every_method_names_its_paper_or_says_why_there_is_none(name: str):
    paper = methods.shipped()[name].paper
    assert paper.removeprefix(paper_pages.NONE)
    assert "](https://" in paper_pages.cited(paper) or paper.startswith(paper_pages.NONE)


@pytest.mark.parametrize("name", DESCRIPTORS)
def test_every_algorithm_names_its_paper(name: str):
    assert "](https://" in paper_pages.cited(DESCRIPTORS[name].paper)


def test_every_paper_of_the_list_is_followed_by_somebody():
    rows = [line for line in paper_pages.page().splitlines() if line.startswith("| [")]
    assert len(rows) == len(paper_pages.papers())
    assert all("](../methods/" in row or "](../algorithms/" in row for row in rows)


def test_a_paper_that_is_not_in_the_list_is_named():
    with pytest.raises(InputError, match="unknown paper 'Li et al. 2019'.*did you mean 'Li et al. 2018'"):
        paper_pages.cited("Li et al. 2019, section 3")


def test_every_variant_of_an_env_leads_to_its_certificate():
    for table in EXPERIMENTS.parent.glob("envs/*/certificates.json"):
        env = table.parent.name
        page = certificate_pages.page(env)
        readme = certificate_pages.linked(env, (table.parent / "README.md").read_text())
        for variant in json.loads(table.read_text()):
            assert f'<a id="{variant}"></a>`{variant}`' in page
            assert f'<a href="certificates.html#{variant}">' in readme, f"{env}.{variant}"
