"""Laws over all mechanisms: every key has one owner, and no engine passes over a mechanism that it does not know."""

import dataclasses

import msgspec
import pytest

from trl_suite.errors import InputError
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.mechanism import PLACES, Mechanism
from trl_suite.mechanisms.methods import MECHANISMS, Method

# a table that uses each mechanism, and no other but what it needs
USING: dict[str, dict[str, object]] = {
    "copy": {"copy": ["actor"]},
    "log_std": {"log_std": "copied"},
    "fresh": {"copy": ["actor"], "fresh": ["actor.head"]},
    "normaliser": {"copy": ["normaliser"], "normaliser": "frozen"},
    "freeze": {"freeze": ["actor.trunk"]},
    "thaw": {"freeze": ["actor.trunk"], "thaw": {"actor.trunk": 0.5}},
    "rate": {"rate": {"actor": 0.5}},
    "keep": {"copy": ["actor"], "keep": {"actor": 0.5}},
    "shuffle": {"copy": ["actor"], "shuffle": ["actor"]},
    "weight_regularizer": {"weight_regularizer": {"strength": 1.0}},
    "distillation": {"distillation": {"strength": 1.0}},
    "guide_policy": {"guide_policy": {}},
    "adapter": {"adapter": {"kind": "residual"}},
    "head_start": {"head_start": True},
    "reset": {"reset": {"components": ["actor.head"], "at": [0.5]}},
    "packing": {"packing": {}},
    "heads": {"copy": ["actor"], "heads": ["actor.head"]},
    "task_replay": {"task_replay": 100},
    "composition": {"composition": {}},
    "compress": {"compress": {}, "adapter": {"kind": "lateral", "on": ["actor"]}},
}
DURING = {
    "thaw", "distillation", "guide_policy", "adapter", "head_start", "reset", "packing", "heads", "task_replay",
    "composition", "compress",
}  # fmt: skip
OFF_POLICY = {"task_replay"}


def using(key: str) -> Method:
    return methods.read({key: USING[key]}, "test")[key]


def test_every_key_of_a_method_belongs_to_one_mechanism():
    owned = [key for mechanism in MECHANISMS for key in mechanism.keys]
    assert sorted(owned) == sorted({*(field.name for field in msgspec.structs.fields(Method))} - {"summary", "paper"})
    assert len({mechanism.name for mechanism in MECHANISMS}) == len(MECHANISMS)


def test_every_key_is_tried_here():
    assert set(USING) == {key for mechanism in MECHANISMS for key in mechanism.keys}


@pytest.mark.parametrize("key", USING)
def test_a_mechanism_is_active_exactly_where_one_of_its_keys_is_set(key):
    owner = next(mechanism for mechanism in MECHANISMS if key in mechanism.keys)
    assert owner in methods.active(using(key))
    assert owner not in methods.active(Method())


@pytest.mark.parametrize("key", USING)
@pytest.mark.parametrize("place", PLACES)
def test_a_place_that_does_not_know_a_mechanism_refuses_it_by_name(key, place, monkeypatch):
    owner = next(mechanism for mechanism in MECHANISMS if key in mechanism.keys)
    stranger = dataclasses.replace(owner, can={})
    monkeypatch.setattr(methods, "MECHANISMS", tuple(stranger if one is owner else one for one in MECHANISMS))
    assert f"does not know the mechanism '{owner.name}'" in methods.refusal(place, using(key), "ppo")


@pytest.mark.parametrize("key", USING)
def test_each_engine_does_a_mechanism_or_says_why_not(key):
    algorithm = "sac" if key in OFF_POLICY else "ppo"
    assert methods.refusal("sb3", using(key), algorithm) == ""
    assert bool(methods.refusal("sb3", using(key), "ppo")) == (key in OFF_POLICY)
    assert bool(methods.refusal("transplant", using(key), algorithm)) == (key in DURING)
    refused = methods.refusal("cohort", using(key), algorithm)
    assert bool(refused) == (key in ("guide_policy", "adapter", "composition", "compress"))


@pytest.mark.parametrize("key", sorted(DURING))
def test_what_acts_during_training_has_a_label_for_the_tables(key):
    assert methods.label(using(key))


def test_a_mechanism_that_says_nothing_of_an_engine_is_refused_there():
    assert "the engine cohort does not know" in Mechanism(name="new", keys=("new",), can={}).refusal("cohort", 0, "ppo")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"freeze": ["normaliser.observation"]}, "statistics are held by normaliser = 'frozen'"),
        ({"copy": ["actor"], "normaliser": "frozen"}, "copy 'normaliser.observation' too"),
        ({"copy": ["actor"], "normaliser": {"slow": 10}}, "copy 'normaliser' too"),
        ({"copy": ["actor", "log_std"]}, "log_std = 'copied'"),
        ({"shuffle": ["actor"]}, "give copy too"),
        ({"reset": {"components": ["actor"], "at": [0.5, 0.25]}}, "does not rise"),
        ({"reset": {"components": ["actor"], "at": [0.5]}, "adapter": {"kind": "lateral"}}, "give one of them"),
        ({"head_start": True, "copy": ["actor"]}, "nothing can be taken from it"),
        ({"adapter": {"kind": "lateral"}, "weight_regularizer": {"strength": 1, "fisher": True}}, "no adapter with it"),
        ({"weight_regularizer": {"strength": 1, "fisher": True, "sensitivity": True}}, "give one of them"),
        ({"weight_regularizer": {"strength": 1, "carry": 1.0}}, "give fisher or sensitivity too"),
        ({"packing": {}, "weight_regularizer": {"strength": 1}}, "which weight_regularizer would move"),
        ({"packing": {"keep": 1.0}}, "packing.keep"),
        ({"heads": ["actor.head"], "copy": ["actor"], "adapter": {"kind": "lateral"}}, "give one of them"),
        ({"heads": ["actor.head"]}, "give copy too"),
        ({"task_replay": 0}, "task_replay"),
        ({"composition": {}, "adapter": {"kind": "lateral"}}, "which adapter does not know: give one of them"),
        ({"composition": {}, "copy": ["actor"]}, "do not copy actor"),
        ({"composition": {"width": 0}}, "composition.width"),
        ({"compress": {}}, "compress needs an active column: give adapter"),
        ({"compress": {}, "adapter": {"kind": "lateral"}}, "compress needs an active column: give adapter"),
        ({"compress": {"share": 1.0}, "adapter": {"kind": "lateral", "on": ["actor"]}}, "compress.share"),
        ({"weights": {"strength": 1.0}}, "it is called 'weight_regularizer' now"),
        ({"behaviour": {"strength": 1.0}}, "it is called 'distillation' now"),
        ({"guide": {}}, "it is called 'guide_policy' now"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused_with_the_fix(table, message):
    with pytest.raises(InputError, match=message):
        methods.read({"mine": table}, "experiment.toml")


def test_an_old_name_of_a_method_tells_the_new_one():
    with pytest.raises(InputError, match="'jumpstart': it is called 'jsrl' now"):
        methods.find("jumpstart")
