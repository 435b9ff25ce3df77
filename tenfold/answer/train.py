"""Every method, several times, on the same questions: `train(config, run)`.

Trainings are independent, and each is cut into legs that are pure functions (see `trainings`): a run that was killed and resumed, or
was spread over other workers, ends as the uninterrupted one.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from ..core.legs import State, kept_of, log_lines, run_legs
from .config import Config
from .pictures import draw_pictures
from .tables import final_metrics, logged_lines
from .trainings import Training, leg, remarks, trainings_of, workbench

if TYPE_CHECKING:
    from ..core.run import Run

KEPT = ("curve", "answers", "solver", "vectors")
"""of a training, what the evaluation and the demo need"""


def train(config: Config, run: Run) -> dict[str, float]:
    """Train all, and return the final metrics, named "row/column", such as "full/all".

    Goes on from the run's checkpoints where there are some: one for each training. Everything learned is in "best".

    Raises:
        UsageError: several processes share the run, which `crew.workers` is for; or a book, vectors or a parser are missing.
    """
    workbench(config, 0)  # a book that cannot be read is missed now, and not in a worker
    if run.is_writer:
        for remark in remarks(config.book):
            print(remark, file=sys.stderr)
    states = run_legs(
        run,
        trainings_of(config),
        partial(leg, config),
        config.legs,
        workers=config.crew.workers,
        engine=config.crew.engine,
        log=partial(_log, config, run),
    )
    run.save({"trainings": kept_of(states, KEPT)}, name="best")
    metrics = final_metrics(config, states)
    draw_pictures(run, config, states, metrics)
    return metrics


def _log(config: Config, run: Run, states: Mapping[Training, State | None], logged: int) -> int:
    return log_lines(run, logged_lines(config, states, logged), logged)
