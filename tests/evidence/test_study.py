"""What several experiments show together, and the page that says it."""

import json
import math
import shutil

import msgspec
import pytest
from scipy import stats

from tools.site import experiment_pages
from trl_suite.evidence.figures import effect_intervals, profiles
from trl_suite.evidence.figures.style import looks
from trl_suite.evidence.results import across_targets, experiment_claims, number_format
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.statistics.claim import benjamini_hochberg, claim, time_claim
from trl_suite.evidence.statistics.estimates import Estimate
from trl_suite.record import Plan, decode, encode

from .conftest import STEPS, Grid


def about(value, low, high, n=10):
    return Estimate(value=value, low=low, high=high, n=n)


@pytest.mark.parametrize(
    ("speed_up", "p", "said"),
    [
        (about(2.0, 1.5, 3.0), 0.002, "sooner"),
        (about(0.5, 0.3, 0.8), 0.002, "later"),
        (about(2.0, 0.9, 3.0), 0.002, "not shown"),
        (msgspec.structs.replace(about(0.5, 0.3, 0.8), at_least=True), 0.002, "not shown"),  # it may be more
        (about(2.0, 1.5, 3.0), 0.06, "not shown"),
        (about(2.0, 1.5, 3.0, n=5), 0.06, "too few"),
        (Estimate(value=2.0, n=2), 0.5, "too few"),
        (about(2.0, 1.5, 3.0, n=3), float("nan"), "too few"),
        (about(2.0, 1.5, 3.0), float("nan"), "sooner"),  # over targets there is no exact test
        (msgspec.structs.replace(about(2.0, 1.5, 3.0), at_most=True), 0.002, "not shown"),  # it may be less
        (Estimate(), 0.002, "not measured"),
    ],
)
def test_no_more_is_claimed_than_interval_and_test_allow(speed_up, p, said):
    assert time_claim(speed_up, p) == said


def test_a_gain_is_claimed_by_the_same_rule():
    assert claim(about(0.4, 0.1, 0.7), 0.01) == "better"
    assert claim(about(-0.4, -0.7, -0.1), 0.01) == "worse"
    assert claim(about(0.4, 0.1, 0.7), 0.05) == claim(about(0.4, -0.1, 0.7), 0.01) == "not shown"


def test_false_discoveries_are_those_of_scipy():
    ps = [0.01, 0.02, 0.03, 0.5, 0.04]
    assert benjamini_hochberg(ps) == pytest.approx(list(stats.false_discovery_control(ps)))
    assert benjamini_hochberg([]) == []
    assert math.isnan(benjamini_hochberg([float("nan"), 0.01])[0])


def test_a_claim_stands_for_each_method_on_each_of_a_few_targets(standing):
    results = Results.read(standing.root)
    rows = [row for row in results.measures() if row.speed_up.n]
    claims = experiment_claims.claims(results)
    assert [(line.target, line.method) for line in claims] == [(row.env, row.method) for row in rows]
    assert {line.time_claim for line in claims} <= {"sooner", "later", "not shown"}


def test_over_many_targets_a_method_has_one_claim(standing, monkeypatch):
    monkeypatch.setattr(experiment_claims, "FEW_TARGETS", 2)
    claims = experiment_claims.claims(Results.read(standing.root))
    assert {line.target for line in claims} == {"4 targets"}
    assert len({line.method for line in claims}) == len(claims)


@pytest.fixture
def two_robots(build, monkeypatch):
    """Four targets of two robots, which are many."""
    monkeypatch.setattr(experiment_claims, "FEW_TARGETS", 2)
    experiment = build(seeds=6)
    more = ("half-cheetah.gravity-2.0", "hopper.gravity-1.5", "hopper.gravity-2.0")
    experiment.add(
        *(experiment.target(m, seed, env) for env in more for m in ("scratch", "finetune") for seed in range(6))
    )
    return experiment


def test_over_many_targets_of_several_robots_each_has_a_claim_too(two_robots):
    claims = [line for line in experiment_claims.claims(Results.read(two_robots.root)) if line.method == "finetune"]
    assert [(line.target, line.pairs) for line in claims] == [
        ("4 targets", 4),
        ("half-cheetah, 2 targets", 2),
        ("hopper, 2 targets", 2),
    ]
    whole, *parts = (line.speed_up.value for line in claims)
    assert whole == pytest.approx(math.prod(parts) ** 0.5)  # a geometric mean of as many targets each


