import pytest

from trl_suite.evidence.reading import conditions
from trl_suite.evidence.reading.conditions import Shift
from trl_suite.record import Plan, PlannedRun


@pytest.mark.parametrize(
    ("method", "depth"), [("partial-freeze-2", 2), ("finetune", 0), ("scratch", None), ("x-2", None)]
)
def test_freeze_depth(method: str, depth: int | None):
    assert conditions.depth(method) == depth


@pytest.mark.parametrize(
    ("env", "shift"),
    [
        ("half-cheetah.gravity-1.5", Shift("half-cheetah", "gravity", 1.5)),
        ("half-cheetah.torso-mass-2.0", Shift("half-cheetah", "torso-mass", 2.0)),
        ("half-cheetah?gravity=1.3", Shift("half-cheetah", "gravity", 1.3)),
        ("half-cheetah?gravity=1.3&gear=0.9", None),
        ("half-cheetah.moon", None),
        ("half-cheetah", None),
        ("gymnasium:Ant-v5", None),
        ("half-cheetah.gravity-0.0", None),
    ],
)
def test_a_shift_is_read_from_the_name(env: str, shift: Shift | None):
    assert conditions.shift(env, {}) == shift


@pytest.mark.parametrize(
    ("variation", "shift"),
    [
        ({"size": {"body": "torso", "scale": 1.5}}, Shift("half-cheetah", "torso-size", 1.5)),
        ({"size": {"body": "torso", "scale": 1.5}, "gravity": 1.5}, None),
        ({"size": {"geom": "torso", "scale": 4.0, "only": "radius"}}, None),
        ({"gravity": 0.17}, None),
        ({}, None),
    ],
)
def test_a_shift_of_a_variant_with_a_name_of_its_own_is_read_from_what_it_changes(variation, shift):
    assert conditions.shift("half-cheetah.hugetorso", variation) == shift


def planned(folder: str, method: str, source: str = "", role: str = "target", env: str = "t") -> PlannedRun:
    return PlannedRun(folder=folder, role=role, env=env, method=method, seed=0, source=source)  # pyright: ignore


def test_arms_carry_their_source_only_where_there_are_several():
    runs = (
        planned("s0", "source", role="source", env="hopper"),
        planned("s1", "source", role="source", env="walker"),
        planned("a", "finetune", "s0"),
        planned("b", "finetune", "s1"),
        planned("c", "actor-only", "s1"),
        planned("d", "scratch"),
    )
    plan = Plan(name="", question="", command="", runs=runs, every=1, episodes=1, specification={})
    found = conditions.conditions_of(plan)
    assert [found[name].name for name in "abcd"] == [
        "finetune from hopper",
        "finetune from walker",
        "actor-only",
        "scratch",
    ]
    assert [found[name].source for name in "abcd"] == ["hopper", "walker", "walker", ""]


def test_a_value_in_units_of_its_own_is_no_multiple():
    variation = {"damping": {"joint": "bthigh", "value": 9.0}}
    assert conditions.shift("half-cheetah.thigh-damping-9", variation) is None
