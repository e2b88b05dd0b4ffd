"""Tree search with known rules: Gumbel MuZero and PUCT, by mctx on an exact model.

Notation
    s, a        position, move; N(s, a) visits, Q(s, a) mean value for the player to move in s, P(a | s) prior
    simulation  one descent of the tree, which adds and evaluates one position
The game is zero-sum: a value is for the player to move, and its sign changes from one ply to the next (discount -1);
the end of a game has discount 0 and its outcome as the reward of the player who moved.
Values lie in [-1, 1] by the rules and are compared without rescaling.

Differs: mctx, like MuZero, rescales values to [0, 1] among siblings.  With values from single playouts, a
negligible difference (-0.95 and -1) then becomes the largest possible one, and a move whose first playout was lost is
never tried again, even if it is the only defense against four in a row.
Differs: proven values are distinguished from sampled ones (`forethought.games.proofs`).
"""

from functools import partial
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core.settings import settings
from forethought.games.evaluation import Evaluator
from forethought.games.proofs import prove_after_each, respect_proofs
from forethought.games.rules import Position, Rules, need

TIE_BREAK = 1e-3  # largest random addition to log-probabilities: orders moves of equal prior at random


class Choice(eqx.Module):
    """The result of a search."""

    move: Int[Array, ""]
    weights: Float[Array, "A"]  # improved policy; a target for learning a prior
    value: Float[Array, ""]  # expected outcome for the player to move, in [-1, 1]


@runtime_checkable
class Search(Protocol):
    """Settings of a tree search (frozen, hashable)."""

    @property
    def simulations(self) -> int: ...

    def search(self, rules: Rules, position: Position, evaluate: Evaluator, *, key: PRNGKeyArray) -> Choice:
        """The move to make in `position`, which must not be the end of the game."""
        ...


@settings
class GumbelSearch:
    """Settings of Gumbel MuZero: sequential halving of the moves considered at the root.

    Source: Danihelka et al. (2022), algorithm 2 and section 5.
    """

    simulations: int = 200  # positions evaluated per move
    considered: int = 16  # moves compared at the root
    noise: float = 0.0  # scale of the Gumbel noise at the root: 1 to explore while learning, 0 to play
    value_scale: float = 0.1  # c_scale: weight of values against the prior
    visit_offset: float = 50.0  # c_visit: visits added to the largest count in that weight
    proofs: bool = True  # propagate results of finished games up the tree by minimax

    def __post_init__(self):
        """Check the settings."""
        _check_positive(self, ("simulations", "considered", "value_scale"))
        if self.noise < 0:
            raise ValueError(f"GumbelSearch.noise must not be negative, got {self.noise}.")

    def search(self, rules: Rules, position: Position, evaluate: Evaluator, *, key: PRNGKeyArray) -> Choice:
        """Sequential halving at the root; below it, the improved policy."""
        mctx = need("mctx")
        scale = partial(
            mctx.qtransform_completed_by_mix_value,
            value_scale=self.value_scale,
            maxvisit_init=self.visit_offset,
            rescale_values=False,
        )
        policy = partial(
            mctx.gumbel_muzero_policy,
            qtransform=scale,
            max_num_considered_actions=min(self.considered, rules.game.moves),
            gumbel_scale=self.noise,
        )
        return _run(policy, self, rules, position, evaluate, key)


@settings
class PUCTSearch:
    """Settings of PUCT: descend by `Q(s, a) + c P(a | s) sqrt(N(s)) / (1 + N(s, a))`, play the most visited move.

    Q is scaled to [0, 1] (0: lost, 1: won); an untried move counts as lost.
    Source: Schrittwieser et al. (2020), appendix B.
    """

    simulations: int = 200  # positions evaluated per move
    exploration: float = 1.25  # c_1: weight of the prior against values
    exploration_base: float = 19652.0  # c_2: visits after which the weight begins to grow
    dirichlet_share: float = 0.0  # share of noise in the root's prior: 0.25 to explore while learning, 0 to play
    dirichlet_alpha: float = 0.3  # concentration of that noise
    temperature: float = 0.0  # 0: the most visited move; 1: sampled in proportion to visits
    proofs: bool = True  # propagate results of finished games up the tree by minimax

    def __post_init__(self):
        """Check the settings."""
        _check_positive(self, ("simulations", "exploration", "exploration_base", "dirichlet_alpha"))
        if not 0 <= self.dirichlet_share <= 1:
            raise ValueError(f"PUCTSearch.dirichlet_share must be in [0, 1], got {self.dirichlet_share}.")
        if self.temperature < 0:
            raise ValueError(f"PUCTSearch.temperature must not be negative, got {self.temperature}.")

    def search(self, rules: Rules, position: Position, evaluate: Evaluator, *, key: PRNGKeyArray) -> Choice:
        """The most visited move, or one sampled in proportion to visits."""
        mctx = need("mctx")
        policy = partial(
            mctx.muzero_policy,
            qtransform=partial(mctx.qtransform_by_min_max, min_value=-1.0, max_value=1.0),
            dirichlet_fraction=self.dirichlet_share,
            dirichlet_alpha=self.dirichlet_alpha,
            pb_c_init=self.exploration,
            pb_c_base=self.exploration_base,
            temperature=self.temperature,
        )
        return _run(policy, self, rules, position, evaluate, key)


def _run(policy: Any, settings: Any, rules: Rules, position: Position, evaluate: Evaluator, key) -> Choice:
    """Search from one position with a policy of mctx, which expects a batch."""
    mctx = need("mctx")
    root_key, tie_key, search_key = jr.split(key, 3)
    here, sensible = evaluate(rules, position, key=root_key), rules.sensible(position)
    logits = here.prior_logits + TIE_BREAK * jr.gumbel(tie_key, here.prior_logits.shape)
    root = mctx.RootFnOutput(prior_logits=logits[None], value=here.value[None], embedding=_batch(position))
    with jax.numpy_rank_promotion("allow"):  # mctx's code relies on it
        found = policy(
            params=(),
            rng_key=search_key,
            root=root,
            recurrent_fn=partial(_expand, rules, evaluate),
            num_simulations=settings.simulations,
            invalid_actions=~sensible[None],
            loop_fn=prove_after_each if settings.proofs else jax.lax.fori_loop,
        )
    tree = jax.tree.map(lambda leaf: leaf[0], found.search_tree)
    allowed, weights, value = respect_proofs(tree, found.action_weights[0], sensible)
    move = jnp.where(allowed[found.action[0]], found.action[0], jnp.argmax(weights))
    return Choice(move, weights, value)


def _expand(rules: Rules, evaluate: Evaluator, params: Any, key: PRNGKeyArray, moves: Array, positions: Position):
    """The model for mctx: maps positions and moves to rewards, discounts and evaluations of the next positions."""
    del params
    mctx = need("mctx")

    def one(position: Position, move: Array, key: PRNGKeyArray):
        after = rules.play(position, move)
        evaluation = evaluate(rules, after, key=key)
        reward = jnp.where(position.over, 0.0, after.outcome[position.mover])
        return after, reward, jnp.where(after.over, 0.0, -1.0), evaluation

    after, reward, discount, evaluation = jax.vmap(one)(positions, moves, jr.split(key, moves.shape[0]))
    output = mctx.RecurrentFnOutput(
        reward=reward, discount=discount, prior_logits=evaluation.prior_logits, value=evaluation.value
    )
    return output, after


def _batch(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[None], tree)


def _check_positive(settings: Any, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(settings, name) <= 0:
            raise ValueError(f"{type(settings).__name__}.{name} must be positive, got {getattr(settings, name)}.")
