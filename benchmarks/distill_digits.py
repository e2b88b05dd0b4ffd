"""Soft labels: an ensemble of classifiers distilled to one student, on scikit-learn's handwritten digits.

    python benchmarks/distill_digits.py               # reporting seeds; continues where it stopped
    python benchmarks/distill_digits.py --draw        # run nothing: table and figure from saved results
    python benchmarks/distill_digits.py --quick       # tiny sizes, nothing saved: does everything run?

Each seed draws 150 labeled digits, 750 without their labels, and 897 for the test.  Ten networks are trained on the
labels; their ensemble labels the 900 digits, and mixtures of two of them; students of the size of one network are
fitted to these labels by each loss and temperature.  "single" is the mean of the ten networks.  "hard labels" is the
student of the ensemble's choices.  Costs are times per image on one core.
Results of each seed go to benchmarks/results/distill_digits.json as they come, the figure to
docs/img/distill_digits.svg and the table to docs/distillation.md.  Settings were chosen on seed 100.
"""

import argparse
import sys
import time
from dataclasses import asdict
from typing import Any

from common import RESULTS, ROOT
from page import DOCS, interval_text, put_table, save_figure
from rows import REPORTING_SEEDS, Rows, fill, reporting

sys.path.insert(0, str(ROOT))

import equinox as eqx  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import jax.random as jr  # noqa: E402
import numpy as np  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from forethought.learners.soft_labels import SoftLabels  # noqa: E402
from forethought.models.categorical import CategoricalEnsemble, CategoricalNetwork  # noqa: E402
from forethought.networks.normalizer import Normalizer  # noqa: E402
from forethought.report.class_scores import ClassScores  # noqa: E402

NAME = "distill_digits"
LABELED, POOL, MIXTURES = 150, 900, 6000  # rows: with labels; with and without; made of two digits each
MEMBERS, HIDDEN = 10, (32, 32)
TRAINING = SoftLabels(label_weight=1.0, updates=600, batch=32, weight_decay=0.01)  # of each network, on labels
STUDENT = {"updates": 3000, "batch": 128}
TEMPERATURES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
DRAWN = 2.0  # temperature of the student that the figure shows
STUDENTS = [("kl", T) for T in TEMPERATURES] + [("nll", 1.0), ("mse", 1.0)]
PICTURES = 6  # ambiguous digits of the figure
probs_of = eqx.filter_jit(lambda model, xs: jax.vmap(lambda x: model(x).probs)(xs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(REPORTING_SEEDS))
    parser.add_argument("--quick", action="store_true", help="tiny sizes, nothing saved: does everything run?")
    parser.add_argument("--draw", action="store_true", help="run nothing: table and figure from saved results")
    flags = parser.parse_args()
    if not flags.draw:
        fill("digits", NAME, rows(flags), quick=flags.quick)
    found = reporting(NAME) if (RESULTS / f"{NAME}.json").exists() else []
    if found and not flags.quick:
        put_table(DOCS / "distillation.md", "digits", table(found))
        save_figure(NAME, lambda figure: draw(figure, found), width=11, height=3.6)


def rows(flags: argparse.Namespace) -> Rows:
    """One row for each seed."""
    for seed in flags.seeds[:1] if flags.quick else flags.seeds:
        yield {"seed": seed}, lambda seed=seed: measured(seed, quick=flags.quick)


def measured(seed: int, *, quick: bool) -> dict[str, Any]:
    """Scores of single networks, ensemble and students, and their costs."""
    from sklearn.datasets import load_digits

    digits, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(digits))
    images, labels = (digits[order] / 16).astype(np.float32), classes[order].astype(np.int32)
    test = images[POOL:], labels[POOL:]
    ensemble = trained_ensemble(images[:LABELED], labels[:LABELED], seed, quick=quick)
    inputs = np.concatenate([images[:POOL], mixtures(images[:POOL], seed)])
    teacher = jnp.log(probs_of(ensemble, inputs))
    students: dict[tuple[str, float], CategoricalNetwork] = {}
    for loss, T in STUDENTS[-3:] if quick else STUDENTS:
        how = SoftLabels(loss=loss, temperature=T, **(STUDENT | ({"updates": 20} if quick else {})))  # type: ignore
        start = new_network(jr.key(seed + 1000))
        students[loss, T] = how.fit(start, inputs, teacher, len(inputs), key=jr.key(seed + 2000))[0]
    drawn = students[STUDENTS[-1] if quick else ("kl", DRAWN)]
    singles = [asdict(scores(ensemble.member(i), *test)) for i in range(MEMBERS)]
    return {
        "single": {name: float(np.mean([one[name] for one in singles])) for name in singles[0]},
        "ensemble": asdict(scores(ensemble, *test)),
        "students": [{"loss": loss, "T": T} | asdict(scores(net, *test)) for (loss, T), net in students.items()],
        "cost_us": {"ensemble": cost(ensemble, test[0]), "student": cost(drawn, test[0])},
        "parameters": {"ensemble": parameters(ensemble), "student": parameters(drawn)},
        "curve": ambiguous(ensemble, drawn, *test),
    }


