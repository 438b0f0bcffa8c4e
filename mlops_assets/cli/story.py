"""Tells a replay as it happens, and draws it at its end."""

import time
from types import TracebackType
from typing import Any

from mlops_assets.domain.timeline import PeriodRow, summary
from mlops_assets.settings import Settings
from mlops_assets.stores.files import write_atomically


class Story:
    """A progress line while a period is at work, and a paragraph for each that is done."""

    def __init__(self, model: str, periods: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._model = model
        self._console = Console(stderr=True, soft_wrap=True)
        self._rows: list[PeriodRow] = []
        self._notes: list[str] = []
        self._progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=20),
            TextColumn("{task.completed}/{task.total} periods"),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=self._console,
            transient=True,
        )
        self._task = self._progress.add_task(model, total=periods)
        self._said = time.monotonic()

    def __enter__(self) -> "Story":
        """Show the progress line."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Tell what is left to tell, and take the progress line away."""
        self._tell_notes()
        self._progress.stop()

    def say(self, text: str) -> None:
        """What is being done now."""
        self._progress.update(self._task, description=text)
        if not self._console.is_terminal:
            self._console.print(text, highlight=False)

    def tell(self, text: str) -> None:
        """What is to be read afterwards too."""
        self._console.print(text, markup=False, highlight=False)

    def note(self, text: str) -> None:
        """Something that the period at work led to: told below its paragraph."""
        self._notes.append(text)

    def _tell_notes(self) -> None:
        for text in self._notes:
            self._console.print(f"  {text}", markup=False, highlight=False)
        self._notes.clear()

    def add(self, row: PeriodRow) -> None:
        """A period is done."""
        from rich.markup import escape

        self._rows.append(row)
        self._progress.advance(self._task)
        drifted = ", ".join(row.flagged) or "none"
        live, first = _number(row.loss_live), _number(row.loss_first)
        swap = (
            "" if row.swap_seconds is None else f"  [green]swapped in {row.swap_seconds:.1f} s[/]"
        )
        failed = f"[red]{row.failed} failed[/]" if row.failed else "0 failed"
        colour = {"retrain": "yellow", "rollback": "red", "alert": "magenta"}.get(
            row.action, "cyan"
        )
        self._console.print(
            f"[bold]{row.period}[/]  {row.served} predictions in {row.requests} requests, "
            f"{failed}  version {row.version}{swap}\n"
            f"  loss {live} (first version {first})  "
            f"drifted: {escape(drifted)}\n"
            f"  [{colour}]{row.action}[/]: {escape(row.reason)}",
            highlight=False,
        )
        self._tell_notes()

    def end(self, settings: Settings, seconds: float, releases: int) -> dict[str, Any]:
        """Draw the timeline, print the summary, and return it as data.

        `releases` counts the release records of the replay, the first version's included.
        """
        from rich.table import Table

        from mlops_assets.reports.timeline import timeline_html, timeline_png

        folder = settings.reports / self._model
        title = f"{self._model}: the loop, period by period"
        links = {
            f"drift report {row.period}": f"{row.period}/drift.html"
            for row in self._rows
            if (folder / row.period / "drift.html").exists()
        }
        write_atomically(folder / "timeline.png", timeline_png(self._rows, title))
        page = timeline_html(self._rows, title, links).encode()
        write_atomically(folder / "timeline.html", page)
        result = summary(self._rows, self._model, seconds) | {"releases": releases}
        table = Table(title=f"{self._model}: {len(self._rows)} periods", show_header=False)
        for name in ("requests", "failed_requests", "retrains", "releases"):
            table.add_row(name.replace("_", " "), str(result[name]))
        table.add_row("seconds", f"{seconds:.0f}")
        table.add_row("timeline", str(folder / "timeline.html"))
        table.add_row("drift reports", str(folder / "<period>" / "drift.html"))
        table.add_row("open the UIs", f"MLOPS_HOME={settings.home} mlops up")
        self._console.print(table)
        return result


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"
