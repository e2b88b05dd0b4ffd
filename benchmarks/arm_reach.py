"""The six-joint arm of `speed_trajopt.py`: what both sides read.  Standard library only.

`arm.xml` is pinocchio's sample manipulator.  x = [q; v] [12], u the six torques, 100 semi-implicit Euler
steps of dt = 0.01 s,
    cost of a step   dt * 0.5 (sum_i w_i (x_i - goal_i)^2 + 0.001 |u|^2)
    final cost       50 sum_i w_i (x_i - goal_i)^2
from rest at 0, upright, and from zero actions.
"""

from pathlib import Path

MODEL = Path(__file__).resolve().with_name("arm.xml")
DT = 0.01  # s, as in the file
GOAL = [0.3, -0.4, 0.5, 0.8, -0.3, 0.4, *[0.0] * 6]  # rad, rad/s
WEIGHTS = [*[1.0] * 6, *[0.1] * 6]
EFFORT, FINAL = 1e-3, 100.0
PUSH = 0.3  # N m on every joint: under it the costs of both sides are compared, before anything is timed