def test_the_finding_counts_what_may_be_claimed_for_each_robot(two_robots, tmp_path):
    (tmp_path / "severity").mkdir()
    (tmp_path / "severity" / "experiment.toml").write_text('question = "Why?"\n')
    (tmp_path / "severity" / "results").symlink_to(two_robots.root)
    found = experiment_pages.ExperimentLibrary(tmp_path)
    head, _, *rows = experiment_pages.blocks(found)["severity"].split("\n\n")[1].splitlines()
    assert head == "| method | half-cheetah, 2 targets | hopper, 2 targets |"
    [finetune] = [row for row in rows if row.startswith("| `finetune`")]
    each = experiment_claims.claims(found.results["severity"], every_target=True)
    for cell, robot in zip(finetune.strip("| ").split(" | ")[1:], ("half-cheetah", "hopper"), strict=True):
        mine = [one.time_claim for one in each if one.method == "finetune" and one.target.startswith(robot)]
        assert {f"{what} on {mine.count(what)}" for what in mine} == set(cell.split("<br>")[1].split(", "))


def expecting(grid, **expected):
    plan = decode(grid.root / "plan.json", Plan)
    specification = plan.specification | {"expected": expected}
    (grid.root / "plan.json").write_bytes(encode(msgspec.structs.replace(plan, specification=specification)))
    return Results.read(grid.root)


def standing_alone(results, tmp_path):
    """Return a study of one experiment that has these results."""
    mine = tmp_path / "study" / "mine"
    mine.mkdir(parents=True)
    (mine / "experiment.toml").write_text('question = "Why?"\n')
    (mine / "results").symlink_to(results)
    return experiment_pages.ExperimentLibrary(mine.parent)


def test_what_was_expected_and_did_not_happen_is_told(grid):
    results = expecting(grid, **{"random-frozen": "sooner", "critic-only": "not sooner"})
    method = next(row for row in results.measures() if row.method == "random-frozen")
    [surprise] = [one for one in experiment_claims.unmet_expectations(results) if one.method == "random-frozen"]
    assert any(method.env in targets for targets in surprise.happened.values())
    assert "sooner" not in surprise.happened


def test_what_could_not_be_timed_is_told_by_its_return(experiment, tmp_path):
    for seed in range(5):
        experiment.write(experiment.target("scratch", seed), -STEPS / 100.0 + seed)  # it only gets worse
    results = expecting(experiment, finetune="sooner")
    [line] = [one for one in experiment_claims.claims(results) if one.method == "finetune"]
    assert (line.time_claim, line.pairs) == ("not measured", 5)
    [finetune] = [row for row in results.measures() if row.method == "finetune"]
    assert line.gain == finetune.area_difference
    assert [list(one.happened) for one in experiment_claims.unmet_expectations(results)] == [["not measured"]]
    found = standing_alone(experiment.root, tmp_path)
    cell = f"{number_format.estimate(line.gain, signed=True)} of return<br>**not timed** |"
    assert cell in experiment_pages.blocks(found)["findings"]


def test_targets_that_went_otherwise_are_named_as_long_as_they_are_few(grid, tmp_path, monkeypatch):
    expecting(grid, **{"random-frozen": "sooner"})
    found = standing_alone(grid.root, tmp_path)
    [(what, targets)] = experiment_claims.unmet_expectations(found.results["mine"])[0].happened.items()
    assert experiment_pages.blocks(found)["surprises"].endswith(f"{what} on {', '.join(targets)}.")
    monkeypatch.setattr(experiment_pages, "FEW_TARGETS", len(targets) - 1)
    assert experiment_pages.blocks(found)["surprises"].endswith(
        f"{what} on {len(targets)} of {len(grid.TARGETS)} targets."
    )


def test_a_pair_counts_once_however_many_experiments_measured_it(standing):
    results = Results.read(standing.root)
    once, twice = experiment_claims.scores([results]), experiment_claims.scores([results, results])
    assert once
    assert [one.correlation.n for one in once] == [one.correlation.n for one in twice]


def test_a_pair_is_scored_as_the_experiment_with_the_most_runs_has_it(tmp_path):
    few, many = (Results.read(Grid(tmp_path / str(seeds), seeds=seeds).root) for seeds in (3, 5))
    both, alone, fewer = (
        str(experiment_claims.scores(studies)) for studies in ([few, many], [many], [few])
    )  # NaN is not itself
    assert both == alone != fewer


def test_an_experiment_that_made_no_probes_takes_no_pair_from_one_that_did(standing, tmp_path):
    probes = [
        {"env": env, "source": "", "probes": {"dynamics": float(place)}} for place, env in enumerate(Grid.TARGETS)
    ]
    (standing.root / "probes.json").write_text(json.dumps(probes))
    probed = Results.read(standing.root)
    shutil.copytree(standing.root, tmp_path / "bare", ignore=shutil.ignore_patterns("probes.json"))
    bare = Results.read(tmp_path / "bare")
    counts = [
        {(one.method, one.probe): one.correlation.n for one in experiment_claims.scores(studies)}
        for studies in ([probed], [bare, probed])
    ]
    assert counts[0] == counts[1]
    assert {probe for _, probe in counts[0]} > {"return at step 0"}


