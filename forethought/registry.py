"""The names of algorithms, models, planners and games on the command line, and the locations of their settings.

Nothing is imported here; `forethought list` shows the first line of the file of each name.
"""

ALGORITHMS = {
    "backprop": "forethought.algorithms.backprop:Backprop",
    "dyna-q": "forethought.algorithms.dyna_q:DynaQ",
    "dyna-q-plus": "forethought.algorithms.dyna_q_plus:DynaQPlus",
    "fit-once": "forethought.algorithms.fit_once:FitOnce",
    "gps": "forethought.algorithms.gps:GPS",
    "iterative": "forethought.algorithms.iterative:Iterative",
    "known-mpc": "forethought.algorithms.known_mpc:KnownMPC",
    "local-models": "forethought.algorithms.local_models:LocalModels",
    "mb-mf": "forethought.algorithms.mb_mf:MBMF",
    "mbpo": "forethought.algorithms.mbpo:MBPO",
    "mpc": "forethought.algorithms.mpc:LearnedMPC",
    "pets": "forethought.algorithms.pets:PETS",
    "pilco": "forethought.algorithms.pilco:PILCO",
    "policy-gradient": "forethought.algorithms.policy_gradient:PolicyGradient",
    "prioritized-sweeping": "forethought.algorithms.prioritized_sweeping:PrioritizedSweeping",
    "ppo": "forethought.algorithms.ppo:PPO",
    "ppo-images": "forethought.algorithms.ppo_images:PPOImages",
    "sac": "forethought.algorithms.sac:SAC",
    "value-gradients": "forethought.algorithms.value_gradients:ValueGradients",
}

STUDENTS = {
    "dynamics": "forethought.algorithms.distill:DistillDynamics",
    "policy": "forethought.algorithms.distill:DistillPolicy",
    "games": "forethought.algorithms.distill_games:DistillGames",
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
    "gmm": "forethought.models.gmm:GMM",
    "gp": "forethought.models.gp.process:GP",
}

MODEL_FREE = {name: ALGORITHMS[name] for name in ("policy-gradient", "ppo", "ppo-images", "sac")}

LEARNERS = {
    "sac": "forethought.learners.sac:SACLearner",
}

BASE_POLICIES = {
    "function": "forethought.policies.base_policy:ControllerFunction",
    "random": "forethought.policies.base_policy:RandomPolicy",
}

PRIORS = {
    "gmm": "forethought.algorithms.local_priors:MixturePrior",
    "model": "forethought.algorithms.local_priors:ModelPrior",
    "none": "forethought.algorithms.local_priors:NoPrior",
}

SEARCHES = {
    "gumbel": "forethought.games.tree_search:GumbelSearch",
    "puct": "forethought.games.tree_search:PUCTSearch",
}

# The names that a settings field accepts, by its annotation: `planner: Planner` accepts all planners.
# A field annotated with one of these classes, such as `model: GP`, accepts only this class.
CHOICES = {
    "forethought.core.protocols:Planner": PLANNERS,
    "forethought.core.protocols:Regression": MODELS,
    "forethought.learners.off_policy:OffPolicyLearner": LEARNERS,
    "forethought.algorithms.protocol:StartsFromPolicy": MODEL_FREE,
    "forethought.policies.base_policy:BasePolicy": BASE_POLICIES,
    "forethought.algorithms.local_priors:Prior": PRIORS,
}
