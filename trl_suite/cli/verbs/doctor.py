"""`trl-suite doctor`: what is there, and what would not work."""

import os
import subprocess
import sys

import torch
from rich.table import Table

from trl_suite import content, machine_resources, provenance
from trl_suite.cli.arguments import Doctor
from trl_suite.terminal import Terminal, print_json
from trl_suite.worlds.warp import warp_library

_RENDERERS = ("", "egl", "osmesa", "glfw", "disable", "off")  # what mujoco takes for MUJOCO_GL
_ROBOTS = ("inverted-pendulum", "hopper", "half-cheetah", "ant", "humanoid")
_PHYSICS = """
import sys
from trl_suite.training import engines
from trl_suite.worlds.warp import limits
print(engines.physics("auto", engines.device("auto")))
print(", ".join(f"{name} {limits.bytes_per_world(name) / 1024:.0f} KB" for name in sys.argv[1:]))
"""
_DRAW = """
import mujoco
model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><geom size='1'/></worldbody></mujoco>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 16, 16) as renderer:
    renderer.update_scene(data)
    renderer.render()
"""


def execute(arguments: Doctor) -> int:
    """Print the findings and return the exit code: 0, since nothing that is missing keeps one from training."""
    report = findings()
    if arguments.json:
        print_json(report)
        return 0
    table = Table(show_header=False, box=None)
    for name, value in report.items():
        table.add_row(name, value)
    Terminal().print(table, highlight=False)
    return 0


def findings() -> dict[str, str]:
    """Return everything worth knowing, by name."""
    commit, dirty = provenance.commit()
    return {
        **provenance.versions(),
        **provenance.machine(),
        "commit": f"{commit or 'not a checkout'}{' with uncommitted changes' if dirty else ''}",
        "torch threads": f"{torch.get_num_threads()} by default; every run is given one",
        "gpu": _gpu(),
        "physics on the gpu": _warp(),
        "memory": f"{machine_resources.available_bytes() / 2**30:.1f} GB to be had; cohorts are cut to fit",
        "rendering": _rendering(),
        "envs": ", ".join(content.names("envs")) or "none found",
        "policies": f"{len(content.names('policies'))}; trl-suite policies lists them",
        "experiments": ", ".join(content.names("experiments")) or "none found",
    }


def _gpu() -> str:
    if not torch.cuda.is_available():
        return "none that torch can use; runs use the CPU"
    return f"{torch.cuda.get_device_name()}; cohorts learn there"


def _warp() -> str:
    """Ask in a process of its own, as of rendering: a wrong display keeps MuJoCo from being imported."""
    if why := warp_library.obstacle():
        return f"no: {why}; cohorts have their physics on the CPU's cores"
    done = subprocess.run([sys.executable, "-c", _PHYSICS, *_ROBOTS], capture_output=True, text=True, check=False)
    if done.returncode:
        return f"does not work: {done.stderr.strip().splitlines()[-1]}"
    *_, physics, env_bytes = done.stdout.splitlines()
    where = "there" if physics == "warp" else "on the CPU's cores unless physics = 'warp'"
    return f"Warp is installed; cohorts have their physics {where}. A world takes: {env_bytes}"


def _rendering() -> str:
    """Draw one small picture in a process of its own: a wrong display aborts the process, which cannot be caught."""
    configured = os.environ.get("MUJOCO_GL", "")
    if configured not in _RENDERERS:
        return (
            f"MUJOCO_GL={configured} is not one of {', '.join(filter(None, _RENDERERS))}: mujoco cannot start; unset it"
        )
    for backend in (configured,) if configured else ("egl", "osmesa"):
        if _draws(backend):
            return f"works with MUJOCO_GL={backend}"
    return "does not work; training does not need it. On Debian: apt install libegl1 libegl-mesa0 libgl1-mesa-dri"


def _draws(backend: str) -> bool:
    environment = {**os.environ, "MUJOCO_GL": backend}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _DRAW], env=environment, capture_output=True, timeout=60, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0
