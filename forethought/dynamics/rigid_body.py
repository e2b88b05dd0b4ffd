"""Rigid bodies joined by hinges and slides in a tree: equations of motion and their derivatives, in JAX.

Symbols (L links, one for each joint; all spatial vectors in world coordinates, see `forethought.dynamics.spatial`)
    x = [q; v] [2L]            joint positions (rad or m) and velocities;  u [m] controls of the motors
    E_i, T_i [4, 4]            pose of link i seen from its parent p(i), and from the world:  T_i = T_p(i) E_i
    S_i [6]                    motion of link i for a unit of v_i
    V_i = sum over j <= i of S_j v_j          velocity; j <= i: j is i or an ancestor of it
    Sd_i = V_p(i) x S_i = V_i x S_i           time derivative of S_i
    A_i = sum over j <= i of S_j a_j + Sd_j v_j, less gravity          acceleration, with a = dv/dt
    P_i, W_i; f_i = I_i A_i + V_i x* I_i V_i          inertia, its time derivative, and the force that moves link i
    P^c_i, W^c_i, f^c_i        the same summed over all j >= i: link i and its descendants
    ID_i(q, v, a) = S_i' f^c_i + armature_i a_i       inverse dynamics;  M = dID/da,  bias = ID(q, v, 0)
    M a + bias + damping v + stiffness (q - rest) = gear u    (implicit damping: v + h a instead of v, h the time step)
At q = reference, all frames are parallel to the world's axes, with their origins at the joints.
Source: Featherstone (2008), tables 5.1 and 6.2 (RNEA, CRBA); derivatives: Singh, Russell & Wensing (2022), "Efficient
analytical derivatives of rigid-body dynamics using spatial vector algebra"; Carpentier & Mansard (2018).
Differs: in world coordinates all recursions except that of T are sums with constant masks, for all links at once.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from forethought.core import Delta
from forethought.core.linalg import solve_psd
from forethought.core.small_matrices import eliminate, matmul, matvec
from forethought.dynamics.integrate import rk4
from forethought.dynamics.mujoco.kinematic_tree import (
    link_inertias,
    link_parents,
    motor_gears,
    require_tree,
    switched_off,
)
from forethought.dynamics.spatial import (
    coriolis_times,
    cross,
    each_times,
    inertia_times,
    move_force,
    move_motion,
    products,
    skew,
    transposed_coriolis_times,
    twist,
)

FEW = 16  # largest number of joints for which elimination (one fused operation per joint) is faster than LAPACK


class RigidBody(eqx.Module):
    """A tree of links without contacts; `x' = f(x, u)` over `dt`."""

    parents: tuple[int, ...] = eqx.field(
        static=True
    )  # index of each link's parent, smaller than its own; -1 is the world
    hinges: tuple[bool, ...] = eqx.field(static=True)  # whether each joint is a hinge; otherwise it is a slide
    axis: Float[Array, "L 3"]  # of each joint at the reference, unit length
    offset: Float[Array, "L 3"]  # of each joint from its parent's, m
    inertia: Float[Array, "L 4 4"]  # pseudo-inertia of each link at the reference, about its joint; kg m^2, kg m, kg
    reference: Float[Array, "L"]  # joint positions at which frames are parallel to the world's
    gear: Float[Array, "L m"]  # generalized force for each unit of control
    armature: Float[Array, "L"]  # inertia of the rotors, kg m^2 or kg
    damping: Float[Array, "L"]  # N m s/rad or N s/m
    stiffness: Float[Array, "L"]  # of springs, N m/rad or N/m
    rest: Float[Array, "L"]  # rest position of springs, rad or m
    gravity: Float[Array, "3"]  # m/s^2
    dt: float = eqx.field(static=True)  # s per action
    substeps: int = eqx.field(static=True, default=1)  # of the integrator within dt
    runge_kutta: bool = eqx.field(static=True, default=False)  # fourth-order Runge-Kutta; otherwise semi-implicit Euler
    implicit_damping: bool = eqx.field(static=True, default=True)  # Euler: damping acts on the velocity after the step

    @staticmethod
    def from_mujoco(model: mujoco.MjModel, *, frame_skip: int = 1) -> "RigidBody":
        """The system of a MuJoCo model, with its integrator; controls are not clipped to their range.

        Args:
            model: compiled; see `forethought.dynamics.mujoco.simulator.load_model`.
            frame_skip: simulator steps per action.
        Raises: UsageError that names every unsupported part, such as contacts, free joints and tendons.
        """
        if frame_skip < 1:
            raise ValueError(f"frame_skip must be at least 1 simulator step, got {frame_skip}.")
        require_tree(model)
        euler = model.opt.integrator == mujoco.mjtIntegrator.mjINT_EULER
        data = mujoco.MjData(model)
        data.qpos[:] = model.qpos0
        mujoco.mj_kinematics(model, data)
        parents = link_parents(model)
        above = np.array([data.xanchor[p] if p >= 0 else np.zeros(3) for p in parents])
        return RigidBody(
            parents=parents,
            hinges=tuple(bool(kind == mujoco.mjtJoint.mjJNT_HINGE) for kind in model.jnt_type),
            axis=jnp.asarray(data.xaxis),
            offset=jnp.asarray(data.xanchor - above),
            inertia=jnp.asarray(link_inertias(model, data)),
            reference=jnp.asarray(model.qpos0),
            gear=jnp.asarray(motor_gears(model)),
            armature=jnp.asarray(model.dof_armature),
            damping=jnp.asarray(model.dof_damping * (not switched_off(model, "damper"))),
            stiffness=jnp.asarray(model.jnt_stiffness * (not switched_off(model, "spring"))),
            rest=jnp.asarray(model.qpos_spring),
            gravity=jnp.asarray(model.opt.gravity * (not switched_off(model, "gravity"))),
            dt=model.opt.timestep * frame_skip,
            substeps=frame_skip,
            runge_kutta=bool(model.opt.integrator == mujoco.mjtIntegrator.mjINT_RK4),
            implicit_damping=not (euler and switched_off(model, "eulerdamp")),
        )

    def __call__(self, x: Float[Array, "n"], u: Float[Array, "m"], t: Int[Array, ""]) -> Delta:
        """The state after `dt`."""
        del t
        if self.runge_kutta:
            return Delta(rk4(self.derivative, x, u, dt=self.dt, substeps=self.substeps, unrolled=False))
        if self.substeps == 1:
            return Delta(self._euler(x, u))
        return Delta(jax.lax.fori_loop(0, self.substeps, lambda _, x: self._euler(x, u), x))

    def draw(self, *, key: PRNGKeyArray) -> "RigidBody":
        """The same dynamics: they have no model uncertainty."""
        del key
        return self

    def derivative(self, x: Float[Array, "n"], u: Float[Array, "m"]) -> Float[Array, "n"]:
        """`dx/dt`."""
        q, v = jnp.split(x, 2)
        return jnp.concatenate([v, acceleration(self, q, v, u)])

    def _euler(self, x: Float[Array, "n"], u: Float[Array, "m"]) -> Float[Array, "n"]:
        """One semi-implicit Euler step: positions change by the new velocities."""
        h = self.dt / self.substeps
        q, v = jnp.split(x, 2)
        v = v + h * acceleration(self, q, v, u)
        return jnp.concatenate([q + h * v, v])

    def frames(self, q: Float[Array, "L"]) -> Float[Array, "L 4 4"]:
        """T_i: the pose of each link, which maps [r; 1] in the link's frame to T_i [r; 1] in the world."""
        return _frames(_cast(self, q.dtype), q)

    def mass_matrix(self, q: Float[Array, "L"]) -> Float[Array, "L L"]:
        """The mass matrix M, including armature."""
        return _mass_and_bias(_cast(self, q.dtype), q, jnp.zeros_like(q))[0]

    def inverse_dynamics(self, q: Float[Array, "L"], v: Float[Array, "L"], a: Float[Array, "L"]) -> Float[Array, "L"]:
        """ID(q, v, a): the generalized forces that produce accelerations `a`, without damping and springs."""
        return _inverse_dynamics(_cast(self, q.dtype), q, v, a)

    def energy(self, x: Float[Array, "n"]) -> Float[Array, ""]:
        """Kinetic and potential energy, including springs, in J; that of gravity is zero at height 0."""
        body = _cast(self, x.dtype)
        q, v = jnp.split(x, 2)
        first_moments = jnp.sum(each_times(_frames(body, q)[:, :3], body.inertia[:, :, 3]), axis=0)
        springs = 0.5 * jnp.sum(body.stiffness * (q - body.rest) ** 2)
        return 0.5 * v @ body.mass_matrix(q) @ v - body.gravity @ first_moments + springs


