"""The verbs about policies, as a user meets them: listed, looked into, matched, imported and exported."""

import json
import re

import pytest
import torch

from tests.conftest import card, interface, random_components
from trl_suite.cli.main import main
from trl_suite.networks.policy import Policy
from trl_suite.training.policy_import import load_policy, spaces_of


@pytest.fixture
def workspace(tmp_path, monkeypatch, make_policy):
    """A workspace with a policy of Hopper's slots, and one that cannot be read."""
    monkeypatch.chdir(tmp_path)
    hopper = spaces_of("hopper").interface
    policy = make_policy([slot.name for slot in hopper.observation], [slot.name for slot in hopper.action])
    policy.save(tmp_path / "policies" / "hopper-source")
    (tmp_path / "policies" / "broken").mkdir()
    (tmp_path / "policies" / "broken" / "card.toml").write_text("schema = 99")
    return tmp_path


def call(capsys, *words):
    with pytest.raises(SystemExit) as end:
        main(list(words))
    shown = capsys.readouterr()
    return end.value.code, shown.out, shown.err


def test_policies_lists_what_there_is_and_what_cannot_be_read(workspace, capsys):
    code, out, _ = call(capsys, "policies", "--json")
    rows = json.loads(out)
    assert code == 0
    assert rows["hopper-source"]["algorithm"] == "ppo"
    assert rows["hopper-source"]["bytes"] > 0
    assert "schema 99 is newer" in rows["broken"]["error"]
    code, out, _ = call(capsys, "policies")
    assert code == 0
    assert "hopper-source" in out
    assert "broken" in out


def test_inspect_shows_card_slots_and_components(workspace, capsys):
    code, out, _ = call(capsys, "inspect", "hopper-source")
    assert code == 0
    for word in ("actor 4-4, critic 4-4, tanh", "rootz.position", "rad", "-1 to 1", "actor.trunk.0", "weight 4x11"):
        assert word in out
    code, out, _ = call(capsys, "inspect", "hopper-source", "--json")
    table = json.loads(out)
    assert table["card"]["algorithm"] == "ppo"
    assert table["components"]["actor.trunk.0"]["weight"] == {"shape": [4, 11], "type": "float32", "bytes": 176}


def test_what_a_card_says_is_shown_as_text(workspace, capsys):
    slots = interface(["[/red]a", "[bold]b"], ["[link=x]u"])
    odd = Policy(card=card(slots, (4, 4)), components=load_policy("hopper-source").components)
    made = random_components(2, 1, (4, 4), torch.Generator().manual_seed(0))
    Policy(card=odd.card, components=made).save(workspace / "policies" / "odd")
    code, out, _ = call(capsys, "inspect", "odd")
    assert code == 0
    assert "[/red]a" in out


def test_match_shows_what_would_be_copied(workspace, capsys):
    words = ("match", "hopper-source", "walker2d", "--method", "feature-extraction")
    code, out, _ = call(capsys, *words, "--alias", "thigh_left_joint=thigh_joint")
    assert code == 0
    assert re.search(r"thigh_left_joint.position +rad +thigh_joint.position", out)
    assert re.search(r"leg_left_joint.position +rad +none", out)
    assert re.search(r"actor.trunk.0 .* copied, frozen +13 of 17 observations", out)
    assert re.search(r"actor.head .* fresh", out)
    code, out, _ = call(capsys, *words, "--json")
    seen = json.loads(out)
    assert code == 0
    assert next(slot for slot in seen["slots"] if slot["slot"] == "thigh_left_joint.control")["source"] is None


@pytest.mark.parametrize("name", ["match.png", "match.svg"])
def test_match_draws_a_picture(workspace, capsys, name):
    code, out, _ = call(capsys, "match", "hopper-source", "walker2d", "-o", name)
    assert code == 0
    assert f"picture: {name}" in out
    content = (workspace / name).read_bytes()
    assert len(content) > 5000
    if name.endswith(".svg"):
        for text in ("leg_left_joint.control  [1]", "finetune: 14 of 23 slots matched", "walker2d"):
            assert text in content.decode()


