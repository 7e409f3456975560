import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from trl_suite.evidence.report import report_files
from trl_suite.evidence.results.experiment_results import load
from trl_suite.evidence.results.headline import headline
from trl_suite.record import Freeze

EVIL = "<script>alert('$x$')</script>&"
STEPS = np.arange(0, 100_001, 10_000)


class Links(HTMLParser):
    """Collects tags, and whatever would make a browser fetch something."""

    def __init__(self):
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        wanted = ("src", "href", "xlink:href", "action", "data", "srcset")
        self.fetched += [value for name, value in attrs if name in wanted and not value.startswith("#")]


def read(page: str) -> Links:
    links = Links()
    links.feed(page)
    return links


def sentence(root) -> tuple[str, str]:
    found = load(root)
    said = headline(found, found.measures())
    return said.kind, said.sentence


def test_the_page_stands_alone(experiment):
    path = report_files.write(experiment.root)
    assert path == experiment.root / "report.html"
    page = path.read_text()
    links = read(page)
    assert links.fetched == []
    assert not {"script", "iframe", "img", "link", "object"} & set(links.tags)
    assert links.tags.count("svg") == 5  # total steps, curves, speed-ups, survival, components
    assert "default-src 'none'" in page
    assert not re.search(r"url\((?!#)|@import", page)
    assert path.stat().st_size < 200_000
    assert sorted(p.name for p in experiment.root.iterdir() if p.is_file()) == ["plan.json", "report.html"]


@pytest.mark.usefixtures("unillustrated")
def test_the_page_says_what_a_reader_asks(experiment):
    page = report_files.write(experiment.root).read_text()
    for text in (
        "how much sooner does it learn",
        "Too few seeds for a claim: 5 pairs of finetune",
        "same runs that the methods are compared with",
        "bit-identical",
        "trl-suite run experiments/quickstart",
        "16e9b74c0ffee",
        "AMD EPYC, 2 cores",
        "they are earned back from 14 such targets on",
        "Nothing: every planned run is done",
    ):
        assert text in page, text
    assert str(experiment.root) not in page


def test_the_same_runs_give_the_same_page(experiment):
    assert report_files.write(experiment.root).read_bytes() == report_files.write(experiment.root).read_bytes()


def test_names_are_text_and_never_markup(build):
    experiment = build(methods=["scratch", "finetune"], seeds=3)
    method = EVIL.replace("/", "")
    strange = experiment.target("finetune", 0)
    strange = type(strange)(folder="strange", role="target", env=strange.env, method=method, seed=0)
    experiment.planned.append(strange)
    experiment.write_plan(name=EVIL, question=EVIL, command=EVIL)
    experiment.write(strange, status="failed", error=EVIL, versions={EVIL: EVIL}, machine={EVIL: EVIL})
    page = report_files.write(experiment.root).read_text()
    assert "script" not in read(page).tags
    assert "&lt;script&gt;" in page


@pytest.mark.usefixtures("unillustrated")
@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_seeds_stand_where_the_claim_would(build, seeds: int):
    root = build(seeds=seeds).root
    kind, said = sentence(root)
    assert kind == "too few"
    assert said.startswith("Too few seeds for a claim")
    assert said in report_files.write(root).read_text()


def test_the_verdict_is_about_the_plans_first_method(build):
    methods = ["scratch", "random-frozen", "feature-extraction", "finetune"]
    kind, said = sentence(build(methods=methods, seeds=10).root)
    assert "feature-extraction and scratch" in said or ", feature-extraction earns" in said
    assert kind in ("not shown", "worse", "better")


def test_a_slower_method_is_called_slower(build):
    kind, said = sentence(build(methods=["scratch", "random-frozen"], seeds=10).root)
    assert kind == "worse"
    assert "random-frozen earns" in said
    assert "less than scratch" in said
    assert "times later" in said


@pytest.mark.usefixtures("unillustrated")
def test_without_a_threshold_the_area_speaks(build):
    experiment = build(seeds=10, methods=["scratch", "finetune"])
    for seed in range(10):
        experiment.write(experiment.target("scratch", seed), -STEPS / 100.0 + seed)
    kind, said = sentence(experiment.root)
    assert kind == "better"
    assert "in mean return more than scratch" in said
    assert said.endswith("No speed-up could be measured: scratch set no threshold.")
    assert "There is no threshold for this target" in report_files.write(experiment.root).read_text()


def test_several_targets_are_counted(build):
    experiment = build(seeds=3)
    experiment.planned += [experiment.target(method, s, "half-cheetah.moon") for method in ("scratch", "finetune")
                           for s in range(3)]  # fmt: skip
    experiment.write_plan()
    for planned in experiment.planned[-6:]:
        experiment.write(planned)
    kind, said = sentence(experiment.root)
    assert kind == "too few"
    assert said.startswith(
        "Over 2 targets, finetune against scratch earns over the budget: too few on 2. To the thresh"
    )
    assert (
        read(report_files.write(experiment.root).read_text()).tags.count("svg") == 12
    )  # four each; forest, scores, total steps


def test_an_experiment_that_has_only_been_planned_has_a_report(experiment):
    for planned in experiment.planned:
        shutil.rmtree(experiment.root / planned.folder)
    page = report_files.write(experiment.root).read_text()
    assert "Nothing to compare yet" in page
    assert "0 of 25 runs done" in page
    assert "No run on this target has been evaluated yet" in page
    assert page.count("has not been run") == 25


@pytest.mark.parametrize("evaluations", [1, 2, 5])
def test_an_interrupted_experiment_shows_what_was_evaluated(experiment, evaluations: int):
    for planned in experiment.planned[5:]:
        experiment.write(planned, np.arange(evaluations) + planned.seed, status="interrupted")
    page = report_files.write(experiment.root).read_text()
    assert read(page).tags.count("svg") == 1
    assert "5 of 25 runs done" in page


def test_many_methods_get_a_panel_each(build):
    methods = ["scratch", *(f"partial-freeze-{k}" for k in range(7))]
    page = report_files.write(build(methods=methods, seeds=3).root).read_text()
    assert "Black, dashed: scratch" in page


@pytest.mark.usefixtures("unillustrated")
def test_a_broken_freeze_is_shown(experiment):

    broken = Freeze(before={"actor.trunk.0": "aa", "actor.trunk.1": "cc"}, after={"actor.trunk.0": "ab"})
    experiment.write(experiment.target("feature-extraction", 0), freeze=broken)
    page = report_files.write(experiment.root).read_text()
    assert "changed in 1 run" in page
    assert "frozen and yet changed: actor.trunk.0, actor.trunk.1" in page


def test_several_sources_have_a_verdict(standing):
    kind, said = sentence(standing.root)
    assert kind in ("better", "not shown")
    assert said.startswith("Over 8 cells from 2 sources to 4 targets, finetune against scratch earns over the budget: ")


@pytest.mark.usefixtures("unillustrated")
def test_seconds_of_a_cohort_are_the_runs_share_of_them(experiment):
    for planned in experiment.planned[:5]:
        experiment.write(planned, np.arange(11.0), seconds=12.5, cohort_size=8, engine="cohort")
    results = load(experiment.root)
    assert {row.source_seconds for row in results.measures() if row.method == "finetune"} == {12.5}
    page = report_files.render(results)
    assert "8 (5 runs), 1 (20 runs)" in page
    assert "cohort on cpu (5 runs)" in page
    assert "charged equal shares" in page
