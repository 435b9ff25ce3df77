"""Populations that learn from pictures."""

from __future__ import annotations

from typing import Any

import pytest

from tenfold import evolve

pytest.importorskip("gymnasium")
pytest.importorskip("stable_baselines3")
pytest.importorskip("ale_py")

from tenfold.core.rl_environments import make_environments


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["G2A2C", "G2PPO"])
def test_populations_of_convolutions_learn_from_games(algorithm: str) -> None:
    games = make_environments("ALE/Breakout-v5", 2, seed=0, training=True)
    options: dict[str, Any] = (
        {"n_steps": 32} if algorithm == "G2A2C" else {"n_steps": 64, "batch_size": 64, "n_epochs": 1}
    )
    genetics = evolve.GeneticSettings(elite_share=0.1, phase_steps=0)
    model = getattr(evolve, algorithm)("CnnPolicy", games, population=2, genetics=genetics, seed=0, **options)
    first = model.gate.chromosomes.clone()
    assert first.shape == (2, 512)
    while not model.history:
        assert model.num_timesteps < 4000
        model.learn(128, reset_num_timesteps=False)
    assert model.gate.generation == 1
    assert not (model.gate.chromosomes == first).all()
    line = model.history[0]
    assert line["worst fitness"] <= line["mean fitness"] <= line["best fitness"] == int(line["best fitness"])
    actions, spread = model.predict(games.reset(), vote="population", deterministic=True)
    assert actions.shape == spread.shape == (2,)
    games.close()
