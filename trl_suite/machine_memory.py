"""How much memory there is for more."""

import os
from pathlib import Path

_LIMITS = (  # what a container may use and uses, in the two versions of Linux's control groups
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available() -> int:
    """Return how many bytes this process and its children may still take: of the machine, and of its container."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")]
    info = Path("/proc/meminfo")
    if info.is_file():
        lines = dict(line.split(":", 1) for line in info.read_text().splitlines())
        limits = [int(lines["MemAvailable"].split()[0]) * 1024]  # what caches hold can be had as well
    for limit, usage in _LIMITS:
        most, used = _number(limit), _number(usage)
        if most is not None and used is not None:
            limits.append(max(most - used, 0))
    return min(limits)


def _number(path: str) -> int | None:
    try:
        text = Path(path).read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
