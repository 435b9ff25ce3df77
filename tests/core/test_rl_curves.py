"""Curves by row, their columns and lines, and the pictures of them."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tenfold.core.replicates import difference, estimate, probability_of_improvement
from tenfold.core.rl_curves import (
    STEPS,
    Curves,
    area_columns,
    by_row,
    comparisons,
    curve_lines,
    curves_figure,
    improvement_figure,
    plain_axes,
    return_columns,
)

pytest.importorskip("gymnasium")
pytest.importorskip("stable_baselines3")

from tenfold.core.legs import State
from tenfold.core.rl_training import Training, trainings_of

ENVS, METHODS, RESAMPLES = ("A-v0", "x:B-v0"), ("ours", "plain"), 100
TRAININGS = trainings_of(ENVS, METHODS, 3)
PAIRS = [(f"{env} ours", f"{env} plain") for env in ENVS]


def states(evaluations: int = 4) -> dict[Training, State]:
    random = np.random.default_rng(0)
    return {
        training: {"curve": [[50 * number, float(random.normal())] for number in range(1, evaluations + 1)]}
        for training in TRAININGS
    }


def test_curves_are_by_row() -> None:
    found = states()
    curves = Curves.of(TRAININGS, found)
    assert list(curves.steps) == list(curves.returns) == [f"{env} {method}" for env in ENVS for method in METHODS]
    for row in curves.steps:
        own = [state["curve"] for training, state in found.items() if training.row == row]
        assert curves.steps[row].tolist() == [50, 100, 150, 200]
        assert curves.returns[row].tolist() == [[value for _, value in curve] for curve in own]
        assert curves.finals(row).tolist() == [curve[-1][1] for curve in own]
        assert curves.areas(row).tolist() == pytest.approx([sum(value for _, value in curve) / 4 for curve in own])


def test_a_row_has_no_states_until_all_have_begun() -> None:
    found: dict[Training, State | None] = dict(states())
    found[TRAININGS[4]] = None
    rows = by_row(TRAININGS, found)
    assert {row: len(own) for row, own in rows.items()} == {
        "A-v0 ours": 3,
        "A-v0 plain": 0,
        "x:B-v0 ours": 3,
        "x:B-v0 plain": 3,
    }


def test_columns_are_estimates_and_differences() -> None:
    curves = Curves.of(TRAININGS, states())
    finals, areas = curves.finals("A-v0 ours"), curves.areas("A-v0 ours")
    names = ("final return", "final low", "final high")
    assert return_columns(finals, RESAMPLES) == dict(zip(names, estimate(finals, resamples=RESAMPLES), strict=True))
    names = ("area", "area low", "area high")
    assert area_columns(areas, RESAMPLES) == dict(zip(names, estimate(areas, resamples=RESAMPLES), strict=True))
    metrics = comparisons(curves, PAIRS, RESAMPLES)
    columns = [
        "final return",
        "final low",
        "final high",
        "final better",
        "area",
        "area low",
        "area high",
        "area better",
    ]
    assert list(metrics) == [f"{env} ours - plain/{column}" for env in ENVS for column in columns]
    for env in ENVS:
        for of, own in ((curves.finals, columns[:4]), (curves.areas, columns[4:])):
            ours, theirs = of(f"{env} ours"), of(f"{env} plain")
            wanted = [
                *difference(ours, theirs, resamples=RESAMPLES),
                probability_of_improvement(ours, theirs).value,
            ]
            assert [metrics[f"{env} ours - plain/{column}"] for column in own] == wanted
    assert comparisons(curves, [], RESAMPLES) == {}


def test_lines_are_of_the_evaluations_that_all_replicas_have_had() -> None:
    found: dict[Training, State | None] = dict(states())
    for training, count in zip(TRAININGS, (4, 4, 4, 2, 3, 4, 4, 4, 4), strict=False):
        found[training] = {"curve": states()[training]["curve"][:count]}
    rows = by_row(TRAININGS, found)
    lines = curve_lines(rows, 4, 0, resamples=RESAMPLES)
    # the second row is not done, so that the third, which is, waits
    assert [(row, values["steps"]) for row, values in lines] == [
        *(("A-v0 ours", steps) for steps in (50.0, 100.0, 150.0, 200.0)),
        *(("A-v0 plain", steps) for steps in (50.0, 100.0)),
    ]
    for row, values in lines:
        own = [value for state in rows[row] for steps, value in state["curve"] if steps == values["steps"]]
        wanted = estimate(own, resamples=RESAMPLES)
        assert list(values) == ["steps", "return", "return low", "return high"]
        assert (values["return"], values["return low"], values["return high"]) == wanted
    assert curve_lines(rows, 4, 5, resamples=RESAMPLES) == lines[5:]
    assert curve_lines(rows, 4, 6, resamples=RESAMPLES) == []


def test_lines_have_further_columns() -> None:
    asked: list[int] = []

    def extra(own: Sequence[State], number: int) -> dict[str, float]:
        asked.append(number)
        return {"replicas": float(len(own))} if number else {}

    lines = curve_lines(by_row(TRAININGS, states(2)), 2, 3, resamples=RESAMPLES, extra=extra)
    assert asked == [1, 0, 1, 0, 1]  # of the lines that are passed over nothing is asked
    assert [values.get("replicas") for _, values in lines] == [3.0, None, 3.0, None, 3.0]


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data)).convert("RGB")


def has(picture: Image.Image, colour: str) -> bool:
    wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
    return bool((np.asarray(picture) == wanted).all(-1).any())


@pytest.mark.parametrize(("envs", "shape"), [(1, (1, 1)), (2, (2, 1))])
def test_learning_curves_have_a_panel_for_each_environment(envs: int, shape: tuple[int, int]) -> None:
    curves = Curves.of(TRAININGS, states())
    names, colours = {"ours": "this one", "plain": "the other"}, {"ours": "#0072b2", "plain": "#d55e00"}
    data = curves_figure(curves, ENVS[:envs], METHODS, names, colours, RESAMPLES)
    picture = opened(data)
    assert picture.size == (780 * shape[0], 510 * shape[1])
    assert all(has(picture, colour) for colour in colours.values())
    assert curves_figure(curves, ENVS[:envs], METHODS, names, colours, RESAMPLES) == data
    one = opened(curves_figure(curves, ENVS[:envs], METHODS[:1], names, colours, RESAMPLES))
    assert [has(one, colour) for colour in colours.values()] == [True, False]


def test_improvement_grows_with_the_pairs() -> None:
    curves = Curves.of(TRAININGS, states())
    heights = [opened(improvement_figure(curves, PAIRS[:count], RESAMPLES, label="p")).height for count in (1, 2)]
    assert heights[1] > heights[0]
    picture = opened(improvement_figure(curves, PAIRS, RESAMPLES, label="p"))
    assert has(picture, "#0072b2")
    assert has(picture, "#56b4e9")


def test_steps_are_marked_with_thousands() -> None:
    from matplotlib.figure import Figure

    marks: dict[str, Any] = {}
    for name in (STEPS, "gain"):
        panel = Figure().subplots()
        panel.set_xlim(0, 2000)
        plain_axes(panel, name, "return")
        assert (panel.get_xlabel(), panel.get_ylabel()) == (name, "return")
        assert not panel.spines["top"].get_visible()
        marks[name] = panel.xaxis.get_major_formatter()(2000)
    assert marks[STEPS] == "2k"
    assert marks["gain"] != "2k"