def new_network(key: Any) -> CategoricalNetwork:
    """A network with random weights; pixels have about this mean and standard deviation."""
    inputs = Normalizer(jnp.full(64, 0.3), jnp.full(64, 0.38))
    return CategoricalNetwork.init(inputs, 10, hidden=HIDDEN, key=key)


def trained_ensemble(xs: Any, ys: Any, seed: int, *, quick: bool) -> CategoricalEnsemble:
    """Networks with their own initial weights and order of the rows, on the same labels."""
    init_key, fit_key = jr.split(jr.key(seed))
    start = eqx.filter_jit(eqx.filter_vmap(new_network))(jr.split(init_key, MEMBERS))
    how = SoftLabels(label_weight=1.0, updates=20) if quick else TRAINING
    blank = jnp.zeros((len(xs), 10))
    networks, _ = how.fit_many(start, xs, blank, len(xs), labels=ys, keys=jr.split(fit_key, MEMBERS))
    return CategoricalEnsemble(networks)


def mixtures(images: Any, seed: int) -> Any:
    """Weighted means of two digits, which need no label but the teacher's."""
    rng = np.random.default_rng(seed + 3000)
    first, second = rng.integers(0, len(images), (2, MIXTURES))
    weight = rng.uniform(0.5, 1, (MIXTURES, 1)).astype(np.float32)
    return weight * images[first] + (1 - weight) * images[second]


def scores(model: Any, xs: Any, ys: Any) -> ClassScores:
    """On the test digits."""
    return ClassScores.of(np.asarray(probs_of(model, xs)), ys)


def cost(model: Any, xs: Any) -> float:
    """Least time of many calls, microseconds per image."""
    spent = []
    for _ in range(30):
        start = time.perf_counter()
        jax.block_until_ready(probs_of(model, xs))
        spent.append(time.perf_counter() - start)
    return 1e6 * min(spent) / len(xs)


def parameters(model: Any) -> int:
    """Numbers that are trained."""
    network = (model.networks if isinstance(model, CategoricalEnsemble) else model).network
    return sum(a.size for a in jax.tree.leaves(eqx.filter(network, eqx.is_array)))


def ambiguous(ensemble: Any, student: Any, xs: Any, ys: Any) -> list[dict[str, Any]]:
    """The test digits with the largest entropy of the ensemble."""
    p, q = np.asarray(probs_of(ensemble, xs)), np.asarray(probs_of(student, xs))
    entropy = -np.sum(p * np.log(np.maximum(p, 1e-12)), axis=1)
    rounded = lambda a: np.round(np.asarray(a, float), 3).tolist()  # noqa: E731
    return [
        {"image": rounded(xs[i]), "label": int(ys[i]), "ensemble": rounded(p[i]), "student": rounded(q[i])}
        for i in np.argsort(-entropy)[:PICTURES]
    ]