def test_a_page_says_what_has_not_been_run(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "experiment.toml").write_text('question = "Why?"\n')
    parts = experiment_pages.blocks(experiment_pages.ExperimentLibrary(tmp_path))
    assert "| [mine](mine/README.md) | Why? | not run yet |" in parts["questions"]
    assert {parts[name] for name in ("severity", "findings", "surprises", "advisor", "figures")} == {
        experiment_pages.NOTHING
    }


def test_a_page_with_results_shows_them(grid, tmp_path):
    (tmp_path / "study" / "severity").mkdir(parents=True)
    (tmp_path / "study" / "severity" / "experiment.toml").write_text('question = "Why?"\n')
    grid.root.rename(tmp_path / "study" / "severity" / "results")
    (tmp_path / "study" / "README.md").write_text("<!-- findings: x -->\n<!-- /findings -->\nprose\n")
    (tmp_path / "README.md").write_text("<!-- severity: x -->\n<!-- /severity -->\n")
    text = experiment_pages.write(tmp_path / "study").read_text()
    assert "| `finetune from half-cheetah` |" in text
    assert text.endswith("prose\n")
    finding = (tmp_path / "README.md").read_text()
    assert "as fast as scratch over 4 targets (geometric mean" in finding
    assert (
        finding.count("\n- `")
        == len(across_targets.overall(experiment_pages.ExperimentLibrary(tmp_path / "study").results["severity"]))
        > 1
    )
    assert (
        experiment_pages.filled(text, experiment_pages.blocks(experiment_pages.ExperimentLibrary(tmp_path / "study")))
        == text
    )
    assert experiment_pages.filled(text.replace("prose", "other prose"), {}).endswith("other prose\n")


def test_findings_are_a_table_of_methods_by_targets(standing, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "experiment.toml").write_text('question = "Why?"\n')
    (tmp_path / "mine" / "results").symlink_to(standing.root)
    found = experiment_pages.ExperimentLibrary(tmp_path)
    claims = experiment_claims.claims(found.results["mine"])
    _, _, head, _, *rows = experiment_pages.blocks(found)["findings"].splitlines()
    targets = list(dict.fromkeys(line.target for line in claims))
    assert [cell.split(", n = ")[0] for cell in head.split(" | ")[1:]] == targets
    for row in rows:
        method, *cells = row.strip("| ").split(" | ")
        for target, cell in zip(targets, cells, strict=True):
            [line] = [one for one in claims if (f"`{one.method}`", one.target) == (method, target)]
            assert ({line.time_claim, line.gain_claim} == {"not shown"}) == ("**" not in cell)
            assert number_format.speed_up(line.speed_up) in cell
            assert number_format.estimate(line.gain, signed=True) in cell


def test_severities_are_drawn_from_the_mildest_on_a_panel_for_each_robot():
    mild, strong = about(3.0, 2.0, 4.0), about(1.2, 0.9, 1.6)
    robots = {"hopper": {"gear": [(0.35, strong), (0.75, mild)]}, "walker2d": {"gear": [(0.35, strong)]}}
    figure = profiles.fading(robots, looks(["gear"]))
    left, right = figure.axes
    assert [left.get_title(), right.get_title()] == ["hopper", "walker2d"]
    assert left.lines[0].get_ydata().tolist() == [3.0, 1.2]


def test_gains_are_drawn_by_depth_a_panel_for_each_robot():
    robots = {"hopper": {"gravity-1.5": [(0.0, about(2.0, 1.0, 3.0)), (1.0, about(-0.5, -1.0, 0.1))]}, "walker2d": {}}
    figure = profiles.gains(robots, looks(["gravity-1.5"]))
    left, right = figure.axes
    assert left.lines[0].get_ydata().tolist() == [2.0, -0.5]  # a gain may be a loss
    assert left.get_xticks().tolist() == [0, 1]
    assert right.get_title() == "walker2d"


def test_gains_are_drawn_by_method_a_panel_for_each_target(standing):
    rows = [row for row in Results.read(standing.root).measures() if row.area_gain.n]
    figure = effect_intervals.gains(rows, looks(["finetune"])["finetune"], columns=3)
    assert [panel.get_title() for panel in figure.axes] == list(dict.fromkeys(row.env for row in rows))
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names[::-1] == list(dict.fromkeys(row.method for row in rows))  # the first is above


def test_a_target_names_its_source_only_where_it_has_several(standing):
    rows = [row for row in Results.read(standing.root).measures() if (row.base or row.method) != "finetune"]
    assert set(profiles.depths(rows)) == set(Grid.TARGETS)


@pytest.mark.parametrize("name", ["identity", "freeze-depth", "parts", "methods", "running-backwards"])
def test_what_has_been_run_has_its_picture(standing, tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "experiment.toml").write_text('question = "Why?"\n')
    (tmp_path / name / "results").symlink_to(standing.root)
    drawn = experiment_pages.figures(experiment_pages.ExperimentLibrary(tmp_path))
    assert list(drawn) == ["controls" if name == "running-backwards" else name]
