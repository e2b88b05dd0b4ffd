"""Rules that all tests of games share, and what is compiled for them."""

import pytest


@pytest.fixture(scope="session")
def rules():
    """Tic-tac-toe."""
    pytest.importorskip("pgx")
    from forethought.games.rules import load_rules

    return load_rules("tic-tac-toe")
