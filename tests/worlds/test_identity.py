import pytest

from trl_suite.errors import InputError
from trl_suite.worlds.identity import folder_name, identity


def test_two_ways_to_the_same_world_are_one_identity():
    assert identity("half-cheetah.gravity-1.5") == identity("half-cheetah?gravity=1.5") != identity("half-cheetah")


def test_a_foreign_env_is_its_id():
    assert identity("gymnasium:Ant-v5") == {"gymnasium": "Ant-v5"}


def test_a_description_is_no_part_of_it():
    assert not {"title", "about", "variants"} & identity("hopper")["env"].keys()


def test_a_variant_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match="unknown variant"):
        identity("hopper.gravity-7")


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("half-cheetah.gravity-1.5", "half-cheetah.gravity-1.5"),
        ("gymnasium:Ant-v5", "gymnasium-Ant-v5"),
        ('hopper?mass={"scale":2.0}', "hopper-mass-scale-2.0"),
        ("a/../b", "a-..-b"),
    ],
)
def test_an_address_as_a_folder_name(address, name):
    assert folder_name(address) == name
