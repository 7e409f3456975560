"""A preview says what the transplant then does."""

import pytest

from tests.conftest import interface
from trl_suite.errors import InputError
from trl_suite.mechanisms.methods import find, sequence_key, shipped
from trl_suite.mechanisms.preview import preview


def test_slots_and_components_are_those_of_the_transplant(make_policy):
    source = make_policy(["a", "b", "c"], ["u", "v"])
    target = interface(["c", "new", "a"], ["v", "extra", "u"])
    seen = preview(source, target, "finetune", find("finetune"))
    assert [(m.kind, m.slot, m.source) for m in seen.slots] == [
        ("observation", "c", "c"), ("observation", "new", None), ("observation", "a", "a"),
        ("action", "v", "v"), ("action", "extra", None), ("action", "u", "u"),
    ]  # fmt: skip
    assert seen.unused == ("b",)
    parts = {part.name: part for part in seen.parts}
    assert parts["actor.trunk.0"].shapes["weight"] == (4, 3)
    assert parts["actor.trunk.0"].matched == "2 of 3 observations"
    assert parts["actor.head"].shapes == {"weight": (3, 4), "bias": (3,)}
    assert parts["actor.head"].matched == "2 of 3 actions"
    assert {part.fate for part in seen.parts} == {"copied"}


def test_what_a_method_leaves_fresh_or_freezes_is_shown(make_policy):
    source = make_policy(["a", "b"], ["u"])
    seen = preview(source, source.interface, "feature-extraction", find("feature-extraction"))
    fates = {part.name: (part.fate, part.frozen) for part in seen.parts}
    assert fates["actor.trunk.0"] == ("copied", True)
    assert fates["actor.head"] == ("fresh", False)
    assert set(seen.left_over) == {"actor.head", "critic.head", "log_std", "normaliser.return"}


def test_the_policy_itself_is_untouched(make_policy):
    source = make_policy(["a", "b"], ["u"])
    before = source.digest
    preview(source, interface(["b", "x", "a"], ["u"]), "finetune", find("finetune"))
    assert source.digest == before


def test_what_a_transplant_refuses_is_refused(make_policy):
    source = make_policy(["a", "b"], ["u"])
    with pytest.raises(InputError, match="no counterpart"):
        preview(source, interface(["x", "y"], ["z"]), "finetune", find("finetune"))


def test_every_shipped_method_has_a_preview(make_policy):
    source = make_policy(["a", "b"], ["u"])
    for name in shipped():
        method = find(name.replace("K", "1"))
        if sequence_key(method):
            with pytest.raises(InputError, match=r"takes from stage to stage, in a \[sequence\]"):
                preview(source, source.interface, name, method)
            continue
        seen = preview(source, source.interface, name, method)
        assert set(source.components) <= {part.name for part in seen.parts}


def test_what_an_adapter_adds_is_shown(make_policy):
    source = make_policy(["a", "b"], ["u"])
    seen = preview(source, interface(["b", "new", "a"], ["u"]), "progressive", find("progressive"))
    parts = {part.name: part for part in seen.parts}
    assert parts["source.actor.trunk.0"].shapes["weight"] == (4, 3)
    assert (parts["source.actor.trunk.0"].fate, parts["source.actor.trunk.0"].frozen) == ("copied", True)
    assert (parts["adapter.actor.head"].fate, parts["adapter.actor.head"].shapes) == ("fresh", {"lateral": (1, 4)})
    joined = preview(source, interface(["x", "y", "z"], ["w"]), "learned-adapter", find("learned-adapter"))
    assert {part.name: part.shapes for part in joined.parts}["adapter.actor.trunk.0"]["map"] == (2, 3)
