"""The table of outside suites, which needs none of them."""

import pytest

from trl_suite.errors import InputError
from trl_suite.worlds.address import OutsideAddress
from trl_suite.worlds.identity import identity, robot_of
from trl_suite.worlds.outside import suite_table
from trl_suite.worlds.outside.outside_env import has_goals, is_listed
from trl_suite.worlds.stepping.env import make

SPECS = {spec.env_ids[0]: spec for suite in suite_table.suites() for spec in suite.envs}


def test_braces_stand_for_each_of_their_words_in_order():
    assert suite_table.expanded("a{b,c}{,d}") == ["ab", "abd", "ac", "acd"]
    assert suite_table.expanded("plain") == ["plain"]


def test_a_slot_without_a_unit_is_refused():
    with pytest.raises(ValueError, match=r"NAME \[UNIT\]"):
        suite_table.slots(("gripper.x",))


def test_no_id_stands_in_two_rows():
    names = [name for spec in SPECS.values() for name in spec.env_ids]
    assert len(names) == len(set(names)) == len(suite_table.by_id())
    assert sum(name.startswith("Meta-World/") for name in names) == 50


@pytest.mark.parametrize("env_id", SPECS)
def test_no_slot_has_a_twin_and_the_goal_comes_first(env_id):
    interface = SPECS[env_id].interface
    interface.refuse_twins()
    goal = len(suite_table.slots(SPECS[env_id].goal))
    names = interface.observation_names
    assert all(name.startswith(suite_table.ACHIEVED) for name in names[:goal])
    assert all(name.startswith(suite_table.DESIRED) for name in names[goal : 2 * goal])


def test_the_ant_in_a_maze_has_the_slots_of_the_suites_own():
    ant, maze = make("ant").unwrapped.interface, SPECS["AntMaze_UMaze-v5"].interface
    assert maze.observation[4:] == ant.observation
    assert maze.action_names == ant.action_names


def test_all_fetch_tasks_share_the_arms_slots():
    reach, push = (SPECS[name].interface for name in ("FetchReach-v4", "FetchPush-v4"))
    assert set(reach.observation) < set(push.observation)
    assert reach.action == push.action


def test_an_address_is_read_as_it_is_written():
    text = 'gymnasium:FetchReach-v4?gravity=1.5&mass={"scale":2.0,"body":"a:b"}'
    assert str(OutsideAddress.parse(text)) == text
    assert robot_of(text) == "gymnasium:FetchReach-v4"


def test_a_shift_is_another_env_and_the_identity_of_one_without_stays_what_it_was():
    assert identity("gymnasium:FetchReach-v4") == {"gymnasium": "FetchReach-v4"}
    assert identity("gymnasium:FetchReach-v4?gravity=1.5") != identity("gymnasium:FetchReach-v4?gravity=1.25")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("gymnasium:FetchReach-v4?gravty=2", "did you mean 'gravity'"),
        ("gymnasium:FetchReach-v4?gravity", "no value"),
        ("gymnasium:FetchReach-v4?gravity=x", "not a number"),
        ("gymnasium:FetchReach-v4?gravity=2&gravity=3", "set twice"),
        ("gymnasium:FetchReach-v4?gravity=-1", "above 0"),
    ],
)
def test_a_wrong_shift_is_one_line(address, message):
    with pytest.raises(InputError, match=message) as refusal:
        identity(address)
    assert "\n" not in str(refusal.value)


def test_axes_of_an_env_that_no_suite_lists_are_refused_by_name():
    with pytest.raises(InputError, match="gravity does not apply"):
        make("gymnasium:Ant-v5?gravity=2")


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("gymnasium:FetchReech-v4", r"gymnasium:FetchReech-v4: no env has this id \(did you mean 'FetchReach-v4'\?\)"),
        ("gymnasium:FetchReach-v4.gravity-1.5", "did you mean 'FetchReach-v4'"),
        ("gymnasium:Meta-World/reech-v3", "did you mean 'Meta-World/reach-v3'"),
        ("gymnasium:meta-world/reach-v3", "did you mean 'Meta-World/reach-v3'"),
        ("gymnasium:reach-v3", "did you mean 'Meta-World/reach-v3'"),
        ("gymnasium:AdroitHandDor-v1", "did you mean 'AdroitHandDoor-v1'"),
        ("gymnasium:HalfCheeta-v5", "did you mean 'HalfCheetah-v5'"),
        ("FetchReach-v4", "registered with Gymnasium is 'gymnasium:FetchReach-v4'"),
        ("Meta-World/reach-v3", "registered with Gymnasium is 'gymnasium:Meta-World/reach-v3'"),
    ],
)
def test_an_unknown_id_is_one_line_with_the_nearest_right_one(address, message):
    with pytest.raises(InputError, match=message) as refusal:
        make(address)
    assert "\n" not in str(refusal.value)


def test_what_gives_a_goal_is_known_without_the_package():
    assert has_goals("gymnasium:FetchPush-v4?friction=0.5")
    assert not has_goals("gymnasium:FrankaKitchen-v1")  # its reward is of seven goals at a time
    assert not has_goals("hopper")
    assert is_listed("gymnasium:Meta-World/reach-v3")
    assert not is_listed("gymnasium:Ant-v5")
