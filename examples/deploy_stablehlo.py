"""A control loop with any exported controller, in Python with JAX alone.

    pip install jax flatbuffers

    python deploy_stablehlo.py EXPORT                # an export for the pendulum, see deploy_numpy.py
    python deploy_stablehlo.py EXPORT --background   # a planner that needs longer than a step

With --background the loop acts on the current plan while another thread computes the next one.
"""

import argparse
import math
import sys

from deploy_numpy import Robot, main


def background(directory: str) -> None:
    sys.path.insert(0, directory)
    from control_loop import BackgroundPlanner, ControlLoop
    from controller import load

    robot, controller = Robot(), load(directory, "stablehlo")
    controller.plan(robot.read())
    controller.reset()
    planner = BackgroundPlanner(controller.plan, controller.manifest["fallback"]["action"])
    loop = ControlLoop(robot.read, planner.act, robot.write, period_s=controller.manifest["time_step_s"])
    report = loop.run(controller.manifest["horizon_steps"])
    height = -math.cos(robot.angle)
    print(f"{report}; {planner.plans} plans, {planner.stale} steps without one; the tip is at {height:.2f} m")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", help="an export")
    parser.add_argument("--background", action="store_true", help="plan in another thread")
    given = parser.parse_args()
    background(given.directory) if given.background else main(given.directory, "stablehlo")
