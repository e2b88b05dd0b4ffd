"""Pictures of the shipped systems: functions from problem, state, action and time to an RGB picture."""

import numpy as np

from forethought.core import Problem
from forethought.envs.drawing.renderers import (
    BLUE,
    FAINT,
    GRAY,
    GREEN,
    INK,
    ORANGE,
    PALE_GREEN,
    PAPER,
    Canvas,
    Color,
    Number,
    Point,
    rotation,
)


def cart_pole(problem: Problem, x: np.ndarray, u: np.ndarray | None, seconds: float) -> np.ndarray:
    """From the side; the green disc is where the tip should be, and how far it may be off."""
    task, length = problem.task, problem.dynamics.pole_length
    position, _, angle, _ = (float(v) for v in x)
    follow = position - np.clip(position, -0.8, 0.8)
    canvas = Canvas(scale=240, center=(follow, 0.08))
    target(canvas, (0, length), task.solved_distance)
    _rail(canvas, 0.06)
    if u is not None:
        push = 0.5 * float(u[0]) / task.force_limit
        edge = position + np.sign(push) * 0.16
        canvas.arrow((edge, 0), (edge + push, 0), width=0.022)
    canvas.box((position, 0), (0.3, 0.16), INK, corner=0.025)
    tip = (position + length * np.sin(angle), -length * np.cos(angle))
    _rod(canvas, (position, 0), tip, BLUE, 0.045)
    canvas.title("Cart-pole swing-up", seconds)
    return canvas.picture()


def pendulum(problem: Problem, x: np.ndarray, u: np.ndarray | None, seconds: float) -> np.ndarray:
    """From the side; the arc about the hinge is the torque."""
    task, length = problem.task, problem.dynamics.length
    canvas = Canvas(scale=145 / length, center=(0, 0))
    target(canvas, (0, length), task.solved_distance)
    canvas.ring((0, 0), length, FAINT, 0.008 * length)
    _rod(canvas, (0, 0), length * np.array([np.sin(x[0]), -np.cos(x[0])]), BLUE, 0.085 * length)
    if u is not None:
        canvas.turn_arrow((0, 0), 0.24 * length, float(u[0]) / task.torque_limit, toward=np.pi / 2)
    canvas.title("Pendulum swing-up", seconds)
    return canvas.picture()


def acrobot(problem: Problem, x: np.ndarray, u: np.ndarray | None, seconds: float) -> np.ndarray:
    """From the side; the arc about the elbow is the torque."""
    task, length1, length2 = problem.task, problem.dynamics.length1, problem.dynamics.length2
    reach, total = length1 + length2, float(x[0] + x[1])
    canvas = Canvas(scale=160 / reach, center=(0, 0))
    target(canvas, (0, reach), task.solved_distance)
    canvas.ring((0, 0), reach, FAINT, 0.008 * reach)
    elbow = length1 * np.array([np.sin(x[0]), -np.cos(x[0])])
    tip = elbow + length2 * np.array([np.sin(total), -np.cos(total)])
    _rod(canvas, (0, 0), elbow, INK, 0.05 * reach)
    _rod(canvas, elbow, tip, BLUE, 0.05 * reach)
    if u is not None:
        canvas.turn_arrow(elbow, 0.14 * reach, float(u[0]) / task.torque_limit, toward=total + np.pi / 2)
    canvas.title("Acrobot swing-up", seconds)
    return canvas.picture()


