"""Without Warp everything else works, and the error says what to install, or what to take instead."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError

import pytest
import torch

from trl_suite.errors import InputError, NotInstalledError
from trl_suite.training import engines
from trl_suite.worlds.warp import warp_library
from trl_suite.worlds.warp.warp_env import WarpVectorEnv

HERE = torch.cuda.is_available()


def without(package: str):
    def version(name: str) -> str:
        if name == package:
            raise PackageNotFoundError(name)
        return warp_library.TESTED[name]

    return version


@pytest.mark.parametrize("package", warp_library.TESTED)
def test_a_missing_package_is_named_with_what_to_install(package: str, monkeypatch):
    monkeypatch.setattr(warp_library, "version", without(package))
    with pytest.raises(NotInstalledError) as caught:
        warp_library.library.__wrapped__()
    assert f"{package} is not installed: pip install 'trl-suite[gpu]'" in str(caught.value)
    assert "physics = 'mujoco'" in str(caught.value)
    assert engines.physics("auto", "cuda") == "mujoco"


def test_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(warp_library, "version", lambda name: "9.9")
    assert warp_library.obstacle().startswith("mujoco-warp is 9.9, and the suite was tested with 4.0.0")


@pytest.mark.skipif(HERE, reason="there is a CUDA device")
def test_no_cuda_is_said_before_anything_starts():
    with pytest.raises(InputError, match="physics on Warp: there is no CUDA device here; physics = 'mujoco'"):
        WarpVectorEnv(4, "hopper", device="cuda")
    with pytest.raises(InputError, match="neither a CUDA device nor the CPU"):
        WarpVectorEnv(4, "hopper", device="meta")


@pytest.mark.parametrize("version", [(12, 2), (12, 9)])
def test_a_driver_that_is_too_old_is_refused(version, monkeypatch):
    """Warp lists no device then, which is not what is wrong."""
    warp = warp_library.library().warp
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(warp, "is_cuda_available", lambda: False)
    monkeypatch.setattr(warp, "get_cuda_driver_version", lambda: version)
    said = rf"the CUDA driver is 12.{version[1]}, and 13.0 \(R580\) or newer is needed; physics = 'mujoco'"
    with pytest.raises(InputError, match=said):
        warp_library.refuse_unless_usable(torch.device("cuda"))
    assert engines.physics("auto", "cuda") == "mujoco"
    with pytest.raises(InputError, match=said):
        engines.physics("warp", "cuda")


def test_a_robot_that_warp_cannot_run_is_refused_with_what_it_lacks(monkeypatch):
    def put_model(model):
        raise NotImplementedError("plugins are unsupported")

    monkeypatch.setattr(warp_library.library().mujoco_warp, "put_model", put_model)
    with pytest.raises(InputError, match="physics on Warp: plugins are unsupported; physics = 'mujoco'"):
        WarpVectorEnv(2, "hopper", device="cpu")


def test_nothing_of_it_is_imported_until_worlds_are_asked_for():
    code = (
        "import sys, trl_suite, trl_suite.worlds.stepping.vector_env\n"
        "assert 'torch' not in sys.modules, 'torch'\n"
        "import trl_suite.training.cohort.cohort_training, trl_suite.experiment.run_experiment\n"
        "assert not {'warp', 'mujoco_warp'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