@eqx.filter_custom_jvp
def acceleration(body: RigidBody, q: Float[Array, "L"], v: Float[Array, "L"], u: Float[Array, "m"]):
    """dv/dt [L] (rad/s^2 or m/s^2); differentiable, with analytic derivatives with respect to q, v and u."""
    body = _cast(body, q.dtype)
    M, bias = _mass_and_bias(body, q, v)
    force = matvec(body.gear, u) - bias - body.damping * v - body.stiffness * (q - body.rest)
    return _solve(M + _implicit_damping(body), force[:, None])[:, 0]


@acceleration.def_jvp
def _acceleration_jvp(primals, tangents):
    """`M da = gear du - (dID/dq + stiffness) dq - (dID/dv + damping) dv`, at the acceleration itself."""
    body, q, v, u = primals
    body_dot, *dots = tangents
    a = acceleration(body, q, v, u)
    typed, L = _cast(body, q.dtype), q.shape[0]
    by_q, by_v, M = inverse_derivatives(typed, q, v, a)
    right = [-by_q - jnp.diag(typed.stiffness), -by_v - jnp.diag(typed.damping), typed.gear]
    if jax.tree.leaves(body_dot):
        right.append(-jnp.eye(L, dtype=q.dtype))
        _, change = eqx.filter_jvp(lambda body: _balance(_cast(body, q.dtype), q, v, u, a), (body,), (body_dot,))
        dots.append(change)
    rates = _solve(M + _implicit_damping(typed), jnp.concatenate(right, axis=1))
    blocks = jnp.split(rates, np.cumsum([block.shape[1] for block in right])[:-1], axis=1)
    moved = [matvec(by, dot) for by, dot in zip(blocks, dots, strict=True) if dot is not None]
    return a, sum(moved, jnp.zeros_like(a))


