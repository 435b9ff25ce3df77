"""Which array of a file is read, by its name, and which files are refused; `tests/generate/test_density.py` has the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tenfold.core.errors import UsageError
from tenfold.core.number_files import check_finite, read_rows

NUMBERS = torch.tensor([[1.0, -2.5], [3e-2, 4.0], [0.0, 7.0]])


def written(folder: Path, **arrays: torch.Tensor) -> list[Path]:
    """The arrays in a file of each kind that has names."""
    np.savez(folder / "a.npz", **{name: each.numpy() for name, each in arrays.items()})
    save_file(arrays, folder / "a.safetensors")
    return [folder / "a.npz", folder / "a.safetensors"]


@pytest.mark.parametrize("array", ["observations", "latents"])
def test_of_several_arrays_the_one_of_the_name_is_read(array: str, tmp_path: Path) -> None:
    others = {name: NUMBERS - 1 for name in ("latents", "observations", "rows") if name != array}
    for path in written(tmp_path, **others, **{array: NUMBERS.clone()}):
        assert torch.equal(read_rows(path, array=array), NUMBERS)


def test_without_a_name_it_is_latents(tmp_path: Path) -> None:
    for path in written(tmp_path, observations=NUMBERS - 1, latents=NUMBERS.clone()):
        assert torch.equal(read_rows(path), NUMBERS)


def test_a_single_array_may_have_any_name(tmp_path: Path) -> None:
    for path in written(tmp_path, something=NUMBERS):
        assert torch.equal(read_rows(path, array="observations"), NUMBERS)


@pytest.mark.parametrize("suffix", [".csv", ".npy"])
def test_files_without_names_are_read_whatever_the_name(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".npy":
        np.save(path, NUMBERS.double().numpy())
    else:
        np.savetxt(path, NUMBERS.numpy(), delimiter=",", header="first,second", comments="")
    rows = read_rows(path, array="observations")
    assert rows.dtype == torch.float32
    assert torch.equal(rows, NUMBERS)


def test_refusals_have_the_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.npy does not exist, but must be a file of observations$"):
        read_rows(tmp_path / "none.npy", array="observations")
    for path in written(tmp_path, one=NUMBERS, latents=NUMBERS.clone()):
        with pytest.raises(UsageError, match=r"but must hold one array, or one called observations$") as error:
            read_rows(path, array="observations")
        assert str(error.value).startswith(f"{path} holds ")
        assert {"one", "latents"} <= set(str(error.value).replace(",", " ").split())


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros(3), r"holds an array of shape \(3,\), but must hold \(N, D\)"),
        (np.zeros((1, 2, 3)), r"holds an array of shape \(1, 2, 3\), but must hold \(N, D\)"),
        (np.zeros((0, 4)), r"holds an array of shape \(0, 4\)"),
        (np.array([[1j, 2]]), "holds complex numbers, but must hold real ones"),
        (np.array([[0.0, 1.0], [-np.inf, 0.0]]), r"row 1 of .*a\.npy has -inf in column 0"),
        (np.array([[0.0, 1e60]]), r"row 0 of .*a\.npy has inf in column 1"),  # of float32 there is no such number
        (np.array([["1", "2"]]), "cannot be read as a file of numbers"),
    ],
)
def test_arrays_of_other_things_are_refused(array: Any, sentence: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(UsageError, match=sentence):
        read_rows(tmp_path / "a.npy", array="observations")


def test_other_kinds_of_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[[1, 2]]")
    with pytest.raises(
        UsageError, match=r"a\.json ends in '\.json', but must be one of \.csv, \.npy, \.npz, \.safetensors"
    ):
        read_rows(tmp_path / "a.json", array="observations")


def test_the_first_number_that_is_not_finite_is_named() -> None:
    check_finite(NUMBERS, "rows")
    bad = NUMBERS.clone()
    bad[2, 0], bad[1, 1] = torch.inf, torch.nan
    with pytest.raises(UsageError, match=r"^row 1 of my rows has nan in column 1, but must have finite numbers only$"):
        check_finite(bad, "my rows")
