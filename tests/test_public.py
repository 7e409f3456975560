"""The public face: names, speed of import, and what importing does."""

import subprocess
import sys

import trl_suite


def test_every_public_name_can_be_had_and_is_documented():
    assert list(trl_suite.__all__) == sorted(trl_suite.__all__)
    for name in trl_suite.__all__:
        assert getattr(trl_suite, name).__doc__, name
    assert set(trl_suite.__all__) <= set(dir(trl_suite))


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(trl_suite, "transfuse")


def test_importing_registers_the_envs_and_loads_nothing_heavy(tmp_path):
    code = (
        "import sys, gymnasium, trl_suite\n"
        "assert 'trl_suite/HalfCheetah-v0' in gymnasium.registry\n"
        "heavy = ('torch', 'mujoco', 'stable_baselines3', 'matplotlib', 'scipy', 'pandas', 'tensorboard')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == "[]"
    assert not list(tmp_path.iterdir())


def test_modules_under_their_former_names_are_those_of_today():
    code = (
        "from trl_suite.worlds.env import World, make\nimport sys\n"
        "assert 'trl_suite.worlds.stepping.env' in sys.modules\n"
        "from trl_suite.worlds.stepping import env\nassert (World, make) == (env.RobotEnv, env.make)\n"
        "from trl_suite.worlds.mjcf import digest\nimport trl_suite.worlds.mjcf as former\n"
        "assert former.digest is digest\nassert not hasattr(former, 'nothing')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
