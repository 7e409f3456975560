"""Transplants written out on small matrices: what is copied, where to, and what is left as it was."""

import msgspec
import numpy as np
import pytest
import torch

from tests.conftest import card, interface, random_components
from trl_suite.errors import InputError
from trl_suite.mechanisms.copy import transplant
from trl_suite.mechanisms.methods import Method, find
from trl_suite.networks.align import align
from trl_suite.networks.policy import Policy

OBSERVATIONS, ACTIONS = ["a", "b", "c"], ["u", "v"]


def fresh(observations: int = 3, actions: int = 2, hidden: tuple[int, ...] = (4, 4)):
    return random_components(observations, actions, hidden, torch.Generator().manual_seed(99), learning=True)


def same(source, target, name: str) -> bool:
    return all(torch.equal(source[name][tensor], target[name][tensor]) for tensor in target[name])


def test_finetune_copies_everything_and_reports_every_component_once(make_policy):
    source, target = make_policy(OBSERVATIONS, ACTIONS), fresh()
    record = transplant(source, target, align(source.interface, source.interface), "finetune", find("finetune"))
    assert all(same(source.components, target, name) for name in target)
    assert sorted(record.copied + record.fresh) == sorted(target)
    assert record.fresh == record.missing == record.left_over == record.frozen == ()
    assert record.source == source.digest


def test_feature_extraction_leaves_the_heads_as_the_scratch_run_has_them(make_policy):
    source, target, untouched = make_policy(OBSERVATIONS, ACTIONS), fresh(), fresh()
    alignment = align(source.interface, source.interface)
    record = transplant(source, target, alignment, "feature-extraction", find("feature-extraction"))
    for name in target:
        assert same(source.components if name in record.copied else untouched, target, name), name
    assert set(record.fresh) == {"actor.head", "critic.head", "log_std", "normaliser.return"}
    assert set(record.left_over) == set(record.fresh)
    assert set(record.frozen) == set(record.copied)


def test_columns_and_rows_follow_their_slots(make_policy):
    source, target = make_policy(OBSERVATIONS, ACTIONS), fresh(observations=4, actions=3)
    untouched = fresh(observations=4, actions=3)
    to = interface(["c", "new", "a", "b"], ["v", "extra", "u"])
    record = transplant(source, target, align(source.interface, to), "finetune", find("finetune"))
    first, head = source.components["actor.trunk.0"]["weight"], source.components["actor.head"]
    zero = torch.zeros(4)
    expected = torch.stack([first[:, 2], zero, first[:, 0], first[:, 1]], dim=1)
    assert torch.equal(target["actor.trunk.0"]["weight"], expected)
    assert torch.equal(target["actor.head"]["weight"][0], head["weight"][1])
    assert torch.equal(target["actor.head"]["bias"][2], head["bias"][0])
    assert torch.equal(target["actor.head"]["weight"][1], untouched["actor.head"]["weight"][1])
    assert torch.equal(target["log_std"]["value"][1], untouched["log_std"]["value"][1])
    mean = source.components["normaliser.observation"]["mean"]
    assert target["normaliser.observation"]["mean"][[0, 2, 3]].tolist() == mean[[2, 0, 1]].tolist()
    assert record.unmatched == ("new", "extra")


def test_columns_that_two_slots_share_are_halved_and_their_sum_is_the_sources(make_policy):
    source, target = make_policy(OBSERVATIONS, ACTIONS), fresh(observations=4)
    to = interface(["a", "b", "c", "twin"], ACTIONS)
    transplant(source, target, align(source.interface, to, {"twin": "b"}), "finetune", find("finetune"))
    first, ours = source.components["actor.trunk.0"]["weight"], target["actor.trunk.0"]["weight"]
    assert torch.equal(ours[:, 1], first[:, 1] / 2)
    assert torch.equal(ours[:, 1] + ours[:, 3], first[:, 1])
    means = target["normaliser.observation"]["mean"]
    assert means[3] == means[1] == source.components["normaliser.observation"]["mean"][1]


@pytest.mark.parametrize("batch", [1, 32])
def test_a_policy_padded_to_a_larger_interface_gives_bit_equal_actions_on_the_shared_slots(batch):
    """With weights and observations in eighths every sum is exact: no order of adding can excuse a difference."""
    generator = torch.Generator().manual_seed(0)

    def eighths(*shape: int) -> torch.Tensor:
        return torch.randint(-8, 9, shape, generator=generator) / 8

    names = [f"s{i}" for i in range(11)]
    slots, wider = interface(names, ACTIONS), interface(["x", *names[4:], "y", *names[:4]], ["v", "w", "u"])
    source, target = (random_components(*sizes, (8, 8), generator) for sizes in ((11, 2), (13, 3)))
    for tensors in (*source.values(), *target.values()):
        tensors |= {name: eighths(*value.shape) for name, value in tensors.items() if name in ("weight", "bias")}
    plain = msgspec.structs.replace(card(slots, (8, 8)), normaliser=None)
    network = msgspec.structs.replace(plain.network, activation="relu", action_low=(-1e4,) * 2, action_high=(1e4,) * 2)
    policy = Policy(card=msgspec.structs.replace(plain, network=network), components=source)
    transplant(policy, target, align(slots, wider), "finetune", find("finetune"))
    network = msgspec.structs.replace(network, action_low=(-1e4,) * 3, action_high=(1e4,) * 3)
    padded = Policy(card=msgspec.structs.replace(plain, network=network, interface=wider), components=target)
    wide = eighths(batch, 13).double().numpy()
    ours = policy.predict(wide[:, [wider.observation_names.index(name) for name in names]])[0]
    assert np.array_equal(ours, padded.predict(wide)[0][:, [2, 0]])
    assert len(np.unique(ours)) > batch / 2


