"""Reference values of test_statistics.py, computed by rliable 1.2.0 (arch 7.2.0, pandas 2.3.3), in minutes:

python -m venv /tmp/rliable && /tmp/rliable/bin/pip install rliable==1.2.0 'pandas<3'
/tmp/rliable/bin/python tests/report/rliable_reference.py
"""

import numpy as np


def scores():
    """Seven runs of x and five of y on three tasks."""
    rng = np.random.RandomState(7)
    return rng.normal(1.0, 1.0, (7, 3)).round(3), rng.normal(0.5, 2.0, (5, 3)).round(3)


if __name__ == "__main__":
    from rliable import library, metrics

    x, y = scores()
    np.random.seed(0)
    print(
        library.get_interval_estimates(
            {"x": x, "y": y}, lambda one: np.array([metrics.aggregate_iqm(one)]), reps=50_000
        ),
        library.get_interval_estimates(
            {"x,y": (x, y)}, lambda one, two: np.array([metrics.probability_of_improvement(one, two)]), reps=20_000
        ),
        sep="\n",
    )
