"""The page about one run: it acts again in its environment, and its model is judged on what then happens."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.random as jr
import numpy as np

from forethought.core import ForethoughtError, Problem, Transition
from forethought.policies.uniform import Uniform
from forethought.report import plots
from forethought.report.curves import Baseline, Curve, Group
from forethought.report.diagnostics import LEVELS, Calibration, ModelError, examine, reward_is_learned
from forethought.report.gp_picture import gp_sections
from forethought.report.hints import Evidence, hints
from forethought.report.page import Page, Picture, Section, Table
from forethought.report.plan_prediction import Foresight, foresee, real_reward, share_at_limits, unwrapped
from forethought.report.predicted_trajectory import imagined_sections
from forethought.report.record import algorithm_name, curve_of, duration, flat, flat_settings, number

REPORT = 0xFFFFFFFB  # folded into the seed; rounds count up from 0, so that the report's keys are none of theirs
BASELINE_EPISODES = 5
PLANS = 4  # moments of an episode at which a plan is held against reality
PANELS = 12  # coordinates shown, at most


def in_depth(run: Any, *, episodes: int, seed: int | None, video: bool) -> Page:
    """Everything the report knows about `run`."""
    info, name = run.info, algorithm_name(run.info)
    curve = curve_of(run, name)
    seed = info["seed"] if seed is None else seed
    findings, trouble = None, ""
    try:
        findings = _find_out(run, episodes, seed)
    except ForethoughtError as problem:
        trouble = f"The run could not be tried out again, so the page shows its record only: {problem}"
    sections = [_curve_section(curve, findings)]
    if findings is not None:
        top = [_hint_section(curve, findings)]
        if video:
            top = [replace(section, half=True) for section in (_video_section(run, findings, seed), *top)]
        learned = [
            *imagined_sections(run, findings.evaluation.trajectories),
            *_model_sections(findings),
            *gp_sections(run.path, findings.problem),
        ]
        sections = [*top, *sections, *learned, *_plan_sections(findings)]
    version = info.get("versions", {}).get("forethought") or ""
    return Page(
        title=f"{name} on {info['env']['name']}",
        subtitle=f"{run.path} · seed {info['seed']}",
        status=info["status"],
        remark=" ".join(part for part in (str(info.get("reason") or ""), trouble) if part),
        figures=_figures(curve, findings),
        sections=[*sections, *_record_sections(info)],
        foot=f"Written by Forethought {version}".strip() + "; the file needs nothing but itself.",
    )


@dataclass(frozen=True)
class Findings:
    """What trying the run out again showed; None (or empty) for what this algorithm does not have."""

    env: Any
    controller: Any
    evaluation: Any
    baseline: Baseline
    problem: Problem | None
    error: ModelError | None
    calibration: Calibration | None
    plans: tuple[Foresight, ...]

    @property
    def episode(self) -> Transition:
        """The first evaluation episode."""
        return self.evaluation.trajectories[0]

    @property
    def names(self) -> list[str]:
        """Of the coordinates of the model's state."""
        space = self.env.space
        names = [f"x[{i}] (rad)" if i in space.angles else f"x[{i}]" for i in range(space.size)]
        return [*names, "reward"]


