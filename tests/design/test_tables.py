"""Numbers of the tables, against numbers by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mujoco")
pytest.importorskip("stable_baselines3")

from tenfold.core.legs import State
from tenfold.core.rl_training import Training
from tenfold.design.config import Config, JudgeSettings
from tenfold.design.tables import (
    at_once_columns,
    dial_columns,
    difference_columns,
    final_metrics,
    logged_lines,
    mean_scores,
    pairs,
    score_columns,
)
from tenfold.design.trainings import trainings_of

CONFIG = Config(
    tasks=("tenfold/Cup-v0", "tests.design.toy:Toy"),
    methods=("ppo", "climbing", "random"),
    calls=20,
    evaluations=2,
    replicas=3,
    judge=JudgeSettings(resamples=100),
)


def found(own: float, other: float, **more: Any) -> State:
    """A state with these scores of two wishes; each design was found to be 0.1 better."""
    chosen = {
        name: {
            "number": 0,
            "found": score + 0.1,
            "score": score,
            "scores": {"light": score / 2, "calm": 1.0},
            "facts": {},
        }
        for name, score in (("own", own), ("light", other))
    }
    return {"chosen": chosen, **more}


# scores


def test_scores_are_means_over_the_wishes() -> None:
    assert mean_scores([found(0.2, 0.4), found(0.5, 0.9)]) == pytest.approx([0.3, 0.7])
    assert mean_scores([found(0.2, 0.4)], "found") == pytest.approx([0.4])


def test_score_columns_of_one_training_have_no_width() -> None:
    assert score_columns([found(0.2, 0.4)], 100) == pytest.approx(
        {
            "score": 0.3,
            "score low": 0.3,
            "score high": 0.3,
            "own wish": 0.2,
            "found": 0.4,
            "light": 0.1,
            "calm": 1.0,
        }
    )


def test_score_columns_are_the_middle_of_the_replicas() -> None:
    """Of four the lowest and the highest do not count."""
    columns = score_columns([found(score, score) for score in (0.0, 0.5, 0.6, 1.0)], 100)
    assert columns["score"] == pytest.approx(0.55)
    assert columns["own wish"] == pytest.approx(0.55)
    assert columns["found"] == pytest.approx(0.65)
    assert columns["light"] == pytest.approx(0.275)
    assert 0 <= columns["score low"] < 0.55 < columns["score high"] <= 1


# the dial


def test_the_dial_by_hand() -> None:
    """The first falls at three of four turns (one of them by nothing), the second at none."""
    own = [found(0, 0, dial=[90.0, 80.0, 80.0, 85.0, 50.0]), found(0, 0, dial=[10.0, 11.0, 12.0, 13.0, 14.0])]
    assert dial_columns(own) == pytest.approx({"dial falls": 3 / 8, "heaviest g": 50.0, "lightest g": 32.0})
    assert dial_columns(own[:1]) == pytest.approx({"dial falls": 3 / 4, "heaviest g": 90.0, "lightest g": 50.0})


def test_what_has_no_dial_has_no_columns_of_it() -> None:
    assert dial_columns([]) == {}
    assert dial_columns([found(0.5, 0.5)]) == {}


def test_a_rise_of_rounding_is_none() -> None:
    assert dial_columns([found(0, 0, dial=[50.0, 50.0 + 1e-12, 50.0])])["dial falls"] == 1.0


def test_what_policies_make_at_once_is_a_mean_over_wishes_and_the_middle_of_the_replicas() -> None:
    own = [found(0, 0, **{"at once": {"own": score, "light": score + 0.2}}) for score in (0.0, 0.5, 0.6, 0.8)]
    assert at_once_columns(own, 100) == pytest.approx({"at once": 0.65})
    assert at_once_columns([found(0, 0)], 100) == {}


# differences


def test_the_difference_by_hand() -> None:
    ours, theirs = [found(0.6, 0.8), found(0.6, 0.6)], [found(0.5, 0.5), found(0.6, 0.6)]
    columns = difference_columns(ours, theirs, 100)
    assert columns["score"] == pytest.approx(0.65 - 0.55)
    assert columns["better"] == pytest.approx((1 + 1 + 1 + 0.5) / 4)
    assert columns["score low"] <= columns["score"] <= columns["score high"]


def test_a_difference_turned_round_has_the_other_sign() -> None:
    ours, theirs = [found(0.9, 0.7)], [found(0.5, 0.4)]
    there, back = difference_columns(ours, theirs, 100), difference_columns(theirs, ours, 100)
    assert there == pytest.approx({"score": 0.35, "score low": 0.35, "score high": 0.35, "better": 1.0})
    assert back == pytest.approx({"score": -0.35, "score low": -0.35, "score high": -0.35, "better": 0.0})


def test_only_the_policy_is_compared_and_within_its_task() -> None:
    assert pairs(CONFIG) == [
        ("tenfold-Cup-v0 ppo", "tenfold-Cup-v0 climbing"),
        ("tenfold-Cup-v0 ppo", "tenfold-Cup-v0 random"),
        ("tests.design.toy:Toy ppo", "tests.design.toy:Toy climbing"),
        ("tests.design.toy:Toy ppo", "tests.design.toy:Toy random"),
    ]
    assert pairs(replace(CONFIG, methods=("climbing", "random"))) == []
    assert pairs(replace(CONFIG, methods=("ppo",))) == []


# all of a run


def states_of(config: Config) -> dict[Training, State]:
    """Every training is a little better than the one before."""
    states = {}
    for number, training in enumerate(trainings_of(config)):
        score = 0.3 + number / 100
        more = {"dial": [40.0, 30.0 + number], "at once": {"own": 0.2}} if training.method == "ppo" else {}
        states[training] = found(score, score, curve=[[10, score / 2], [20, score]], leg=2, **more)
    return states


def test_final_metrics_have_rows_without_slashes_and_all_their_columns() -> None:
    metrics = final_metrics(CONFIG, states_of(CONFIG))
    columns: dict[str, set[str]] = {}
    for name in metrics:
        row, _, column = name.partition("/")
        columns.setdefault(row, set()).add(column)
    assert all("/" not in column for each in columns.values() for column in each)
    scores = {"score", "score low", "score high"}
    searched = scores | {"own wish", "found", "light", "calm"}
    for task in ("tenfold-Cup-v0", "tests.design.toy:Toy"):
        assert columns[f"{task} ppo"] == searched | {"at once", "dial falls", "heaviest g", "lightest g"}
        assert columns[f"{task} climbing"] == columns[f"{task} random"] == searched
        assert columns[f"{task} ppo - random"] == columns[f"{task} ppo - climbing"] == scores | {"better"}
    assert len(columns) == 2 * 5
    assert metrics["tenfold-Cup-v0 ppo/score"] == pytest.approx(0.31)
    assert metrics["tenfold-Cup-v0 ppo/dial falls"] == 1.0
    assert metrics["tenfold-Cup-v0 ppo - random/score"] == pytest.approx(-0.06)
    assert metrics["tenfold-Cup-v0 ppo - random/better"] == 0.0
    assert all(np.isfinite(value) for value in metrics.values())


def test_points_of_curves_are_logged_row_by_row_up_to_the_first_that_is_missing() -> None:
    states: dict[Training, State | None] = dict(states_of(CONFIG))
    lines = logged_lines(CONFIG, states, 0)
    assert [row for row, _ in lines] == [each.row for each in trainings_of(CONFIG)[::3] for _ in range(2)]
    assert set(lines[0][1]) == {"steps", "best", "best low", "best high"}
    assert lines[0][1] | {"best low": 0, "best high": 0} == pytest.approx(
        {"steps": 10, "best": 0.155, "best low": 0, "best high": 0}
    )
    assert logged_lines(CONFIG, states, 3) == lines[3:]
    second = trainings_of(CONFIG)[4]
    states[second] = found(0.5, 0.5, curve=[[10, 0.2]], leg=1)
    assert logged_lines(CONFIG, states, 0)[2:] == [logged_lines(CONFIG, states, 0)[2]]
    states[second] = None
    assert [row for row, _ in logged_lines(CONFIG, states, 0)] == ["tenfold-Cup-v0 ppo"] * 2
    assert logged_lines(CONFIG, dict.fromkeys(states), 0) == []
