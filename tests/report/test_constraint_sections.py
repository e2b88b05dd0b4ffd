"""The section on constraints says what was promised and what happened."""

from forethought.envs.shipped import shipped
from forethought.envs.violations import Violations
from forethought.report.constraint_sections import constraint_sections
from forethought.tasks.constrained import Constrained

BASE = shipped("PendulumSwingUp-v0").task
LINES = [
    {"env_steps": 40, "largest_violation": 0.4, "violated_episodes": 2},
    {"env_steps": 80, "largest_violation": -0.1, "violated_episodes": 0},
]


def task(**options):
    return Constrained(BASE, lambda x, u, t: x, **options)


def test_a_task_without_constraints_has_no_section():
    assert constraint_sections(BASE, None, LINES) == []


def test_the_promise_and_the_count():
    (section,) = constraint_sections(task(risk=0.05, constraint_steps=7), Violations(50, 2, 3, 0, 0.25), LINES)
    text = " ".join(section.text)
    assert "2 of 50 episodes (3 steps), by 0.25" in text
    assert "first 7 steps" in text and "0.05" in text and "more often than the risk" not in text
    (picture,) = section.pictures
    assert "2 episodes did so" in picture.caption


def test_a_broken_promise_is_said():
    (section,) = constraint_sections(task(risk=0.05), Violations(50, 9, 30, 0, 0.25), [])
    text = " ".join(section.text)
    assert "any of its steps" in text and "more often than the risk allows" in text and not section.pictures
