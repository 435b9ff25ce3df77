from __future__ import annotations

import math
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tenfold.core.errors import UsageError
from tenfold.core.metrics import BLANK, Accuracy, Cell, Table, mean_and_spread, plain_text, seed_names


def table(cells: dict[tuple[str, str], Cell], **rest: object) -> Table:
    given: dict[str, object] = {"verb": "v", "preset": "p", "runs": (Path("a"),), "seeds": (0,), "differing": {}} | rest
    rows, columns = tuple(dict.fromkeys(row for row, _ in cells)), tuple(dict.fromkeys(column for _, column in cells))
    return Table(rows=rows, columns=columns, cells=cells, **given)  # type: ignore[arg-type]


def test_accuracy_counts_over_batches_of_any_size() -> None:
    accuracy = Accuracy()
    accuracy.update(torch.tensor([[2.0, 1.0], [0.0, 1.0], [5.0, 1.0]]), torch.tensor([0, 1, 1]))
    accuracy.update(torch.tensor([[0.0, 1.0]]), torch.tensor([0]))
    accuracy.update(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))
    assert accuracy.counts.tolist() == [2, 4]
    assert accuracy.value == 0.5


def test_accuracy_of_nothing_is_nan() -> None:
    assert math.isnan(Accuracy().value)


def test_accuracy_counts_every_pixel() -> None:
    accuracy = Accuracy()
    logits = torch.zeros(2, 3, 4, 5)
    logits[:, 1] = 1.0
    targets = torch.ones(2, 4, 5, dtype=torch.int64)
    targets[0, 0, 0] = 2
    accuracy.update(logits, targets)
    assert accuracy.value == 39 / 40


def test_a_prediction_of_nan_is_wrong() -> None:
    accuracy = Accuracy()
    accuracy.update(torch.tensor([[math.nan, 1.0], [math.nan, math.nan]]), torch.tensor([0, 0]))
    assert accuracy.value == 0.0


def test_accuracy_keeps_counting_after_its_counts_were_summed_over_processes() -> None:
    first, second = Accuracy(), Accuracy()
    first.update(torch.eye(3), torch.tensor([0, 1, 2]))
    second.update(torch.eye(3), torch.tensor([1, 2, 0]))
    first.counts = first.counts + second.counts
    assert first.value == 0.5


@pytest.mark.parametrize(("logits", "targets"), [((4, 3), (4, 1)), ((4, 3), (3,)), ((4,), (4,)), ((2, 3, 5), (2,))])
def test_accuracy_refuses_shapes_that_would_broadcast(logits: tuple[int, ...], targets: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"targets have shape .* must be \(N, \.\.\.\)"):
        Accuracy().update(torch.zeros(logits), torch.zeros(targets, dtype=torch.int64))


def test_mean_and_spread_of_hand_numbers() -> None:
    assert mean_and_spread([1.0, 2.0, 3.0, 6.0]) == pytest.approx((3.0, math.sqrt(14 / 3)))
    assert mean_and_spread([0.7]) == (0.7, 0.0)
    assert mean_and_spread([0.1, 0.1, 0.1]) == (0.1, 0.0)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_mean_and_spread_agree_with_the_standard_library(values: list[float]) -> None:
    expected = statistics.mean(values), statistics.stdev(values)
    assert mean_and_spread(values) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("values", [[1.0, math.nan], [1.0, math.inf], [math.inf, -math.inf]])
def test_the_spread_of_a_diverged_run_is_nan(values: list[float]) -> None:
    mean, spread = mean_and_spread(values)
    assert not math.isfinite(mean)
    assert math.isnan(spread)


def test_mean_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="no values"):
        mean_and_spread([])


def test_a_column_shares_its_decimals_and_a_missing_cell_is_blank() -> None:
    shown = table(
        {
            ("a", "accuracy"): Cell(0.88123, 0.00217, 3),
            ("b", "accuracy"): Cell(0.9, 0.0, 3),
            ("b", "reward"): Cell(-1234.5, 20.4, 3),
            ("a", "parameters"): Cell(1_250_000, 0.0, 3),
        }
    )
    assert shown.text("a", "accuracy") == "0.8812 ± 0.0022"
    assert shown.text("b", "accuracy") == "0.9000 ± 0"
    assert shown.text("b", "reward") == "-1,234 ± 20"
    assert shown.text("a", "parameters") == "1,250,000 ± 0"
    assert shown.text("a", "reward") == BLANK


def test_a_small_value_is_not_rounded_away_by_a_large_one_of_its_column() -> None:
    shown = table({("a", "loss"): Cell(4321.0, 0.0, 1), ("b", "loss"): Cell(0.0123, 0.0, 1)})
    assert shown.text("b", "loss") == "0.0123"


def test_a_cell_of_fewer_runs_says_so() -> None:
    shown = table({("a", "x"): Cell(0.5, 0.1, 3), ("b", "x"): Cell(0.5, 0.0, 1)}, seeds=(0, 1, 2))
    assert shown.text("b", "x") == "0.5000 (n=1)"
    assert shown.basis == (
        "mean ± sample standard deviation over 3 runs, seeds 0, 1 and 2; n is given where it is smaller"
    )


def test_names_for_people() -> None:
    assert (
        table({}, differing={"data.name": "cifar10", "widths": [1, 2]}).name
        == "v, p, data.name = cifar10, widths = 1, 2"
    )
    assert table({}).basis == "no finished run yet"
    assert [*map(plain_text, (None, True, [], 0.1))] == ["none", "true", "none", "0.1"]
    assert (seed_names([4]), seed_names([0, 1])) == ("seed 4", "seeds 0 and 1")


def test_importing_loads_no_torch_and_no_matplotlib() -> None:
    code = "import sys, tenfold.core.report; sys.exit(len({'torch', 'matplotlib', 'rich'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