def test_match_refuses_a_robot_on_which_nothing_has_the_same_name(workspace, capsys):
    code, _, err = call(capsys, "match", "hopper-source", "inverted-pendulum")
    assert code == 2
    assert "have no counterpart in the source" in err
    code, _, err = call(capsys, "match", "hopper-source", "walker2d", "--alias", "thigh")
    assert code == 2
    assert "TARGET=SOURCE" in err


def test_export_and_import_are_a_round_trip(workspace, capsys):
    code, out, _ = call(capsys, "export", "hopper-source", "out.zip")
    assert code == 0
    assert "PPO.load('out.zip')" in out
    assert "VecNormalize.load('out.vecnormalize.pkl', env)" in out
    for again in ("out.zip", "out"):
        code, _, err = call(capsys, "export", "hopper-source", again)
        assert code == 2
        assert "out.zip exists already" in err
    code, _, err = call(capsys, "import", "out.zip")
    assert code == 2
    assert "give env=" in err
    code, out, _ = call(capsys, "import", "out.zip", "--env", "hopper")
    assert code == 0
    assert "nothing executed" in out
    assert load_policy("out").digest == load_policy("hopper-source").digest
    code, _, err = call(capsys, "import", "out.zip", "--env", "hopper")
    assert code == 2
    assert "exists already" in err


def test_onnx_goes_out_comes_in_and_is_matched(workspace, capsys):
    slots = spaces_of("hopper").interface
    components = load_policy("hopper-source").components
    Policy(card=card(slots, (4, 4)), components=components).save(workspace / "policies" / "hopper-source")
    code, out, _ = call(capsys, "export", "hopper-source", "out.onnx")
    assert code == 0
    assert "out.onnx: opset 17, obs -> actions" in out
    code, _, err = call(capsys, "export", "hopper-source", "out.onnx")
    assert code == 2
    assert "exists already" in err
    code, _, err = call(capsys, "export", "hopper-source", "out2.zip", "--stochastic")
    assert code == 2
    assert "--stochastic is for OUT.onnx" in err
    code, _, err = call(capsys, "import", "out.onnx")
    assert code == 2
    assert "give env=" in err
    code, out, _ = call(capsys, "import", "out.onnx", "--env", "hopper")
    assert code == 0
    assert "an actor alone, with its statistics, nothing executed" in out
    code, out, _ = call(capsys, "match", "out", "hopper.gravity-1.5")
    assert code == 0
    assert "actor-only" in out
    code, _, err = call(capsys, "match", "out", "hopper", "--method", "finetune")
    assert code == 2
    assert "the source is an actor alone" in err
    code, out, _ = call(capsys, "match", "out.onnx", "hopper")
    assert code == 0
    code, _, err = call(capsys, "match", "out.onnx", "walker2d")
    assert code == 2
    assert "--alias ENV_NAME=FILE_NAME pairs names" in err
    code, _, err = call(capsys, "import", "out.onnx", "--env", "hopper", "--activation", "tanh", "--out", "x")
    assert code == 2
    assert "activation cannot be given with it" in err


def test_match_tells_rates_scales_and_near_names(workspace, capsys):
    code, out, _ = call(capsys, "match", "hopper-ppo-seed-0", "hopper?gear=0.5")
    assert code == 0
    assert "thigh_joint.control: action_scale 200 at home, 100 in hopper?gear=0.5" in out
    (workspace / "names.toml").write_text(
        'thigh_left_joint = "thigh_joint"\n[leg_left_joint]\nposition = "leg_joint.position"\n'
    )
    code, out, _ = call(capsys, "match", "hopper-source", "walker2d", "--alias", "names.toml")
    assert code == 0
    assert re.search(r"thigh_left_joint\.velocity +rad/s +thigh_joint\.velocity", out)
    (workspace / "names.toml").write_text("thigh_left_joint = 3\n")
    code, _, err = call(capsys, "match", "hopper-source", "walker2d", "--alias", "names.toml")
    assert code == 2
    assert "names.toml: thigh_left_joint is to be a name" in err
