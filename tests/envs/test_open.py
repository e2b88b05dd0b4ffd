import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from forethought.core import EnvironmentFailure, UsageError
from forethought.envs import open_env
from forethought.envs.functions import importable_from_here, load_function
from forethought.envs.shipped import NAMESPACE, SHIPPED

from .test_gym_env import PUSH
from .toy_envs import Linear, limited

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "JAX_PLATFORMS": "cpu"}
MODULE = """
import gymnasium
import jax.numpy as jnp
from tests.envs.toy_envs import Linear

SCALE = 3.0

class Made(Linear):
    def __init__(self, render_mode=None, bound=1e9, fail=False):
        if fail:
            raise RuntimeError("out of order")
        super().__init__(bound, render_mode)

def cost(x, u):
    return jnp.sum(x**2) + 2 * u[0] ** 2

def ended(x):
    return x[0] > 100.0

gymnasium.register("Made-v1", Made, max_episode_steps=4)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory that holds the module `someones`, and is not on the path."""
    (tmp_path / "someones.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("import not_installed_here")
    (tmp_path / "raising.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    yield tmp_path
    import gymnasium

    sys.modules.pop("someones", None)
    gymnasium.registry.pop("Made-v1", None)


def refused(said, *args, **kwargs):
    with pytest.raises(UsageError, match=said) as caught:
        open_env(*args, **kwargs)
    assert "\n" not in str(caught.value)


def test_an_environment_of_a_module_in_the_working_directory(here):
    path = list(sys.path)
    env = open_env("someones:Made-v1", cost="someones:cost", termination="someones:ended")
    assert sys.path == path
    assert env.name == "someones:Made-v1" and env.task.horizon == 4
    assert not env.learn_reward and not env.learn_termination
    episode = env.run(PUSH, key=jr.key(0))
    np.testing.assert_allclose(episode.reward, -(episode.x**2).sum(1) - 0.5, rtol=1e-5)


def test_constructor_arguments_reach_both_instances(here):
    env = open_env("someones:Made-v1", make_kwargs={"bound": -1e9})
    frames = []
    assert env.run(PUSH, key=jr.key(0)).terminated.tolist() == [True]
    assert env.run(PUSH, key=jr.key(0), frames=frames).terminated.tolist() == [True] and len(frames) == 2
    refused("raised RuntimeError: out of order", "someones:Made-v1", make_kwargs={"fail": True})
    refused("raised TypeError", "someones:Made-v1", make_kwargs={"speed": 3})


def test_names_that_do_not_exist(here):
    refused("There is no environment 'HalfCheeta-v5'; did you mean 'HalfCheetah-v5'", "HalfCheeta-v5")
    refused("did you mean 'HalfCheetah-v5'", "halfcheetah-v5")
    refused("did you mean 'HalfCheetah-v5'", "HalfCheetah-v9")
    refused("did you mean 'someones:Made-v1'", "someones:Maid-v1")
    refused("Please use `Made-v1` instead", "someones:Made-v0")
    refused("give module:Xyxyxyxyx-v0", "Xyxyxyxyx-v0")
    refused("cannot be made: Malformed", "no such thing")
    refused("Pendulum-v1", "Pendulum-v0")
    refused("No module named 'nowhere' for environment", "nowhere:Made-v1")
    refused("did you mean 'CartPoleSwingUp-v0'", "forethought/CartPoleSwingup-v0")
    refused("did you mean 'cost'", "someones:Made-v1", cost="someones:cots")
    refused("not a function", "someones:Made-v1", cost="someones:SCALE")
    refused("not of the form module:function", "someones:Made-v1", cost="cost")
    refused("No module named 'somoenes' for termination", "someones:Made-v1", termination="somoenes:ended")
    refused("No module named 'not_installed_here'.*'broken' needs it", "broken:Made-v1")
    refused("'raising'.*ZeroDivisionError", "raising:Made-v1")


def test_suggestions_name_what_the_module_registers(here):
    refused("There is no environment 'someones:Taxi-v9'; did you mean 'Taxi-v[0-9]'", "someones:Taxi-v9")
    refused("did you mean 'HalfCheetah-v5'", "someones:HalfCheeta-v5")
    refused("module 'someones' registers Made-v1", "someones:Qqqqqq-v0")


def test_a_local_file_that_is_hidden_by_an_installed_module_is_said(here):
    (here / "calendar.py").write_text("def good(x, u):\n    return x[0]\n")
    with pytest.raises(
        UsageError, match="has no function 'good'.*lib.*calendar.py; it hides calendar.py in the working directory"
    ):
        with pytest.warns(UserWarning, match="it hides calendar.py"):
            load_function("calendar:good", "cost")
    with pytest.warns(UserWarning, match="module 'calendar' is .*lib.*; it hides calendar.py"):
        load_function("calendar:monthrange", "cost")


def test_functions_of_the_running_script(tmp_path):
    """Their recorded name leads to them for whoever imports the script, and in the script itself."""
    (tmp_path / "myscript.py").write_text(
        "from forethought.envs.functions import can_be_loaded, load_function, name_of\n"
        "def cost(x, u): return x[0]\n"
        "print(name_of(cost), load_function(name_of(cost), 'cost') is cost, can_be_loaded(cost), "
        "can_be_loaded(lambda x: x), name_of(len))\n"
    )
    done = subprocess.run(
        [sys.executable, "myscript.py"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["myscript:cost", "True", "True", "False", "builtins:len"], done.stderr


def test_environments_that_moved_away():
    refused("cannot be made: The mujoco v2 and v3 based environments have been moved", "HalfCheetah-v3")


def test_warnings_of_what_can_be_made_are_passed_on():
    with pytest.warns(UserWarning, match="latest versioned environment"):
        assert open_env("Pendulum").task.horizon == 200


def test_objects():
    env = open_env(limited(Linear()), angles=(0,))
    assert env.name == "Linear" and env.space.angles == (0,)
    refused("make_kwargs apply only", limited(Linear()), make_kwargs={"a": 1})
    refused("not a float", 3.0)
    assert open_env(env) is env
    refused("has its own known cost", env, cost=lambda x, u: x[0])


def test_our_own_systems():
    env = open_env("forethought/CartPoleSwingUp-v0")
    assert not env.learn_reward and env.task.action_space.high.shape == (1,)
    refused("has its own known cost, horizon", "forethought/CartPoleSwingUp-v0", cost=lambda x, u: x[0], horizon=3)


def test_functions_pass_through():
    assert load_function(None, "cost") is None and load_function(jnp.sum, "cost") is jnp.sum


def test_the_path_is_left_as_it_was(here):
    path = list(sys.path)
    with pytest.raises(KeyError), importable_from_here():
        assert sys.path[-1] == str(here)
        raise KeyError
    assert sys.path == path


def test_pictures_come_from_a_second_instance():
    env = open_env("Pendulum-v1", horizon=3)
    frames = []
    shown = env.run(PUSH, key=jr.key(0), frames=frames)
    assert len(frames) == 4 and frames[0].ndim == 3 and frames[0].dtype == np.uint8
    assert (frames[0] != frames[-1]).any()
    for a, b in zip(*(e.x for e in (shown, env.run(PUSH, key=jr.key(0)))), strict=True):
        np.testing.assert_array_equal(a, b)
    env.close()


def test_pictures_of_an_object():
    frames = []
    open_env(limited(Linear(render_mode="rgb_array"))).run(PUSH, key=jr.key(0), frames=frames)
    assert [f[0, 0, 0] for f in frames] == [0, 1, 2, 3, 4, 5]
    with pytest.raises(UsageError, match="object without a spec.*render_mode"):
        open_env(limited(Linear())).run(PUSH, key=jr.key(0), frames=[])
    plain = Linear()
    plain.metadata = {}
    with pytest.raises(UsageError, match="no render mode rgb_array .it has: none."):
        open_env(limited(plain)).run(PUSH, key=jr.key(0), frames=[])


def test_rendering_that_fails():
    class Dark(Linear):
        def render(self):
            raise AttributeError("'NoneType' object has no attribute 'eglQueryString'")

    with pytest.raises(EnvironmentFailure, match="could not render .*eglQueryString"):
        open_env(limited(Dark(render_mode="rgb_array"))).run(PUSH, key=jr.key(0), frames=[])
    Dark.__module__ = "gymnasium.envs.mujoco.dark"
    with pytest.raises(EnvironmentFailure, match="MUJOCO_GL=egl .* MUJOCO_GL=osmesa"):
        open_env(limited(Dark(render_mode="rgb_array"))).run(PUSH, key=jr.key(0), frames=[])


@pytest.mark.parametrize("name", [name for name, parts in SHIPPED.items() if not parts.problem])
def test_speeds_of_shipped_systems_are_rates_of_change(name):
    env = open_env(NAMESPACE + name)
    x_key, u_key = jr.split(jr.key(0))
    x = jr.normal(x_key, (env.space.size,))
    u = jr.uniform(
        u_key, env.task.action_space.low.shape, minval=env.task.action_space.low, maxval=env.task.action_space.high
    )
    rates = env.problem.dynamics.derivative(x, u)
    for i, j in env.space.velocities:
        assert rates[i] == x[j]
    assert env.space.dt == (env.task.dt if env.space.velocities else 0)
    assert set(env.space.angles) <= {i for i, _ in env.space.velocities} or name == "CarParking-v0"


def test_no_log_file_of_mujoco_appears(tmp_path):
    """Making HalfCheetah warns of its own model file, which MuJoCo would write into the current folder."""
    words = "from forethought.envs import open_env; open_env('HalfCheetah-v5').close()"
    done = subprocess.run(
        [sys.executable, "-c", words], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert not list(tmp_path.iterdir()) and "WARNING" not in done.stdout + done.stderr