def cart_double_pendulum(problem: Problem, x: np.ndarray, u: np.ndarray | None, seconds: float) -> np.ndarray:
    """From the side; the green disc is where the tip should be, and how far it may be off."""
    task, length1, length2 = problem.task, problem.dynamics.length1, problem.dynamics.length2
    position, reach = float(x[0]), length1 + length2
    follow = position - np.clip(position, -1.0, 1.0)
    canvas = Canvas(scale=150 / reach, center=(follow, 0))
    target(canvas, (0, reach), task.solved_distance)
    _rail(canvas, 0.1)
    if u is not None:
        push = 0.6 * float(u[0]) / task.force_limit
        edge = position + np.sign(push) * 0.2
        canvas.arrow((edge, 0), (edge + push, 0), width=0.035)
    canvas.box((position, 0), (0.38, 0.2), INK, corner=0.03)
    elbow = np.array([position, 0]) + length1 * np.array([np.sin(x[2]), -np.cos(x[2])])
    tip = elbow + length2 * np.array([np.sin(x[3]), -np.cos(x[3])])
    _rod(canvas, (position, 0), elbow, GRAY, 0.06)
    _rod(canvas, elbow, tip, BLUE, 0.06)
    canvas.title("Cart-double-pendulum swing-up", seconds)
    return canvas.picture()


def reacher(problem: Problem, x: np.ndarray, u: np.ndarray | None, seconds: float) -> np.ndarray:
    """From above; the arcs are the torques at shoulder and elbow."""
    task, length1, length2 = problem.task, problem.dynamics.length1, problem.dynamics.length2
    reach, total = length1 + length2, float(x[0] + x[1])
    canvas = Canvas(scale=165 / reach, center=(0, 0))
    canvas.ring((0, 0), reach, FAINT, 0.008 * reach)
    target(canvas, (task.target_x, task.target_y), task.solved_distance)
    elbow = length1 * np.array([np.cos(x[0]), np.sin(x[0])])
    tip = elbow + length2 * np.array([np.cos(total), np.sin(total)])
    _rod(canvas, (0, 0), elbow, INK, 0.055 * reach)
    _rod(canvas, elbow, tip, BLUE, 0.055 * reach)
    if u is not None:
        canvas.turn_arrow((0, 0), 0.14 * reach, float(u[0]) / task.torque_limit, toward=float(x[0]) + np.pi)
        canvas.turn_arrow(elbow, 0.14 * reach, float(u[1]) / task.torque_limit, toward=total + np.pi)
    canvas.title("Two-link reacher", seconds)
    return canvas.picture()


def car(problem: Problem, x: np.ndarray, u: np.ndarray | None, seconds: float) -> np.ndarray:
    """From above: a street with parked cars and a free parking place."""
    task, (px, py, heading, _) = problem.task, (float(v) for v in x)
    canvas = Canvas(scale=62, center=(0, 1.2))
    canvas.stroke((canvas.left, -0.85), (canvas.right, -0.85), GRAY, 0.07)
    for mark in np.arange(np.floor(canvas.left), canvas.right, 1.0):
        canvas.stroke((mark + 0.25, 1.25), (mark + 0.65, 1.25), FAINT, 0.06)
    canvas.box((0, 0), (2.6, 1.3), PALE_GREEN, corner=0.08)
    for place in (-2.9, 2.9):
        _car(canvas, (place, 0), 0.0, FAINT, (236, 238, 240))
    nose = np.array([px, py]) + rotation(heading) @ np.array([1.0, 0])
    turn = 0.0 if u is None else float(u[1])
    _car(canvas, (px, py), heading, BLUE, (206, 222, 244), wheel=0.5 * turn / task.turn_limit)
    if u is not None:
        push = float(u[0]) / task.acceleration_limit
        root = np.array([px, py]) + np.sign(push) * (nose - (px, py)) * 1.08
        canvas.arrow(root, root + push * (nose - (px, py)), width=0.08)
    canvas.title("Car parking", seconds)
    return canvas.picture()