def _find_out(run: Any, episodes: int, seed: int) -> Findings:
    """Run episodes with the controller and at random, and judge the model and plans on them."""
    evaluation = run.evaluate(episodes=episodes, seed=seed)
    random_key, model_key, plan_key = jr.split(jr.fold_in(jr.key(seed), REPORT), 3)
    task, env = run.env.task, run.env
    at_random = Uniform(task.action_space)
    returns = [np.sum(env.run(at_random, key=key).reward) for key in jr.split(random_key, BASELINE_EPISODES)]
    baseline = Baseline(tuple(float(value) for value in returns))
    problem = run.algorithm.problem(run.state, env) if hasattr(run.algorithm, "problem") else None
    planner = getattr(run.algorithm, "planner", None)
    error, calibration = None, None
    plans: tuple[Foresight, ...] = ()
    if problem is not None:
        horizon = getattr(planner, "horizon", 30)
        error, calibration = examine(problem, env.space, evaluation.trajectories, key=model_key, horizon=horizon)
    if problem is not None and planner is not None:
        episode = evaluation.trajectories[0]
        starts = sorted({len(episode) * i // PLANS for i in range(PLANS)})
        plans = tuple(
            foresee(problem, planner, episode, start=start, key=key)
            for start, key in zip(starts, jr.split(plan_key, len(starts)), strict=True)
        )
    return Findings(env, run.controller, evaluation, baseline, problem, error, calibration, plans)


def _figures(curve: Curve, findings: Findings | None) -> list[tuple[str, str, str]]:
    """The numbers at the head of the page."""
    figures = []
    if findings is not None:
        done, baseline = findings.evaluation, findings.baseline
        spread = f" ± {number(done.std, 3)}" if done.episodes > 1 else ""
        detail = f"{done.episodes} fresh episodes, seed {done.seed}"
        figures.append((number(done.mean) + spread, "return", detail))
        if done.success is not None:
            figures.append((f"{100 * done.success:.0f} %", "episodes solved", "by the task's own test"))
        detail = f"{len(baseline.returns)} episodes, ± {number(baseline.std, 3)}"
        figures.append((number(baseline.mean), "return of random actions", detail))
    steps = curve.env_steps[-1]
    figures.append((number(steps, 7), "real steps", f"{duration(steps * curve.dt)} of experience"))
    figures.append((duration(curve.wall_s[-1]), "wall-clock training", f"{len(curve.returns)} rounds"))
    return figures


def _curve_section(curve: Curve, findings: Findings | None) -> Section:
    group, baseline = [Group(curve.label, (curve,))], findings.baseline if findings else None
    caption = "Return (sum of rewards) of each round's last episode against real steps; above, seconds of experience."
    if curve.solved.any():
        caption += " Circles mark rounds that met the task's own test of being solved."
    if baseline is not None:
        caption += f" Grey: {len(baseline.returns)} episodes of random actions, mean ± one standard deviation."
    pictures = [Picture(plots.learning_curve(group, baseline), caption)]
    if np.isfinite(curve.model_error).any():
        caption = (
            "The model error that each round reports (no unit; 1 is about no better than guessing). Algorithms measure "
            "it on new episodes, before learning from them."
        )
        pictures.append(Picture(plots.model_error_curve(group), caption))
    return Section("Learning curve", pictures=pictures)


def _hint_section(curve: Curve, findings: Findings) -> Section:
    problem = findings.problem
    us = np.concatenate([episode.u for episode in findings.evaluation.trajectories])
    evidence = Evidence(
        curve,
        mean_return=findings.evaluation.mean,
        baseline=findings.baseline,
        saturation=share_at_limits(findings.env.task, us),
        error=findings.error,
        calibration=findings.calibration,
        plans=findings.plans,
        real_reward=None if problem is None else real_reward(problem, findings.episode),
        reward_is_learned=problem is not None and reward_is_learned(problem),
    )
    points = hints(evidence)
    text = "Read off the numbers on this page; each may have other causes." if points else "Nothing stands out."
    return Section("What stands out", text=[text], points=points)


def _model_sections(findings: Findings) -> list[Section]:
    error, calibration = findings.error, findings.calibration
    if error is None or calibration is None:
        return [Section("Model", text=["This algorithm offers no learned dynamics, so there is no model to judge."])]
    dt = findings.env.task.dt
    horizon = error.horizon
    steps = sorted({1, (horizon + 1) // 2, horizon})
    errors = [
        Picture(
            plots.error_by_horizon(error, dt),
            "Root mean square over coordinates, each in units of its own standard deviation in the data (1: as bad as "
            f"guessing). From {error.count[0]} start points; orange is the spread of the model's own particles, which "
            "meets the blue line where the model knows how wrong it is.",
        ),
        Picture(
            plots.error_by_coordinate(error, findings.names),
            "The same error coordinate by coordinate, the hardest first.",
        ),
    ]
    numbers = ", ".join(f"{100 * calibration.error(step):.1f} % at {step}" for step in steps)
    honest = [
        Picture(
            plots.reliability(calibration, steps),
            "Share of real values inside the model's central intervals against the share that should be. Below the "
            f"diagonal the model is too sure. Mean distance from the diagonal: {numbers} steps ahead.",
        ),
        Picture(
            plots.pit_histogram(calibration, 1),
            "Where real values fell within the distribution predicted one step ahead (probability integral transform). "
            "Flat is honest; a valley means too sure, a hill too cautious, a slope a bias.",
        ),
    ]
    held = {step: np.interp((0.5, 0.8, 0.9, 0.95), LEVELS, calibration.pooled(step)) for step in steps}
    coverage = Table(
        ("steps ahead", "inside the 50 % interval", "80 %", "90 %", "95 %"),
        [[str(step), *(f"{100 * share:.0f} %" for share in shares)] for step, shares in held.items()],
    )
    held_out = (
        "Judged on the evaluation episodes, which the model has not been fitted to. From points along them it is "
        "rolled forward without correction under the actions that were really executed."
    )
    return [
        Section("Model error by horizon", text=[held_out], pictures=errors),
        Section("Calibration", ["Does reality fall where the model says it will?"], pictures=honest, table=coverage),
    ]


def _plan_sections(findings: Findings) -> list[Section]:
    if not findings.plans or findings.problem is None:
        return []
    plans, dt, episode = findings.plans, findings.env.task.dt, findings.episode
    total = np.append(0, np.cumsum(real_reward(findings.problem, episode)))
    panels = [
        Picture(
            plots.plan_against_reality(total, plots.expected_reward(plans, total), dt, "total reward"), size="small"
        )
    ]
    real = unwrapped(findings.env.space, episode)
    for i in range(min(real.shape[1], PANELS)):
        turns = real[:, i] - np.append(episode.x[:, i], episode.x_next[-1, i])  # whole turns that were unwrapped
        bands = [(plan.start, plan.xs[:, :, i] + turns[plan.start]) for plan in plans]
        panels.append(Picture(plots.plan_against_reality(real[:, i], bands, dt, findings.names[i]), size="small"))
    for j in range(min(episode.u.shape[1], PANELS)):
        bands = [(plan.start, plan.us[None, :, j]) for plan in plans]
        panels.append(Picture(plots.plan_against_reality(episode.u[:, j], bands, dt, f"action u[{j}]"), size="small"))
    text = (
        "The first evaluation episode. At a few moments a plan is made afresh from the real state; lines are what the "
        "model then expects (median over particles), bands the middle 90 %, in the coordinate's own unit. The "
        "controller plans again at every step, so reality may leave a plan because a better one was found."
    )
    hidden = real.shape[1] - PANELS
    rest = [f"The first {PANELS} of {real.shape[1]} coordinates are shown."] if hidden > 0 else []
    legend = [("var(--ink)", "what happened")]
    legend += [(f"var(--s{i})", f"planned at {plan.start * dt:.3g} s") for i, plan in enumerate(plans)]
    return [Section("Plan against reality", text=[text, *rest], legend=legend, pictures=panels)]


def _video_section(run: Any, findings: Findings, seed: int) -> Section:
    """The film, or why there is none."""
    from forethought.report.recording import film_to_bytes

    try:
        content = film_to_bytes(findings.env, findings.controller, findings.episode, seed=seed)
    except Exception as problem:  # noqa: BLE001 - a renderer may fail in any way (no display, no driver); the page goes on
        reason = str(problem).strip().splitlines()
        why = reason[0] if reason else type(problem).__name__
        return Section("Video", text=[f"There is no video: the environment could not be drawn here ({why})."])
    return Section("Video", text=[f"One evaluation episode of {run.info['env']['name']}, in real time."], video=content)


def _record_sections(info: Any) -> list[Section]:
    made_with = [*flat(info.get("versions")), *flat(info.get("git"), "git"), *flat(info.get("hardware"))]
    about = [
        (key, str(info[key])) for key in ("status", "reason", "seed", "created", "updated") if info.get(key) is not None
    ]
    about += [
        *flat(info.get("env"), "env"),
        *flat(info.get("budget"), "budget"),
        *flat(info.get("standing"), "standing"),
    ]
    settings = list(flat_settings(info["algorithm"]))
    tables: Sequence[tuple[str, Sequence[tuple[str, str]]]] = (
        (f"Settings of {algorithm_name(info)}", settings),
        ("The run", about),
        ("Versions and machine", made_with),
    )
    return [Section(title, table=Table((), rows), folded=True) for title, rows in tables if rows]
