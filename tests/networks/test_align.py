import pytest

from tests.conftest import interface
from trl_suite.errors import InputError
from trl_suite.networks.align import align

HOPPER = interface(["thigh.position", "leg.position"], ["thigh.control", "leg.control"])


def test_slots_are_matched_by_name_and_not_by_position():
    swapped = interface(["leg.position", "thigh.position"], ["leg.control", "thigh.control"])
    found = align(HOPPER, swapped)
    assert found.observation == (1, 0)
    assert found.action == (1, 0)
    assert found.unmatched == ()


def test_equal_shapes_with_other_names_are_refused_with_both_lists():
    other = interface(["thigh.position", "fin.position"], ["thigh.control", "fin.control"])
    with pytest.raises(InputError) as caught:
        align(HOPPER, other)
    message = str(caught.value)
    assert "fin.position (did you mean 'thigh.position'?), fin.control" in message
    assert "source observes thigh.position, leg.position; moves thigh.control, leg.control" in message
    assert "target observes thigh.position, fin.position; moves thigh.control, fin.control" in message


def test_an_alias_of_a_joint_stands_for_all_its_slots():
    other = interface(["thigh.position", "fin.position"], ["thigh.control", "fin.control"])
    found = align(HOPPER, other, {"fin": "leg"})
    assert found.observation == (0, 1)
    assert found.action == (0, 1)


def test_a_larger_interface_keeps_what_has_no_counterpart_apart():
    walker = interface(["thigh.position", "foot.position", "leg.position"], ["thigh.control", "leg.control"])
    found = align(HOPPER, walker)
    assert found.observation == (0, None, 1)
    assert found.unmatched == ("foot.position",)


def test_slots_that_share_a_source_slot_share_its_weights():
    legs = interface(["thigh_left.position", "thigh.position", "leg.position"], ["thigh.control", "leg.control"])
    found = align(HOPPER, legs, {"thigh_left": "thigh"})
    assert found.observation == (0, 0, 1)
    assert found.shares("observation") == (0.5, 0.5, 1.0)


def test_what_is_learned_needs_no_common_name():
    found = align(HOPPER, interface(["x"], ["y"]), learned=True)
    assert (found.observation, found.action) == ((None,), (None,))
    assert found.unmatched == ("x", "y")


def test_without_one_common_action_there_is_nothing_to_transfer():
    with pytest.raises(InputError, match="no counterpart"):
        align(HOPPER, interface(["thigh.position", "leg.position", "x"], ["fin.control"]))


@pytest.mark.parametrize(
    ("alias", "message"),
    [({"fn": "leg"}, "unknown slot of the target 'fn'"), ({"thigh": "lag"}, "unknown slot of the source 'lag'")],
)
def test_an_alias_of_something_that_does_not_exist_is_refused(alias, message):
    with pytest.raises(InputError, match=message):
        align(HOPPER, HOPPER, alias)