def quadrotor(problem: Problem, x: np.ndarray, u: np.ndarray | None, seconds: float) -> np.ndarray:
    """From the side; the arrows are the thrusts."""
    task, arm = problem.task, problem.dynamics.arm
    center, turn = np.asarray(x[:2], float), rotation(float(x[2]))
    canvas = Canvas(scale=130, center=(task.target_x - 0.5, task.target_z - 0.1))
    target(canvas, (task.target_x, task.target_z), task.solved_distance)
    canvas.stroke((canvas.left, 0), (canvas.right, 0), GRAY, 0.02)
    for side, thrust in zip((-1, 1), (0, 0) if u is None else u, strict=True):
        motor, hub = center + turn @ (side * arm, 0.0), center + turn @ (side * arm, 0.08)
        along = turn @ (0.5 * arm, 0.0)
        canvas.arrow(hub, hub + turn @ (0.0, 0.7 * float(thrust) / task.thrust_limit), width=0.03)
        canvas.stroke(motor, hub, INK, 0.03)
        canvas.stroke(hub - along, hub + along, BLUE, 0.025)
    canvas.stroke(center - turn @ (arm, 0.0), center + turn @ (arm, 0.0), INK, 0.045)
    canvas.box(center, (0.2, 0.11), INK, angle=float(x[2]), corner=0.03)
    canvas.title("Quadrotor hover", seconds)
    return canvas.picture()


def point_mass(problem: Problem, x: np.ndarray, u: np.ndarray | None, seconds: float) -> np.ndarray:
    """From above; the gray disc is the obstacle, the light disc around it is where its penalty applies."""
    task, place = problem.task, np.asarray(x[:2], float)
    obstacle = (task.obstacle_x, task.obstacle_y)
    canvas = Canvas(scale=190, center=(-1, 0))
    canvas.disc(obstacle, task.obstacle_radius + task.margin, FAINT)
    canvas.disc(obstacle, task.obstacle_radius, GRAY)
    target(canvas, (0, 0), task.solved_distance)
    if u is not None:
        canvas.arrow(place, place + 0.4 * np.asarray(u, float) / task.force_limit, width=0.025)
    canvas.disc(place, 0.05, BLUE)
    canvas.title("Point mass around an obstacle", seconds)
    return canvas.picture()


def target(canvas: Canvas, place: Point, radius: Number) -> None:
    """A green disc: where something should be, and how far it may be off."""
    canvas.disc(place, radius, PALE_GREEN)
    canvas.ring(place, radius, GREEN, 0.04 * radius)
    canvas.disc(place, 0.06 * radius, GREEN)


def _rail(canvas: Canvas, mark: Number) -> None:
    """A horizontal line at height zero with a tick mark every half meter."""
    canvas.stroke((canvas.left, 0), (canvas.right, 0), GRAY, 0.2 * mark)
    for place in np.arange(np.floor(2 * canvas.left), 2 * canvas.right + 1) / 2:
        canvas.stroke((place, -0.5 * mark), (place, 0), GRAY, 0.13 * mark)


def _rod(canvas: Canvas, start: Point, end: Point, color: Color, width: Number) -> None:
    canvas.stroke(start, end, color, width)
    canvas.disc(start, 0.3 * width, PAPER)
    canvas.disc(end, 0.75 * width, ORANGE if color == BLUE else color)


def _car(canvas: Canvas, center: Point, heading: Number, body: Color, glass: Color, *, wheel: Number = 0.0) -> None:
    """A car 2 m long; the front wheels are turned by `wheel` (rad)."""
    turn = rotation(heading)
    for along, side, angle in ((0.62, 0.46, wheel), (0.62, -0.46, wheel), (-0.62, 0.46, 0), (-0.62, -0.46, 0)):
        tire = INK if body == BLUE else GRAY
        canvas.box(center + turn @ (along, side), (0.36, 0.14), tire, angle=heading + angle, corner=0.04)
    canvas.box(center, (2.0, 0.96), body, angle=heading, corner=0.18)
    canvas.box(center + turn @ (0.32, 0.0), (0.34, 0.74), glass, angle=heading, corner=0.06)
    canvas.box(center + turn @ (-0.62, 0.0), (0.22, 0.7), glass, angle=heading, corner=0.06)
