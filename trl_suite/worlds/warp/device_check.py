"""Small captures on a device, torch's and Warp's, so that it is known beforehand what would not work there.

Run as a program it prints a line for each: a fault of a driver may abort the process, and is the asker's to survive.
"""

import sys
from collections.abc import Callable

import torch

from trl_suite.worlds.warp.device_capture import captured, first_cause
from trl_suite.worlds.warp.warp_library import library, obstacle, refuse_unless_usable

REPEATS = 3  # times that the body of Warp's loop is run


def torch_graph(device: torch.device) -> str:
    """Capture and replay a graph of torch's; return "" or what is wrong.

    A capture does nothing by itself, and each replay does it once.
    """
    number = torch.zeros(1, device=device)
    replay = captured(lambda: _add_one(number), torch.cuda.Stream(device))
    torch.cuda.synchronize()
    before = float(number)
    replay()
    replay()
    torch.cuda.synchronize()
    return "" if (before, float(number)) == (0.0, 2.0) else f"two replays gave {before} and {float(number)}"


def _add_one(number: torch.Tensor) -> None:
    number.add_(1.0)


def warp_graph(device: torch.device) -> str:
    """Capture and launch a graph of Warp's with a loop that the device ends, as the solver's; return what is wrong."""
    warp = library().warp
    refuse_unless_usable(device)
    name = "cuda:0" if str(device) == "cuda" else str(device)  # Warp wants its index
    with warp.ScopedDevice(name):
        more, less = warp.array([1], dtype=int), warp.array([0], dtype=int)
        count = warp.zeros(1, dtype=float)
        with warp.ScopedCapture(device=name) as capture:
            count.fill_(REPEATS)
            warp.capture_while(more, lambda: warp.copy(more, less))
        warp.capture_launch(capture.graph)
        warp.synchronize()
        value = float(count.numpy()[0])
    return "" if value == REPEATS else f"a launch gave {value}"


def findings(device: torch.device) -> list[str]:
    """Return a line for each kind of graph: whether it works, and why not."""
    checks: list[tuple[str, Callable[[torch.device], str], str]] = []
    if device.type == "cuda":
        checks.append(("torch's graphs", torch_graph, "updates run kernel by kernel, several times as slowly"))
    if not obstacle():
        checks.append(("Warp's graphs", warp_graph, "physics = 'mujoco' simulates on the CPU's cores"))
    return [_finding(name, check, device, instead) for name, check, instead in checks]


def _finding(name: str, check: Callable[[torch.device], str], device: torch.device, instead: str) -> str:
    try:
        why = check(device)
    except Exception as error:
        why = first_cause(error)
    return f"{name} do not work: {why}; {instead}" if why else f"{name} work"


if __name__ == "__main__":
    print("; ".join(findings(torch.device(sys.argv[1] if len(sys.argv) > 1 else "cpu"))))
