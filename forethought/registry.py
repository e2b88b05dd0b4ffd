"""The names a person types, and where the settings they stand for live.  Nothing is imported here; what
`forethought list` says about a name is the first line of the file that it lives in.
"""

ALGORITHMS = {
    "backprop": "forethought.algorithms.backprop:Backprop",
    "fit-once": "forethought.algorithms.fit_once:FitOnce",
    "iterative": "forethought.algorithms.iterative:Iterative",
    "mpc": "forethought.algorithms.mpc:LearnedMPC",
    "pets": "forethought.algorithms.pets:PETS",
    "pilco": "forethought.algorithms.pilco:PILCO",
}

PLANNERS = {
    "cem": "forethought.planning.cem:CEM",
    "gradient-shooting": "forethought.planning.gradient_shooting:GradientShooting",
    "icem": "forethought.planning.icem:ICEM",
    "ilqr": "forethought.planning.ilqr:ILQR",
    "mppi": "forethought.planning.mppi:MPPI",
    "random-shooting": "forethought.planning.random_shooting:RandomShooting",
}

MODELS = {
    "ensemble": "forethought.models.ensemble:Ensemble",
    "gp": "forethought.models.gp.process:GP",
}

BASE_POLICIES = {
    "function": "forethought.policies.base_policy:ControllerFunction",
    "random": "forethought.policies.base_policy:RandomPolicy",
}

SEARCHES = {
    "gumbel": "forethought.games.tree_search:GumbelSearch",
    "puct": "forethought.games.tree_search:PUCTSearch",
}

# The names that a field of settings takes, by the protocol that annotates it: `planner: Planner` takes all planners.
# A field annotated with one of these classes, such as `model: GP`, takes that one alone.
CHOICES = {
    "forethought.core.protocols:Planner": PLANNERS,
    "forethought.core.protocols:Regression": MODELS,
    "forethought.policies.base_policy:BasePolicy": BASE_POLICIES,
}
