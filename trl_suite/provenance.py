"""Where a result comes from: versions, machine and commit, as they stand in every record."""

import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

PACKAGES = ("trl-suite", "torch", "stable-baselines3", "gymnasium", "mujoco", "numpy")
_MISSING = "not installed"
OUTSIDE_SUITES = ("gymnasium-robotics", "metaworld")  # which stand in a record where they are installed


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages on which a result depends."""
    packages = {name: _version(name) for name in (*PACKAGES, *OUTSIDE_SUITES)}
    there = {name: version for name, version in packages.items() if name in PACKAGES or version != _MISSING}
    return {"python": platform.python_version(), **there}


def changed(earlier: Mapping[str, str]) -> list[str]:
    """Return in words which of some earlier versions are no longer those of today."""
    now = versions()
    return [f"{name} {old} -> {now.get(name)}" for name, old in earlier.items() if now.get(name) != old]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return _MISSING


@cache
def machine() -> dict[str, str]:
    """Return the facts of the machine on which the results' speed, and their last bits, depend."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": str(os.cpu_count()),
    }


def _processor() -> str:
    """Return the processor's name; `platform` knows only its architecture on Linux."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def commit() -> tuple[str, bool]:
    """Return the suite's commit and whether tracked files were changed since; ("", False) outside a checkout."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return "", False
    try:
        return _git(root, "rev-parse", "HEAD"), bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return "", False


@cache
def diff() -> bytes:
    """Return the uncommitted changes of tracked files; nothing outside a checkout."""
    root = Path(__file__).parent.parent
    try:
        done = subprocess.run(["git", "-C", str(root), "diff", "HEAD"], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return b""
    return done.stdout


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()
