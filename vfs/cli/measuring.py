"""The commands top and metrics: what mounts are doing."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from vfs.cli import output
from vfs.cli.command import Command, json_option, note

if TYPE_CHECKING:
    from vfs.daemon.metrics import Counted
    from vfs.fuse.counters import Totals

HEADINGS: Final = (
    "MOUNTPOINT", ">REQUESTS/S", ">READ/S", ">WRITTEN/S", ">MEAN", ">HITS", ">DIRTY", ">RESTARTS",
)  # fmt: skip


class ListenType(click.ParamType["int | Path"]):
    """A port of this machine, or the path of a socket."""

    name = "port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return an int or a Path."""
        if isinstance(value, int | Path):
            return value
        if value.isdecimal() and value.isascii() and len(value) < 6 and int(value) < 65536:
            return int(value)
        if "/" not in value:
            self.fail(f"'{value}' is neither a port nor the path of a socket", param, ctx)
        return Path(value)


@click.command(
    cls=Command,
    examples=(
        ("What all mounts have counted, for Prometheus", "vfs metrics"),
        ("Let Prometheus ask for it, on this machine", "vfs metrics --listen 9464"),
        ("... through a socket", "vfs metrics --listen /run/vfs-metrics.sock"),
    ),
)
@click.option(
    "--listen",
    metavar="PORT|PATH",
    type=ListenType(),
    help="Stay, and answer GET /metrics on 127.0.0.1:PORT or on a Unix socket.",
)
def metrics(listen: int | Path | None) -> None:
    """Show what mounts have counted.

    For all mounts that this user may see: requests by kind and how long they took, bytes, what of
    branches is not stored yet, checkpoints, processes that were replaced. In the text format of
    Prometheus.
    """
    from vfs.daemon.metrics import collect, prometheus, server

    if listen is None:
        click.echo(prometheus(collect()), nl=False)
        return
    with server(listen) as serving:
        note(f"metrics on {listen}, until Ctrl-C")
        try:
            serving.serve_forever()
        finally:
            if isinstance(listen, Path):
                listen.unlink(missing_ok=True)


@click.command(
    cls=Command,
    examples=(
        ("What mounts are doing, until Ctrl-C", "vfs top"),
        ("What they did in one second", "vfs top --once"),
        ("For scripts", "vfs top --once --json"),
    ),
)
@click.option("--once", is_flag=True, help="Measure once, write that and end.")
@click.option(
    "--interval",
    metavar="SECONDS",
    type=click.FloatRange(0.1, 3600),
    default=1.0,
    show_default=True,
    help="How long to measure for each figure.",
)
@json_option
def top(once: bool, interval: float, as_json: bool) -> None:
    """Show what mounts are doing.

    For each mount, of what the kernel asked of it within the interval: requests, bytes read and
    written, and how long a request took. HITS is the part of tree nodes and segments that were
    decoded already: a low one says that more is in use than caches hold. DIRTY is what was written
    to a branch and is not stored yet. Reads that the page cache answers are not seen.

    JSON, one line for each interval: a list of mountpoint, requests_per_second, read_per_second,
    written_per_second (bytes), mean_seconds, hit_ratio, dirty_bytes, restarts.
    """
    figures = _measure(interval)
    if as_json:
        for rows in figures:
            output.write_json(rows, indent=None)
            if once:
                return
    elif once:
        output.write_table(HEADINGS, [_cells(row) for row in next(figures)], cut=False)
    else:
        _show(figures)


def _show(figures: Iterator[list[dict[str, Any]]]) -> None:
    from rich.live import Live
    from rich.table import Table

    with Live(console=output.console(), screen=False, auto_refresh=False) as live:
        for rows in figures:
            table = Table(box=None, pad_edge=False)
            for heading in HEADINGS:
                right = heading.startswith(">")
                table.add_column(heading.lstrip(">"), justify="right" if right else "left")
            for row in rows:
                table.add_row(*_cells(row))
            live.update(table, refresh=True)


def _measure(interval: float) -> Iterator[list[dict[str, Any]]]:
    from vfs.daemon.metrics import collect

    before, began = _by_mount(collect()), time.monotonic()
    while True:
        time.sleep(interval)
        now, ended = _by_mount(collect()), time.monotonic()
        yield [
            _figures(mountpoint, before.get(mountpoint, totals), totals, ended - began)
            for mountpoint, totals in now.items()
        ]
        before, began = now, ended


def _by_mount(counted: list[Counted]) -> dict[str, Totals]:
    return {str(each.mount.mountpoint): each.totals for each in counted if each.totals is not None}


def _figures(mountpoint: str, before: Totals, now: Totals, seconds: float) -> dict[str, Any]:
    def rate(then: float, later: float) -> float:
        return max(0.0, later - then) / seconds  # less: mounted anew meanwhile

    requests = rate(before.count, now.count)
    hits = rate(before.node_hits + before.segment_hits, now.node_hits + now.segment_hits)
    misses = rate(before.node_misses + before.segment_misses, now.node_misses + now.segment_misses)
    busy = rate(_busy_seconds(before), _busy_seconds(now))
    return {
        **output.text_fields("mountpoint", os.fsencode(mountpoint)),
        "requests_per_second": requests,
        "read_per_second": rate(before.bytes_read, now.bytes_read),
        "written_per_second": rate(before.bytes_written, now.bytes_written),
        "mean_seconds": busy / requests if requests else None,
        "hit_ratio": hits / (hits + misses) if hits + misses else None,
        "dirty_bytes": now.dirty_bytes,
        "restarts": now.restarts,
    }


def _busy_seconds(totals: Totals) -> float:
    return sum(requests.seconds for requests in totals.requests)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    mean, hits = row["mean_seconds"], row["hit_ratio"]
    return (
        output.printable(row["mountpoint"]),
        f"{row['requests_per_second']:.0f}",
        output.size(int(row["read_per_second"])),
        output.size(int(row["written_per_second"])),
        "" if mean is None else f"{mean * 1e6:.0f} us",
        "" if hits is None else f"{hits:.0%}",
        output.size(row["dirty_bytes"]),
        str(row["restarts"]),
    )
