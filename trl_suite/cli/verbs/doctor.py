"""`trl-suite doctor`: what is there, and what would not work."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence

import torch
from rich.table import Table

from trl_suite import content, machine_resources, provenance
from trl_suite.cli.arguments import Doctor
from trl_suite.terminal import Terminal, print_json
from trl_suite.training.device_facts import accelerator
from trl_suite.worlds.outside.suite_table import Suite, suites
from trl_suite.worlds.warp import device_check, warp_library

CHILD_SECONDS = 120  # that a question to a process of its own may take
_RENDERERS = ("", "egl", "osmesa", "glfw", "disable", "off")  # what mujoco takes for MUJOCO_GL
_ROBOTS = ("inverted-pendulum", "hopper", "half-cheetah", "ant", "humanoid")
_PHYSICS = """
import sys
from trl_suite.training import engines
from trl_suite.worlds.warp import kernels, limits
print(engines.physics("auto", engines.device("auto")))
print(kernels.cache_folder())
print(", ".join(f"{name} {limits.bytes_per_world(name) / 1024:.0f} KB" for name in sys.argv[1:]))
"""
_SUITES = """
import sys
from trl_suite.errors import NotInstalledError
from trl_suite.worlds.outside import outside_env, suite_table
for suite in suite_table.suites():
    if suite.package in sys.argv[1:]:
        try:
            state = outside_env.prepare(suite) or "installed"
        except NotInstalledError as error:
            state = f"does not work: {error}"
        print(suite.title, state, sep="\\t")
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
        "graphs on the gpu": _graphs(),
        "physics on the gpu": _warp(),
        "memory": f"{machine_resources.available_bytes() / 2**30:.1f} GB to be had; cohorts are cut to fit",
        "rendering": _rendering(),
        "envs": ", ".join(content.names("envs")) or "none found",
        **_outside(suites()),
        "policies": f"{len(content.names('policies'))}; trl-suite policies lists them",
        "experiments": ", ".join(content.names("experiments")) or "none found",
    }


def _outside(listed: Sequence[Suite]) -> dict[str, str]:
    """Import the suites in a process of its own: a wrong display keeps MuJoCo from being imported."""
    installed = [suite for suite in listed if importlib.util.find_spec(suite.package)]
    states = {suite.title: f"not installed: {suite.install}" for suite in listed if suite not in installed}
    if installed:
        done = _child(["-c", _SUITES, *(suite.package for suite in installed)])
        states |= (
            {suite.title: f"does not work: {_last_line(done)}" for suite in installed}
            if done.returncode
            else dict(line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)
        )
    return {suite.title: states[suite.title] for suite in listed}


def _gpu() -> str:
    if not torch.cuda.is_available():
        return "none that torch can use; runs use the CPU"
    facts = accelerator("cuda", "mujoco")
    count = torch.cuda.device_count()
    several = f"; {count} GPUs, a cohort on each" if count > 1 else ""
    return f"{facts['gpu']}, driver for CUDA {facts['driver']}, {facts['precision']}; cohorts learn there{several}"


def _graphs() -> str:
    """Capture small graphs in a process of its own: a driver's fault may abort it."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    done = _child(["-m", device_check.__name__, device])
    if done.returncode:
        return f"do not work: {_last_line(done)}; TRL_SUITE_GRAPHS=0 runs without them"
    where = "" if device == "cuda" else "on Warp's CPU device, where they can be tried: "
    return where + (done.stdout.strip() or "none to try: there is neither a CUDA device nor Warp")


def _warp() -> str:
    """Ask in a process of its own, as of rendering: a wrong display keeps MuJoCo from being imported."""
    if why := warp_library.obstacle():
        return f"no: {why}; cohorts have their physics on the CPU's cores"
    done = _child(["-c", _PHYSICS, *_ROBOTS])
    if done.returncode:
        return f"does not work: {_last_line(done)}"
    *_, physics, folder, env_bytes = done.stdout.splitlines()
    where = "there, where it is the faster" if physics == "warp" else "on the CPU's cores unless physics = 'warp'"
    return (
        f"Warp is installed; cohorts have their physics {where}. Compiled kernels lie in {folder}. "
        f"A world takes: {env_bytes}"
    )


def _child(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Run Python with a limit of time; one that hangs, or dies without a word, has failed like others."""
    command = [sys.executable, *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=CHILD_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer within {CHILD_SECONDS} s")


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"the process ended with code {done.returncode} and without a word"


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