def kept(found: list[dict[str, Any]], student: dict[str, Any], name: str) -> float:
    """Share of the ensemble's gain over a single network that students keep, of means over seeds."""
    mean = {key: float(np.mean([row[key][name] for row in found])) for key in ("single", "ensemble")}
    return (values(found, student, name, np.mean) - mean["single"]) / (mean["ensemble"] - mean["single"])


def values(found: list[dict[str, Any]], student: dict[str, Any], name: str, summary: Any = list) -> Any:
    """A score of one kind of student over seeds."""
    same = [
        one for row in found for one in row["students"] if (one["loss"], one["T"]) == (student["loss"], student["T"])
    ]
    return summary([one[name] for one in same])


def table(found: list[dict[str, Any]]) -> list[list[str]]:
    """Scores of all, and what students keep of the gain."""
    head = ["", "accuracy", "NLL, nats", "ECE", "accuracy kept", "NLL kept"]
    lines = [head]
    for name in ("single", "ensemble"):
        told = [interval_text([row[name][score] for row in found]) for score in ("accuracy", "nll", "ece")]
        lines.append([{"single": "single network", "ensemble": "ensemble of 10"}[name], *told, "", ""])
    for student in found[0]["students"]:
        told = [interval_text(values(found, student, score)) for score in ("accuracy", "nll", "ece")]
        shares = [f"{kept(found, student, score):.0%}" for score in ("accuracy", "nll")]
        lines.append([label(student), *told, *shares])
    return lines


def label(student: dict[str, Any]) -> str:
    """In words."""
    return {"nll": "student, hard labels", "mse": "student, mean squared error of logits"}.get(
        student["loss"], f"student, T = {student['T']:g}"
    )


def draw(figure: Figure, found: list[dict[str, Any]]) -> None:
    """Curves over the temperature, and the soft labels of ambiguous digits."""
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.25))
    axes = left.subplots(2, 1, sharex=True)
    for axis, (name, words) in zip(axes, (("nll", "NLL (nats)"), ("accuracy", "accuracy")), strict=True):
        ys = [values(found, {"loss": "kl", "T": T}, name, np.mean) for T in TEMPERATURES]
        axis.plot(TEMPERATURES, ys, "o-", color="C0", label="student, soft labels")
        hard = values(found, {"loss": "nll", "T": 1.0}, name, np.mean)
        if name == "accuracy":
            axis.axhline(hard, color="C1", label="student, hard labels")
        else:
            axis.text(0.02, 0.86, f"student, hard labels: {hard:.2g}", color="C1", transform=axis.transAxes, fontsize=8)
        for key, style in (("ensemble", "--"), ("single", ":")):
            axis.axhline(np.mean([row[key][name] for row in found]), color="0.3", ls=style, label=key)
        axis.set_ylabel(words)
        axis.set_xscale("log", base=2)
    axes[0].margins(y=0.25)
    left.legend(*axes[1].get_legend_handles_labels(), fontsize=7, ncols=2, loc="outside upper center")
    axes[1].set_xlabel("temperature T")
    places = right.subplots(2, PICTURES, height_ratios=(1, 1.1))
    for i, one in enumerate(found[0]["curve"]):
        places[0, i].imshow(np.reshape(one["image"], (8, 8)), cmap="gray_r")
        places[0, i].set_title(f"label {one['label']}", fontsize=8)
        places[0, i].set_axis_off()
        for shift, name in ((-0.2, "ensemble"), (0.2, "student")):
            places[1, i].barh(np.arange(10) + shift, one[name], 0.4, label=name)
        places[1, i].set(yticks=range(10), xlim=(0, 1), xticks=[0, 1])
        places[1, i].tick_params(labelsize=6)
    places[1, 0].legend(fontsize=6)


if __name__ == "__main__":
    main()
