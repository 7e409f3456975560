"""Folders of RL Zoo and of the hub are understood by their names alone."""

import shutil

import pytest

import trl_suite
from trl_suite.errors import InputError
from trl_suite.networks.formats import policy_files
from trl_suite.training.policy_import import load_policy

ID = "InvertedPendulum-v5"
ZOO_CONFIG = """!!python/object/apply:collections.OrderedDict
- - - batch_size
    - 64
  - - normalize
    - true
  - - policy
    - MlpPolicy
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A policy and the two files that it is exported to."""
    policy = trl_suite.train("inverted-pendulum", steps=100, seed=0)
    return policy, *policy.to_sb3(tmp_path_factory.mktemp("saved") / "policy.zip")


def zoo(root, saved, *, statistics=True):
    folder = root / "logs" / "ppo" / f"{ID}_1"
    (folder / ID).mkdir(parents=True)
    for name in (f"{ID}.zip", "best_model.zip", "rl_model_500_steps.zip"):
        shutil.copy(saved[1], folder / name)
    (folder / ID / "config.yml").write_text(ZOO_CONFIG)
    (folder / ID / "args.yml").write_text("!!python/object/apply:os.system ['false']\n")
    if statistics:
        shutil.copy(saved[2], folder / ID / "vecnormalize.pkl")
    return folder


def hub(root, saved, *, statistics=True):
    folder = root / "snapshot"
    folder.mkdir()
    shutil.copy(saved[1], folder / f"ppo-{ID}.zip")
    (folder / "train_eval_metrics.zip").write_bytes(b"something else")
    (folder / "config.json").write_text("{}")
    if statistics:
        shutil.copy(saved[2], folder / "vec_normalize.pkl")
    return folder


@pytest.mark.parametrize("make", [zoo, hub])
def test_a_folder_is_recognised_with_env_algorithm_and_statistics(tmp_path, saved, make):
    folder = make(tmp_path, saved)
    policy = load_policy(folder)
    assert policy.digest == saved[0].digest
    assert policy.card.training.env == f"gymnasium:{ID}"
    assert policy.interface == saved[0].interface, "the slots of Gymnasium's env have names in the suite"
    found = policy_files.of_folder(folder)
    assert (found.env, found.algorithm) == (ID, "ppo")


def test_of_a_zoo_the_last_zip_is_taken_and_any_may_be_named(tmp_path, saved):
    folder = zoo(tmp_path, saved)
    assert policy_files.of_folder(folder).zip.name == f"{ID}.zip"
    (folder / f"{ID}.zip").unlink()
    assert policy_files.of_folder(folder).zip.name == "best_model.zip"
    assert load_policy(folder / "best_model.zip").digest == saved[0].digest
    shutil.copy(saved[2], folder / "rl_model_vecnormalize_500_steps.pkl")
    found = policy_files.of_zip(folder / "rl_model_500_steps.zip")
    assert found.statistics.name == "rl_model_vecnormalize_500_steps.pkl"


def test_missing_statistics_are_an_error_where_the_configuration_speaks_of_them(tmp_path, saved):
    folder = zoo(tmp_path, saved, statistics=False)
    with pytest.raises(InputError, match=r"was trained with VecNormalize, by its config.yml"):
        load_policy(folder)
    (folder / ID / "config.yml").write_text(ZOO_CONFIG.replace("true", "false"))
    assert load_policy(folder).card.normaliser is None


@pytest.mark.parametrize(
    ("text", "normalises"),
    [
        (ZOO_CONFIG, True),
        (ZOO_CONFIG.replace("true", "\"{'norm_obs': True, 'norm_reward': False}\""), True),
        ("normalize: true\n", True),
        ("normalize: False\n", False),
        (ZOO_CONFIG.replace("normalize", "normalize_advantage"), False),
        ("", False),
    ],
)
def test_the_switch_is_found_without_a_parser(tmp_path, saved, text, normalises):
    folder = hub(tmp_path, saved, statistics=False)
    (folder / "config.yml").write_text(text)
    if normalises:
        with pytest.raises(InputError, match="VecNormalize"):
            policy_files.of_folder(folder)
    else:
        assert policy_files.of_folder(folder).statistics is None


def test_arguments_override_what_names_tell(tmp_path, saved):
    folder = hub(tmp_path, saved, statistics=False)
    other = shutil.copy(saved[2], tmp_path / "elsewhere.pkl")
    policy = load_policy(folder, statistics=other, env="inverted-pendulum")
    assert policy.digest == saved[0].digest
    assert policy.card.training.env == "inverted-pendulum"


def test_a_folder_without_a_policy_or_with_several_is_refused(tmp_path, saved):
    with pytest.raises(InputError, match=r"neither a policy folder \(card.toml\) nor one with an SB3 zip"):
        load_policy(tmp_path)
    for name in ("a.zip", "b.zip"):
        shutil.copy(saved[1], tmp_path / name)
    with pytest.raises(InputError, match=r"several zips \(a.zip, b.zip\); name one of them"):
        load_policy(tmp_path)