def _balance(body: RigidBody, q, v, u, a) -> Float[Array, "L"]:
    """The equations of motion as a residual: required forces minus acting forces, zero at the true `a`."""
    passive = body.damping * v + body.stiffness * (q - body.rest) + matvec(_implicit_damping(body), a)
    return _inverse_dynamics(body, q, v, a) + passive - matvec(body.gear, u)


def inverse_derivatives(
    body: RigidBody, q: Float[Array, "L"], v: Float[Array, "L"], a: Float[Array, "L"]
) -> tuple[Float[Array, "L L"], Float[Array, "L L"], Float[Array, "L L"]]:
    """dID/dq, dID/dv and dID/da = M, at the accelerations `a`.

    For j <= i, with Sdd_j = A_p(j) x S_j + V_p(j) x Sd_j,
        dID_i/dq_j = S_i'(2 B^c_i Sd_j + I^c_i Sdd_j)     dID_j/dq_i = S_j'(2 B^c_i Sd_i + I^c_i Sdd_i + S_i x* f^c_i)
        dID_i/dv_j = 2 S_i'(B^c_i S_j + I^c_i Sd_j)       dID_j/dv_i = 2 S_j'(B^c_i S_i + I^c_i Sd_i)
    Source: Singh, Russell & Wensing (2022), for joints of one degree of freedom.
    """
    below = _mask(body, q.dtype)
    S, P = _world(body, q)
    V, Sd, A = _motion(body, S, v, a)
    Sdd = move_motion(A - Sd * v[:, None] - S * a[:, None], S) + move_motion(V - S * v[:, None], Sd)
    force = _subtree_sums(body, _forces(P, V, A))
    P, W = _subtree_sums(body, P), _subtree_sums(body, jax.vmap(matmul)(twist(V), P))
    IS, BS = inertia_times(P, S), transposed_coriolis_times(W, S)
    lower_q = 2 * products(BS, Sd[:, :3]) + products(IS, Sdd)
    lower_v = 2 * (products(BS, S[:, :3]) + products(IS, Sd))
    upper_q = products(S, 2 * coriolis_times(W, Sd) + inertia_times(P, Sdd) + move_force(S, force))
    upper_v = products(S, 2 * (coriolis_times(W, S) + inertia_times(P, Sd)))
    above = below.T - jnp.eye(q.shape[0], dtype=q.dtype)
    M = _symmetric(below * products(IS, S)) + jnp.diag(body.armature)
    return below * lower_q + above * upper_q, below * lower_v + above * upper_v, M


def _mass_and_bias(body: RigidBody, q, v) -> tuple[Float[Array, "L L"], Float[Array, "L"]]:
    """M and bias.  M_ij = S_i' I^c_i S_j for j <= i."""
    S, P = _world(body, q)
    V, _, A = _motion(body, S, v, jnp.zeros_like(v))
    bias = jnp.sum(S * _subtree_sums(body, _forces(P, V, A)), axis=1)
    lower = _mask(body, q.dtype) * products(inertia_times(_subtree_sums(body, P), S), S)
    return _symmetric(lower) + jnp.diag(body.armature), bias


