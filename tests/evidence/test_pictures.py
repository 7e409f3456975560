import re
import warnings
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trl_suite.evidence.figures import gallery, profiles, survival
from trl_suite.evidence.figures.learning_curves import learning, panels
from trl_suite.evidence.figures.style import (
    CARD_WIDTH,
    LOOKS,
    WIDTH,
    _apart,
    canvas,
    drawn_for_cards,
    looks,
    png,
    ratio_axis,
    styled,
    svg,
    wrapped,
)
from trl_suite.evidence.reading import conditions
from trl_suite.evidence.results import across_targets, attribution, source_target_matrix
from trl_suite.evidence.results.experiment_results import load

from .conftest import ENV, Grid

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture(scope="module")
def shown(standing: Grid) -> dict[str, gallery.CaptionedFigure]:
    results = load(standing.root)
    rows = results.measures()
    found = gallery.across(results, rows, across_targets.overall(results))
    env = results.envs[1]
    found += gallery.of_target(results, env, [row for row in rows if row.env == env])
    return {picture.name: picture for picture in found}


def words(picture: gallery.CaptionedFigure) -> str:
    return re.sub(r"<[^>]+>", " ", svg(picture.figure, picture.name))


def test_every_picture_that_the_plan_has_data_for(shown):
    env = Grid.TARGETS[1]
    assert list(shown) == [
        "forest", "map", "matrix-finetune", "severity-half-cheetah-gravity", "freeze-depth", "profile",
        "total-steps-half-cheetah", f"learning-{env}", f"speed-up-{env}", f"survival-{env}", f"components-{env}",
    ]  # fmt: skip
    for picture in shown.values():
        assert picture.caption
        assert ElementTree.fromstring(svg(picture.figure, picture.name)).tag.endswith("svg")
        assert png(picture.figure, dpi=40).startswith(b"\x89PNG")


def test_pictures_are_vectors(shown):
    assert not [name for name, picture in shown.items() if "<image" in svg(picture.figure, picture.name)]


def test_what_pictures_say(shown):
    assert "all targets" in words(shown["forest"])
    assert "finetune from hopper" in words(shown["forest"])
    assert "gravity, as a multiple of its nominal value" in words(shown["severity-half-cheetah-gravity"])
    assert "frozen trunk layers" in words(shown["freeze-depth"])
    cells = words(shown["matrix-finetune"])
    for word in ("hopper", "half-cheetah", *Grid.TARGETS):
        assert word in cells
    assert "copying critic" in words(shown[f"components-{Grid.TARGETS[1]}"])


def test_one_target_has_no_pictures_across_but_that_of_all_steps(experiment):
    results = load(experiment.root)
    (total,) = gallery.across(results, results.measures(), across_targets.overall(results))
    assert total.name == "total-steps-half-cheetah"


def test_no_two_methods_look_alike():
    methods = ["scratch", *(f"method-{i}" for i in range(18))]
    found = looks(methods)
    assert len({(look.colour, look.marker, str(look.dash)) for look in found.values()}) == len(methods)
    shades = [sum(int(look.colour[i : i + 2], 16) * w for i, w in ((1, 0.3), (3, 0.59), (5, 0.11))) for look in LOOKS]
    assert len({look.colour for look in found.values()}) == 1 + len(LOOKS) + 1  # scratch, six colours, and grey
    assert len({look.marker for look in LOOKS}) == len(LOOKS)  # shades of print alone would not do
    assert max(shades) < 190  # on white paper


def test_a_matrix_is_shown_for_several_sources_only(standing: Grid, experiment):
    results = load(standing.root)
    assert [table.method for table in source_target_matrix.matrices(results, results.measures())] == ["finetune"]
    results = load(experiment.root)
    assert source_target_matrix.matrices(results, results.measures()) == []


def test_severities_are_in_order_and_hold_the_nominal_env(grid: Grid):
    nominal = [
        grid.target(method, seed, "half-cheetah") for method in ("scratch", "partial-freeze-1") for seed in range(4)
    ]
    grid.planned += nominal
    grid.write_plan()
    for planned in nominal:
        grid.write(planned)
    results = load(grid.root)
    found = profiles.severities(results.measures(), results.shifts)
    assert set(found) == {("half-cheetah", "gravity"), ("half-cheetah", "mass")}
    assert [x for x, _ in found["half-cheetah", "gravity"]["partial-freeze-1"]] == [0.5, 1.0, 1.5, 2.0]
    assert [x for x, _ in found["half-cheetah", "mass"]["partial-freeze-1"]] == [1.0, 2.0]


def test_freeze_depths_begin_with_plain_fine_tuning(standing: Grid):
    found = profiles.depths(load(standing.root).measures())
    assert list(found) == list(Grid.TARGETS)
    assert [depth for depth, _ in found[Grid.TARGETS[0]]] == [0, 1, 2]


def test_survival_is_kaplan_and_meiers(experiment):
    results = load(experiment.root)
    scratch = results.curves[ENV, "scratch"]
    threshold = results.scales[ENV].threshold
    steps, left = survival.shares(scratch, threshold)
    row = results.measures()[0]
    area = float(np.sum(np.diff(steps) * left[:-1]))
    assert area == pytest.approx(row.time.value)  # the area below the curve is the restricted mean
    assert (steps[0], left[0]) == (0, 1)
    assert left[-1] == pytest.approx(1 - row.reached / row.timed)