def test_a_larger_interface_preserves_the_function_of_the_shared_slots(make_policy):
    source, target = make_policy(OBSERVATIONS, ACTIONS), fresh(observations=5)
    to = interface(["x", "c", "a", "y", "b"], ACTIONS)
    transplant(source, target, align(source.interface, to), "finetune", find("finetune"))
    network = source.card.network
    padded = Policy(
        card=msgspec.structs.replace(source.card, interface=to, network=network),
        components={name: {key: value.detach() for key, value in part.items()} for name, part in target.items()},
    )
    seen = torch.randn(32, 3, generator=torch.Generator().manual_seed(1)).double().numpy()
    wide = torch.randn(32, 5, generator=torch.Generator().manual_seed(2)).double().numpy()
    wide[:, [2, 4, 1]] = seen
    difference = abs(source.predict(seen)[0] - padded.predict(wide)[0]).max()
    assert difference < 1e-6  # the same sums, in another order


def test_a_layer_that_does_not_fit_is_refused_whole_and_nothing_is_written(make_policy):
    source, target, untouched = (
        make_policy(OBSERVATIONS, ACTIONS, hidden=(4, 4)),
        fresh(hidden=(4, 5)),
        fresh(hidden=(4, 5)),
    )
    with pytest.raises(InputError, match=r"actor.trunk.1.weight: \(4, 4\) from the source, \(5, 4\) in the target"):
        transplant(source, target, align(source.interface, source.interface), "finetune", find("finetune"))
    assert all(same(untouched, target, name) for name in target), "a bias must not be copied without its weight"


@pytest.mark.parametrize(("ours", "theirs", "owner"), [((4, 4), (4,), "source"), ((4,), (4, 4), "target")])
def test_a_layer_that_only_one_side_has_is_refused(make_policy, ours, theirs, owner):
    source, target = make_policy(OBSERVATIONS, ACTIONS, hidden=ours), fresh(hidden=theirs)
    with pytest.raises(InputError, match=f"the {owner} has actor.trunk.1"):
        transplant(source, target, align(source.interface, source.interface), "finetune", find("finetune"))


def test_a_method_that_copies_needs_a_source():
    with pytest.raises(InputError, match="'finetune' needs a source policy"):
        transplant(None, fresh(), None, "finetune", find("finetune"))


def test_scratch_touches_nothing():
    target, untouched = fresh(), fresh()
    record = transplant(None, target, None, "scratch", find("scratch"))
    assert all(same(untouched, target, name) for name in target)
    assert set(record.fresh) == set(target)


@pytest.mark.parametrize(
    ("name", "count", "told"),
    [
        ("finetune", 1e6, "learn"),
        ("finetune-light-statistics", 1e4, "slow(10,000)"),
        ("finetune-frozen-statistics", 1e6, "frozen"),
        ("scratch-log-std", 1e-4, "fresh"),
    ],
)
def test_old_statistics_weigh_as_much_as_the_method_says_and_the_record_tells_it(make_policy, name, count, told):
    source, target = make_policy(OBSERVATIONS, ACTIONS), fresh()
    target["normaliser.observation"]["count"].fill_(1e-4)
    source.components["normaliser.observation"]["count"].fill_(1e6)
    record = transplant(source, target, align(source.interface, source.interface), name, find(name))
    assert float(target["normaliser.observation"]["count"]) == pytest.approx(count)
    assert (record.normaliser, record.log_std) == (told, "copied")
    assert ("normaliser.observation" in record.frozen) == (told == "frozen")


def test_random_freeze_differs_from_partial_freeze_in_the_frozen_layers_alone(make_policy):
    source = make_policy(OBSERVATIONS, ACTIONS)
    partial, random, untouched = fresh(), fresh(), fresh()
    same_interface = align(source.interface, source.interface)
    records = [
        transplant(source, into, same_interface, name, find(name))
        for name, into in {"partial-freeze-1": partial, "random-freeze-1": random}.items()
    ]
    layers = {"actor.trunk.0", "critic.trunk.0"}
    assert records[0].frozen == records[1].frozen
    assert {name for name in partial if not same(partial, random, name)} == layers
    assert all(same(untouched, random, name) for name in layers), "as in the paired scratch run"
    assert layers <= set(records[1].fresh)


def test_an_observation_that_was_constant_in_the_source_gets_no_weight(make_policy):
    source, target = make_policy(OBSERVATIONS, ACTIONS), fresh()
    statistics = source.components["normaliser.observation"]
    statistics["mean"][1], statistics["var"][1] = 0.0, 2e-8  # SB3's statistics after 5,000 zeros
    transplant(source, target, align(source.interface, source.interface), "finetune", find("finetune"))
    assert target["normaliser.observation"]["var"].tolist() == [statistics["var"][0], 1.0, statistics["var"][2]]
    assert torch.equal(target["actor.trunk.0"]["weight"][:, 1], torch.zeros(4))
    assert torch.equal(target["critic.trunk.0"]["weight"][:, 1], torch.zeros(4))
    assert torch.equal(target["actor.trunk.0"]["weight"][:, 0], source.components["actor.trunk.0"]["weight"][:, 0])


def test_a_users_own_method_may_take_any_part(make_policy):
    source, target, untouched = make_policy(OBSERVATIONS, ACTIONS), fresh(), fresh()
    method = Method(copy=("critic.trunk.:1",), log_std="copied", freeze=("critic.trunk.0",))
    record = transplant(source, target, align(source.interface, source.interface), "mine", method)
    assert record.copied == ("critic.trunk.0", "log_std")
    assert same(untouched, target, "critic.trunk.1")
