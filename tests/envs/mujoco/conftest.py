import gymnasium as gym
import pytest


@pytest.fixture
def registered():
    """Registers environment classes under their own names: "Name-v0"."""
    names = []

    def register(entry):
        names.append(f"{entry.__name__}-v0")
        gym.register(names[-1], entry_point=entry, max_episode_steps=100)
        return names[-1]

    yield register
    for name in names:
        gym.registry.pop(name, None)
