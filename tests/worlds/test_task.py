import re

import msgspec
import numpy as np
import pytest

from trl_suite.errors import InputError
from trl_suite.worlds.axes.variation import Variation
from trl_suite.worlds.env_spec import Bound, Term, load
from trl_suite.worlds.model.compilation import compiled
from trl_suite.worlds.stepping.task import BoundTask
from trl_suite.worlds.terms import arrays
from trl_suite.worlds.terms.rewards import REWARD_TERMS
from trl_suite.worlds.terms.sensors import reading

HOPPER = load("hopper")
MODEL = compiled(HOPPER, Variation())


class State:
    """Arrays of several worlds, under MjData's names."""

    def __init__(self, worlds: int) -> None:
        rng = np.random.default_rng(0)
        self.qpos = rng.normal(0.0, 0.3, (worlds, MODEL.nq))
        self.qvel = rng.normal(0.0, 20.0, (worlds, MODEL.nv))
        self.qpos[:, 1] += 1.25

    def __call__(self, name: str) -> np.ndarray:
        return getattr(self, name)

    def world(self, index: int) -> "State":
        one = State(0)
        one.qpos, one.qvel = self.qpos[index], self.qvel[index]
        return one


def test_many_worlds_are_judged_as_each_by_itself():
    task, many = BoundTask(HOPPER, MODEL), State(50)
    action = np.random.default_rng(1).uniform(-1, 1, (50, 3)).astype(np.float32)
    watch = task.evaluator(many)
    before = [None if one is None else one - 0.1 for one in watch.before()]
    healthy = watch.healthy()
    rewards = watch.rewards(before, action, healthy)
    assert 0 < healthy.sum() < 50
    for index in range(50):
        alone = task.evaluator(many.world(index))
        assert np.array_equal(alone.observe(), watch.observe()[index])
        assert alone.healthy() == healthy[index]
        one = [None if each is None else each[index] for each in before]
        own = alone.rewards(one, action[index], alone.healthy())
        assert own == [term[index] for term in rewards]
        assert alone.total(own) == watch.total(rewards)[index]


def test_a_group_is_added_up_before_it_joins_the_others():
    costs = [Term(term="effort", weight=-0.1, name=name, group="cost") for name in ("one", "other")]
    spec = msgspec.structs.replace(HOPPER, reward=(Term(term="alive", weight=0.3), *costs))
    watch = BoundTask(spec, MODEL).evaluator(State(0).world(slice(0)))
    assert watch.total([0.3, -0.1, -0.2]) == 0.3 + (-0.1 + -0.2) != 0.3 + -0.1 + -0.2


@pytest.mark.parametrize(("closed", "expected"), [(False, [False, True, False]), (True, [True, True, True])])
def test_the_ends_of_a_closed_interval_are_healthy(closed: bool, expected: list[bool]):
    bound = Bound(kind="position", of=("rooty",), range=(-0.2, 0.2), closed=closed)
    state = State(3)
    state.qpos[:, 2] = [-0.2, 0.0, 0.2]
    assert (
        BoundTask(msgspec.structs.replace(HOPPER, healthy=(bound,)), MODEL).evaluator(state).healthy().tolist()
        == expected
    )


def test_a_nan_is_never_inside():
    values = np.array([0.0, np.nan])
    assert not arrays.inside(values, np.array([-1.0, -np.inf]), np.array([1.0, np.inf]))
    assert not arrays.all_inside(values.tolist(), [-1.0, -np.inf], [1.0, np.inf])
    assert arrays.all_inside([0.0], [-1.0], [1.0])


def test_a_tolerance_without_an_upper_end_pays_fully_above_the_lower_one():
    values = np.array([[0.0], [0.05], [0.15], [9.0]])
    paid = REWARD_TERMS["tolerance"].function(values, (0.15, np.inf), 0.15)
    assert paid == pytest.approx([0.1, 0.1 ** (4 / 9), 1.0, 1.0])
    assert REWARD_TERMS["tolerance"].function(values, (-np.inf, 0.1), None).tolist() == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("names", "relative_to", "message"),
    [
        (["thigh_joint"], "foot_joint", None),
        (["thigh_joint"], "foot_jont", "relative_to: unknown joint 'foot_jont' (did you mean 'foot_joint'?)"),
        (["thigh_joint"], "rootx", "relative_to: 'rootx' is in m, and 'thigh_joint' in rad"),
    ],
)
def test_a_joint_is_read_from_another_of_its_unit(names: list[str], relative_to: str, message: str | None):
    if message is not None:
        with pytest.raises(InputError, match=re.escape(message)):
            reading(MODEL, "position", names, relative_to=relative_to)
        return
    state, read = State(3), reading(MODEL, "position", names, relative_to=relative_to)
    assert [slot.name for slot in read.slots] == [f"{names[0]}.position_from_{relative_to}"]
    assert np.array_equal(read.of(state)()[:, 0], state.qpos[:, 3] - state.qpos[:, 5])
