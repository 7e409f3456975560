import pytest

from trl_suite.errors import InputError
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.methods import Method
from trl_suite.networks import components

PARTS = ("actor.trunk.0", "actor.trunk.1", "actor.head", "log_std", "critic.trunk.0", "critic.trunk.1", "critic.head")


def test_every_shipped_method_names_components_that_exist():
    available = (*PARTS, *components.OPTIONAL, components.REPLAY)
    for name in methods.shipped():
        method = methods.find(name.replace("K", "1"))
        assert method.summary
        components.select(method.copied_selectors, available, name)
        components.select(method.frozen_selectors, available, name)


def test_the_depth_in_a_name_fills_its_selectors():
    method = methods.find("partial-freeze-2")
    assert components.select(method.freeze, PARTS, "") == tuple(name for name in PARTS if ".trunk." in name)
    assert "first 2 trunk layers" in method.summary


def test_a_depth_that_the_network_does_not_have_is_refused_with_what_there_is():
    with pytest.raises(InputError, match=r"no component 'actor.trunk.:3'.*there are: actor.trunk.0, actor.trunk.1"):
        components.select(methods.find("partial-freeze-3").freeze, PARTS, "method")


def test_an_unknown_method_lists_those_that_exist():
    with pytest.raises(InputError, match=r"unknown method 'fintune' \(did you mean 'finetune'\?\); known: finetune"):
        methods.find("fintune")
    with pytest.raises(InputError):
        methods.find("partial-freeze-K")


def test_a_users_method_is_a_table_and_hides_a_shipped_one():
    own = methods.read({"finetune": {"copy": ["actor"]}}, "experiment.toml")
    assert methods.find("finetune", own) == Method(copy=("actor",))
    with pytest.raises(InputError, match=r"unknown key 'freze' \(did you mean 'freeze'\?\)"):
        methods.read({"mine": {"freze": []}}, "experiment.toml")


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (("actor",), ("actor.trunk.0", "actor.trunk.1", "actor.head")),
        (("critic.head", "actor.trunk.:1"), ("actor.trunk.0", "critic.head")),
        (("normaliser",), ()),
        ((), ()),
    ],
)
def test_selectors(patterns, expected):
    assert components.select(patterns, PARTS, "") == expected


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ("mlp_extractor.policy_net.0.weight", ("actor.trunk.0", "weight")),
        ("mlp_extractor.value_net.2.bias", ("critic.trunk.1", "bias")),
        ("action_net.weight", ("actor.head", "weight")),
        ("value_net.bias", ("critic.head", "bias")),
        ("log_std", ("log_std", "value")),
    ],
)
def test_sb3_parameters_have_component_names(parameter, expected):
    assert components.component_of("ppo", parameter) == expected


def test_a_parameter_of_another_architecture_is_named():
    with pytest.raises(InputError, match="features_extractor.cnn.0.weight"):
        components.component_of("ppo", "features_extractor.cnn.0.weight")
