"""Contacts have MuJoCo's frames: mujoco-warp 4.0.0 turns those of steep capsules on a plane."""

import subprocess
import sys

import mujoco
import numpy as np
import pytest

from trl_suite.worlds.warp.warp_library import library

pytestmark = pytest.mark.xdist_group("warp")
CAPSULE = """
<mujoco>
  <option gravity="0 0 -9.81"/>
  <worldbody>
    <geom name="floor" type="plane" size="5 5 1" euler="5 10 0"/>
    <body name="rod" pos="0 0 0.3"><freejoint/><geom type="capsule" size="0.1 0.3" density="1000"/></body>
  </worldbody>
</mujoco>
"""
POSES = 64


def frames() -> tuple[np.ndarray, np.ndarray]:
    """Return MuJoCo's and Warp's first contact frames (poses, 9) of a capsule in random poses on a tilted floor."""
    model = mujoco.MjModel.from_xml_string(CAPSULE)
    rng, steps = np.random.default_rng(0), library().mujoco_warp
    on_device, theirs, ours = steps.put_model(model), [], []
    for _ in range(POSES):
        data = mujoco.MjData(model)
        data.qpos[2], data.qpos[3:7] = 0.1, rng.normal(size=4)
        mujoco.mj_normalizeQuat(model, data.qpos)
        mujoco.mj_forward(model, data)
        moved = steps.put_data(model, data, nworld=1, nconmax=8, njmax=32)
        steps.kinematics(on_device, moved)
        steps.collision(on_device, moved)
        theirs.append(data.contact.frame[0])
        ours.append(moved.contact.frame.numpy()[0].reshape(-1))
    return np.array(theirs), np.array(ours)


def test_the_frames_of_a_capsule_on_a_plane_are_mujocos():
    theirs, ours = frames()
    assert np.abs(theirs - ours).max() < 1e-5


@pytest.mark.slow
def test_without_the_repair_they_are_not():
    """Where this fails, mujoco-warp has mended it: take `library._repair` out."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from trl_suite.worlds.warp import warp_library\n"
        "warp_library._repair = lambda warp: None\n"
        "import test_contact, numpy\n"
        "print(int((numpy.abs(numpy.subtract(*test_contact.frames())).max(1) > 0.1).sum()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, __file__.rpartition("/")[0]], capture_output=True, text=True, check=True
    )
    assert int(done.stdout.splitlines()[-1]) > POSES // 8
