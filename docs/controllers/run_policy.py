"""A control loop with onnxruntime alone: python run_policy.py policy.onnx. Replace Robot by your robot's driver."""

import csv
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime


class Robot:
    """A stand-in: reads and moves by name, in the units that the file states."""

    def __init__(self, sensors: list[str], actuators: list[str]) -> None:
        self.sensors, self.actuators = sensors, actuators
        self.rng = np.random.default_rng(0)

    def read(self) -> dict[str, float]:
        """One number for each sensor."""
        return dict(zip(self.sensors, self.rng.normal(0.0, 0.1, len(self.sensors)), strict=True))

    def move(self, commands: dict[str, float]) -> None:
        """Hand the commands to the actuators."""


def entries(session: onnxruntime.InferenceSession, key: str) -> list[str]:
    """A list in the file's metadata."""
    text = session.get_modelmeta().custom_metadata_map.get(key, "")
    return text.split(",") if text else []


def main(path: str, steps: int) -> None:
    """Run the policy for so many control steps, at its own rate, and write what it saw and did."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    sensors, units = entries(session, "observation_names"), entries(session, "observation_units")
    actuators = entries(session, "action_names")
    low, high = (np.array(entries(session, key), np.float32) for key in ("action_low", "action_high"))
    period = 1.0 / float(entries(session, "control_hz")[0])
    print(", ".join(f"{name} in {unit}" for name, unit in zip(sensors, units, strict=True)))
    robot = Robot(sensors, actuators)
    with Path("log.csv").open("w", newline="") as file:
        log = csv.writer(file)
        log.writerow(["time", *sensors, *actuators])
        start = time.perf_counter()
        for step in range(steps):
            state = robot.read()
            observation = np.array([[state[name] for name in sensors]], np.float32)  # by name: the order is the file's
            action = session.run(["actions"], {"obs": observation})[0][0]
            if not np.isfinite(action).all():
                sys.exit(f"step {step}: the action is not finite; stopped")
            action = np.clip(action, low, high)
            robot.move(dict(zip(actuators, action.tolist(), strict=True)))
            log.writerow([f"{step * period:.6f}", *observation[0], *action])
            time.sleep(max(0.0, start + (step + 1) * period - time.perf_counter()))
    print(f"{steps} control steps at {1 / period:g} Hz: log.csv")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100)
