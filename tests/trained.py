"""One smoke run of each method, trained once for all the tests that ask for it: a plugin, so that they share it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Trained:
    """A finished run and what its command printed."""

    folder: Path
    printed: str
    progress: str


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trained]:
    """The smoke run of a verb; nobody may change its folder."""
    from .command import tenfold

    root = tmp_path_factory.mktemp("trained")

    @cache
    def run_of(verb: str) -> Trained:
        ended = tenfold("train", verb, "--preset", "smoke", "--runs", root)
        assert ended.returncode == 0, ended.stderr
        (folder,) = (root / verb).iterdir()
        return Trained(folder, ended.stdout, ended.stderr)

    return run_of


@pytest.fixture(scope="session")
def smoke_run(trained: Callable[[str], Trained]) -> Path:
    """The folder of a finished smoke run of `resize`; nobody may change it."""
    return trained("resize").folder


@pytest.fixture
def copied(smoke_run: Path, tmp_path: Path) -> Path:
    """A copy of a finished run, to be harmed."""
    return Path(shutil.copytree(smoke_run, tmp_path / "copy"))