def test_contrasts_differ_in_one_respect_and_are_neighbours(standing: Grid):
    found = attribution.contrasts(load(standing.root), Grid.TARGETS[1])
    named = {(c.kind, c.more, c.less): c for c in found}
    full = "finetune from half-cheetah"
    assert named["copying", full, "actor-only"].components == ("critic",)
    assert named["freezing", "partial-freeze-1", full].components == ("actor.trunk.0",)
    assert named["freezing", "partial-freeze-2", "partial-freeze-1"].effect.value < 0
    assert named["copying", full, "actor-only"].effect.value > 0
    assert ("copying", full, "scratch") not in named  # the actor lies between
    assert not [c for c in found if {"hopper", "half-cheetah"} <= {w for m in (c.more, c.less) for w in m.split()}]


def test_families_of_components_are_folded():
    known = ("actor.trunk.0", "actor.trunk.1", "actor.head", "critic.trunk.0", "critic.head", "log_std")
    assert attribution.fold(known[:3], known) == ("actor",)
    assert attribution.fold(known[:2], known) == ("actor.trunk",)
    assert attribution.fold((known[0], known[5]), known) == ("actor.trunk.0", "log_std")


@pytest.mark.parametrize(("low", "high"), [(0.9, 1.1), (0.3, 3), (0.01, 500), (1e-9, 1e9)])
def test_ratio_axes_have_few_ticks_and_some(low: float, high: float):
    with styled():
        axis = canvas(2).subplots()
        axis.set_xlim(low, high)
        ratio_axis(axis)
    assert 1 <= len(axis.get_xticks()) <= 9


@pytest.mark.parametrize("ratios", [(0.47, 10.0), (0.01, 300.0), (0.9, 1.1)])
def test_an_axis_of_ratios_ends_soon_after_what_is_drawn(ratios):
    with styled():
        axis = canvas(2).subplots()
        axis.plot(ratios, (0, 1))
        ratio_axis(axis)
    low, high = axis.get_xlim()
    assert 0.5 * ratios[0] < low <= ratios[0]
    assert ratios[1] <= high < 2 * ratios[1]


def test_no_name_is_mathematics_or_markup(build):
    experiment = build(methods=["scratch", "finetune"], seeds=3)
    odd = "$x_1$<b>"
    strange = [type(p)(folder=f"odd/{p.seed}", role="target", env=p.env, method=odd, seed=p.seed)
               for p in experiment.planned if p.method == "scratch"]  # fmt: skip
    experiment.planned += strange
    experiment.write_plan()
    for planned in strange:
        experiment.write(planned)
    results = load(experiment.root)
    drawn = [svg(p.figure, p.name) for p in gallery.of_target(results, ENV, list(results.measures()))]
    assert all("$x_1$&lt;b&gt;" in picture for picture in drawn[:2])
    assert conditions.depth(odd) is None


def test_a_method_that_never_gets_there_takes_no_room(build):
    experiment = build(methods=["scratch", "random-frozen"], seeds=3)
    for seed in range(3):
        experiment.write(experiment.target("random-frozen", seed), np.full(11, -300.0))
    results = load(experiment.root)
    curves = [results.curves[ENV, method] for method in results.methods(ENV)]
    figure = survival.survival(curves, results.scales[ENV].threshold, looks(["random-frozen"]))
    figure.draw_without_rendering()
    assert figure.axes[0].get_position().y0 < 0.2


def test_every_column_of_panels_has_its_steps_below_it(standing: Grid):
    results = load(standing.root)
    scratch = results.curves[results.envs[0], "scratch"]
    figure, used = panels([scratch] * 9)  # eight panels in rows of three: the last place is empty
    figure.draw_without_rendering()
    told = [any(label.get_visible() for label in axis.get_xticklabels()) for axis, _ in used]
    assert told == [False] * 5 + [True] * 3


@pytest.mark.parametrize("lowest", [-75.0, -7_500.0, -750_000.0])
@pytest.mark.parametrize("width", [CARD_WIDTH, WIDTH])
def test_the_name_of_an_axis_keeps_clear_of_its_numbers(standing: Grid, lowest, width):
    results = load(standing.root)
    curves = results.curves[results.envs[0], "scratch"]
    low = replace(curves, returns=curves.returns * 0.0 + lowest)
    with drawn_for_cards(width):
        figure = learning([curves, *[low] * 8], None, looks([curves.method]))
    figure.draw_without_rendering()
    numbers = [label.get_window_extent().x0 for axis in figure.axes for label in axis.get_yticklabels()]
    assert figure._supylabel.get_window_extent().x1 <= min(numbers)


def test_labels_are_pushed_apart_and_stay_in_the_panel():
    np.testing.assert_allclose(_apart([0.0, 0.02, 0.5, 0.98, 1.0], 0.1, 1.0), [0.0, 0.1, 0.5, 0.9, 1.0])
    assert _apart([], 0.1, 1.0) == []


def test_names_of_outside_envs_leave_every_picture_its_place():
    """Matplotlib warns where an axis has no place left: seen on cards, with four sources of one long name."""
    results = load(EXPERIMENTS / "matrix-fetch-reach" / "results")
    rows = results.measures()
    env = results.envs[0]
    with drawn_for_cards(), warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures = gallery.across(results, rows, across_targets.overall(results))
        pictures += gallery.of_target(results, env, [row for row in rows if row.env == env])
        for picture in pictures:
            assert png(picture.figure, dpi=40)


@pytest.mark.parametrize("name", ["scratch", "finetune from gymnasium:FetchReachDense-v4?damping=100", "a" * 90, ""])
def test_a_wrapped_name_loses_no_letter(name):
    assert wrapped(name).replace("\n", "").replace(" ", "") == name.replace(" ", "")
