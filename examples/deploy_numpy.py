"""A control loop with an exported policy, in Python with NumPy: neither Forethought nor JAX is installed on the robot.

On the computer that trained the policy:

    forethought train pilco forethought/PendulumSwingUp-v0 --iterations 6 --out runs/pendulum
    forethought export runs/pendulum --out pendulum

On the robot, where only the directory `pendulum` is copied:

    pip install numpy
    python deploy_numpy.py pendulum

The robot here is a simulated pendulum; replace `Robot` with what reads your sensors and drives your motors.
"""

import math
import sys

import numpy as np


class Robot:
    """A uniform rod of 1 kg and 1 m on a hinge with a motor of at most 2 N m; it starts hanging at rest."""

    def __init__(self, seed: int = 0):
        self.angle, self.spin = 0.1 * np.random.default_rng(seed).standard_normal(2)  # rad, rad/s

    def read(self) -> np.ndarray:
        return np.array([self.angle, self.spin])

    def write(self, action: np.ndarray, seconds: float = 0.05) -> None:
        """Apply a torque, N m, for the time of a step."""
        torque, parts = float(action[0]), 50
        for _ in range(parts):
            self.spin += 3 * (torque - 0.5 * 9.81 * math.sin(self.angle)) * seconds / parts
            self.angle += self.spin * seconds / parts


def main(directory: str, form: str = "numpy") -> None:
    sys.path.insert(0, directory)  # the export contains its loader and the loop
    from control_loop import ControlLoop
    from controller import load

    robot, controller = Robot(), load(directory, form)
    controller.act(robot.read())  # the first call takes longer: programs are compiled
    controller.reset()
    loop = ControlLoop(robot.read, controller.act, robot.write, period_s=controller.manifest["time_step_s"])
    report = loop.run(controller.manifest["horizon_steps"])
    height = -math.cos(robot.angle)
    print(f"{report}; {controller.fallbacks} fallback actions; the tip is {height:.2f} m above the hinge at the end")


if __name__ == "__main__":
    main(sys.argv[1])
