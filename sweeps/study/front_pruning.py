"""Stops trials that cannot enter the front of accuracy and a cost known before training."""

from statistics import fmean

from sweeps.study.front_bound import AUDIT, FrontBound, Point, best_accuracy, largest_rise
from sweeps.study.optuna_study import ENDED, RunningTrial, Study


class FrontPruning:
    """What the finished trials of a study say about the next one."""

    def __init__(self, study: Study, axes: tuple[int, int]) -> None:
        plan = study.plan
        a, c = axes
        self._study, self._plan = study, plan
        self._accuracy, self._cost = plan.objectives[a], plan.objectives[c]
        complete = [t for t in study.trials() if t.user_attrs.get("end") == "complete" and t.values]
        self._points = [
            Point(plan.unit_cube(plan.decode(t.params)), t.values[c], t.values[a]) for t in complete
        ]
        self._runs = [[r[self._accuracy] for r in t.user_attrs["runs"]] for t in complete]

    def before_training(self, trial: RunningTrial, counts: dict[str, float]) -> str | None:
        """Return why a trial is stopped before its first run, or None to let it run."""
        point = Point(self._plan.unit_cube(trial.values), counts[self._cost])
        bound = FrontBound(self._points)
        if not (bound.active and bound.stops(point)):
            return None
        upper, front = bound.upper(point), best_accuracy(self._points, point.cost)
        earlier = sum("bound" in t.user_attrs for t in self._study.trials() if t.state in ENDED)
        audited = earlier % AUDIT == AUDIT - 1
        self._study.note(trial, bound={"upper": upper, "front": front, "audited": audited})
        if audited:
            return None
        return f"{self._accuracy} at most {upper:.2f}, and {front:.2f} is reached for less"

    def between_runs(self, metrics: list[dict[str, float]], counts: dict[str, float]) -> str | None:
        """Return why a trial is stopped after some of its runs, or None to let it go on."""
        so_far = [m[self._accuracy] for m in metrics]
        means = [[fmean(runs[: i + 1]) for i in range(len(runs))] for runs in self._runs]
        upper = fmean(so_far) + largest_rise(means, len(so_far))
        front = best_accuracy(self._points, counts[self._cost])
        if upper > front:
            return None
        return (
            f"{self._accuracy} at most {upper:.2f} after {len(so_far)} runs,"
            f" {front:.2f} is reached for less"
        )
