"""The page of a first GPU's figures, with what was predicted for an H200 beside them.

    python benchmarks/gpu_report.py build/gpu-first               prints it
    python benchmarks/gpu_report.py build/gpu-first --out gpu.md  writes it

The predictions were made before any GPU ran anything, from launches that were counted (docs/gpu.md): where a figure is
far from its prediction, the prediction's reason is what to look at first.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gpu_first import LIMITS_SECONDS

PREDICTIONS: Mapping[tuple[str, str], str] = {
    ("facts", "us per node in a graph"): "2",
    ("facts", "us per blocking copy to the device"): "10 to 20",
    ("facts", "us per blocking copy back"): "10 to 20",
    ("facts", "GB/s of a copy"): "3,500 to 4,300",
    ("correct", "ppo: 12 updates, farthest from the CPU's"): "below 1e-4",
    ("correct", "sac: 12 updates, farthest from the CPU's"): "below 1e-3",
    ("correct", "td3: 12 updates, farthest from the CPU's"): "below 1e-3",
    ("speed", "ppo x 128: us per epoch of 8 minibatches"): "2,400: memory decides",
    ("speed", "sac x 64: us per update"): "1,800 (1,400 to 2,100)",
    ("worlds", "half-cheetah x 64"): "1,900 us a step (1,200 to 3,000), at any size up to 4,000 worlds",
    ("worlds", "hopper x 64"): "4,200 us a step (2,800 to 6,400)",
    ("worlds", "ant x 64"): "6,800 us a step (4,600 to 10,600)",
    ("accurate", "half-cheetah: one step"): "qpos p99 3e-6, as on Warp's CPU device",
    ("accurate", "hopper: one step"): "qpos p99 4e-7, as on Warp's CPU device",
    ("accurate", "ant: one step"): "qpos p99 3e-7, as on Warp's CPU device",
    ("ppo-warp-128", "env steps/s without evaluation"): "870,000 to 1,000,000",
    ("ppo-warp-128", "of which collecting"): "243 ms",
    ("ppo-warp-128", "s of the next evaluation"): "1.75",
    ("ppo-warp-1024", "env steps/s without evaluation"): "not predicted; the host's draws grow eightfold",
    ("ppo-mujoco-128", "env steps/s without evaluation"): "370,000 with 16 cores",
    ("sac-mujoco-64", "env steps/s without evaluation"): "25,000 to 30,000, which are updates/s too",
}
AIMS = (
    "a million HalfCheetah training steps/s with 128 members; 40,000 SAC updates/s with 64; a hundred times "
    "Stable-Baselines3 in one run"
)


def page(folder: Path) -> str:
    """Return the page as Markdown."""
    records = {name: _read(folder / f"{name}.json") for name in LIMITS_SECONDS}
    lines = ["# A first GPU", "", *_head(records), "", f"The aims: {AIMS}.", ""]
    for name, findings in records.items():
        lines += [f"## {name}", ""]
        if findings is None:
            lines += ["Not run.", ""]
            continue
        lines += [f"{findings.pop('ended', 'unknown end')}, {findings.pop('seconds', '?')} s.", ""]
        lines += ["| | measured | predicted for an H200 |", "|---|---|---|"]
        lines += [f"| {key} | {_text(value)} | {PREDICTIONS.get((name, key), '')} |" for key, value in findings.items()]
        lines.append("")
    return "\n".join(lines)


def _head(records: Mapping[str, dict[str, Any] | None]) -> Iterator[str]:
    device = (records["facts"] or {}).get("device")
    if device is None:
        yield "**A rehearsal on the CPU: no figure here is one of a GPU.**"
    else:
        yield "; ".join(f"{name} {value}" for name, value in device.items())


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{name} {_text(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value).replace("|", "\\|")


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text()) if path.is_file() else None


def main() -> None:
    """Print the page, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if not arguments.folder.is_dir():
        parser.error(f"{arguments.folder}: no such folder; python benchmarks/gpu_first.py --out {arguments.folder}")
    text = page(arguments.folder)
    if arguments.out is None:
        print(text)
    else:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
