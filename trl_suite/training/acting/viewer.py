"""A policy in MuJoCo's window, episode after episode, where there is a display to open one on."""

import os
import subprocess
import sys

from trl_suite.training.acting.filming import Scene
from trl_suite.training.reproducibility import seed_for
from trl_suite.worlds.stepping.env import make

PROBE_SECONDS = 20  # a display that has not answered by then is none
_OPENS = "import sys, glfw; sys.exit(0 if glfw.init() else 1)"  # GLFW ends the process where a display is broken


def has_display() -> bool:
    """Whether a window can be opened; asked in a process of its own, since a broken display ends it."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        done = subprocess.run([sys.executable, "-c", _OPENS], capture_output=True, timeout=PROBE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def play(scene: Scene, episodes: int | None = None) -> list[float]:
    """Show the policy in a window; return the episodes' returns when it is over or Ctrl-C was pressed.

    Args:
        scene: the policy and its world.
        episodes: how many; without end where not given.
    """
    env = make(scene.address, render_mode="human")
    returns: list[float] = []
    try:
        while episodes is None or len(returns) < episodes:
            observation, _ = env.reset(seed=seed_for(len(returns), "evaluation"))
            value, ended = 0.0, False
            while not ended:
                observation, reward, terminated, truncated, _ = env.step(scene.act(observation[None])[0])
                value, ended = value + float(reward), terminated or truncated
            returns.append(value)
    except KeyboardInterrupt:
        pass
    finally:
        env.close()
    return returns