def _inverse_dynamics(body: RigidBody, q, v, a) -> Float[Array, "L"]:
    S, P = _world(body, q)
    V, _, A = _motion(body, S, v, a)
    return jnp.sum(S * _subtree_sums(body, _forces(P, V, A)), axis=1) + body.armature * a


def _frames(body: RigidBody, q) -> Float[Array, "L 4 4"]:
    """E_i by Rodrigues' formula, for all links at once; then T_i, from the root outward."""
    angle = q - body.reference
    turns, eye = np.array(body.hinges), jnp.eye(3, dtype=q.dtype)
    sin, cos = jnp.sin(angle)[:, None, None], jnp.cos(angle)[:, None, None]
    outer = body.axis[:, :, None] * body.axis[:, None]
    R = jnp.where(turns[:, None, None], cos * eye[None] + sin * skew(body.axis) + (1 - cos) * outer, eye[None])
    p = body.offset + jnp.where(turns[:, None], 0, body.axis * angle[:, None])
    last = jnp.broadcast_to(jnp.array([0, 0, 0, 1], q.dtype), (q.shape[0], 1, 4))
    E = jnp.concatenate([jnp.concatenate([R, p[:, :, None]], axis=2), last], axis=1)
    T: list[Array] = []
    for i, parent in enumerate(body.parents):
        T.append(E[i] if parent < 0 else matmul(T[parent], E[i]))
    return jnp.stack(T)


def _world(body: RigidBody, q) -> tuple[Float[Array, "L 6"], Float[Array, "L 4 4"]]:
    """S and P."""
    T = _frames(body, q)
    axis = each_times(T[:, :3, :3], body.axis)
    hinge = jnp.concatenate([axis, cross(T[:, :3, 3], axis)], axis=1)
    slide = jnp.concatenate([jnp.zeros_like(axis), axis], axis=1)
    S = jnp.where(np.array(body.hinges)[:, None], hinge, slide)
    each = jax.vmap(matmul)
    return S, each(each(T, body.inertia), jnp.swapaxes(T, 1, 2))


def _motion(body: RigidBody, S, v, a) -> tuple[Float[Array, "L 6"], Float[Array, "L 6"], Float[Array, "L 6"]]:
    """V, Sd and A."""
    below = _mask(body, S.dtype)
    V = _sums(below, S * v[:, None])
    Sd = move_motion(V, S)
    gravity = jnp.concatenate([jnp.zeros_like(body.gravity), body.gravity])
    return V, Sd, _sums(below, S * a[:, None] + Sd * v[:, None]) - gravity[None]


def _forces(P, V, A) -> Float[Array, "L 6"]:
    """The forces f that move each link."""
    return inertia_times(P, A) + move_force(V, inertia_times(P, V))


def _mask(body: RigidBody, dtype) -> Float[Array, "L L"]:
    """1 where j <= i, in row i and column j."""
    below = np.eye(len(body.parents))
    for i, parent in enumerate(body.parents):
        if parent >= 0:
            below[i] += below[parent]
    return jnp.asarray(below, dtype)


def _subtree_sums(body: RigidBody, each: Float[Array, "L *k"]) -> Float[Array, "L *k"]:
    """The sum over each link and its descendants."""
    return _sums(_mask(body, each.dtype).T, each)


def _sums(mask: Float[Array, "L L"], each: Float[Array, "L *k"]) -> Float[Array, "L *k"]:
    return jnp.sum(mask.reshape(*mask.shape, *[1] * (each.ndim - 1)) * each[None], axis=1)


def _symmetric(lower: Float[Array, "L L"]) -> Float[Array, "L L"]:
    return lower + lower.T - jnp.diag(jnp.diagonal(lower))


def _implicit_damping(body: RigidBody) -> Float[Array, "L L"]:
    """The term that implicit damping adds to M."""
    implicit = body.implicit_damping and not body.runge_kutta
    return jnp.diag(body.damping * (body.dt / body.substeps if implicit else 0.0))


def _solve(M: Float[Array, "L L"], right: Float[Array, "L k"]) -> Float[Array, "L k"]:
    """`inv(M) right`."""
    L = M.shape[0]
    return eliminate(jnp.concatenate([M, right], axis=1), range(L))[0][:, L:] if L <= FEW else solve_psd(M, right)


def _cast(body: RigidBody, dtype) -> RigidBody:
    """The same body in the dtype of the state."""
    return jax.tree.map(lambda a: a.astype(dtype), body)
