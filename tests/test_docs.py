"""The documentation builds, and its links lead somewhere."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from . import readme
from .command import ROOT, environment

PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "tenfold").rglob("*.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert not readme.broken_links(page)


def test_every_method_has_a_page() -> None:
    listed = (ROOT / "docs" / "methods" / "index.md").read_text(encoding="utf-8")
    for folder in (ROOT / "tenfold").iterdir():
        if (folder / "README.md").exists():
            page = (ROOT / "docs" / "methods" / f"{folder.name}.md").read_text(encoding="utf-8")
            assert f"tenfold/{folder.name}/README.md" in page
            assert f"\n{folder.name}\n" in listed


@pytest.mark.slow
@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("sphinx", "furo", "myst_parser")),
    reason="sphinx, furo or myst-parser is not installed",
)
def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", tmp_path / "cache"]
    # tests that draw environments leave the choice of EGL behind, with which `import mujoco` imports and logs more
    variables = {name: value for name, value in environment().items() if name != "MUJOCO_GL"}
    ended = subprocess.run(
        [*map(str, command), str(ROOT / "docs"), str(tmp_path / "html")],
        env=variables,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    for page in ("index", "install", "runs", "data", "api", "methods/distill", "methods/resize"):
        assert (tmp_path / "html" / f"{page}.html").is_file()
    assert "make_resizable" in (tmp_path / "html" / "api.html").read_text(encoding="utf-8")
