from __future__ import annotations

from tenfold.core.metrics import Cell, Table


def table(rows: dict[str, list[str]]) -> Table:
    """Of rows with these columns; every cell is its place."""
    columns = tuple(dict.fromkeys(column for own in rows.values() for column in own))
    cells = {(row, column): Cell(len(row), 0.0, 1) for row, own in rows.items() for column in own}
    return Table("v", "p", (), (), tuple(rows), columns, cells, {})


def test_rows_that_measure_the_same_stay_together() -> None:
    whole = table({"a": ["x", "y", "z"], "b": ["x"], "c": ["x", "y"]})
    assert whole.parts() == [whole]


def test_a_row_may_have_more_than_those_before_it() -> None:
    whole = table({"a": ["x"], "b": ["x", "y"], "c": ["y"]})
    assert [part.rows for part in whole.parts()] == [("a", "b", "c")]


def test_rows_that_measure_other_things_begin_a_part() -> None:
    first, second, third = table({"a": ["x", "y"], "b": ["x", "y"], "c": ["y", "z"], "d": ["z"], "e": ["x"]}).parts()
    assert (first.rows, first.columns) == (("a", "b"), ("x", "y"))
    assert (second.rows, second.columns) == (("c", "d"), ("y", "z"))
    assert (third.rows, third.columns) == (("e",), ("x",))
    assert set(second.cells) == {("c", "y"), ("c", "z"), ("d", "z")}


def test_an_empty_table_has_no_parts() -> None:
    assert table({}).parts() == []
