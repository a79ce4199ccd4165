"""The report as one self-contained HTML page: the checks and a chart of the latencies."""

from datetime import UTC, datetime
from html import escape

from ops.clusters.verify import Report, counts

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem;
  color: #1b1f24; background: #fff }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #d8dee4;
  vertical-align: top }
.pass { color: #116329 } .fail { color: #a40e26; font-weight: 600 } .skip { color: #57606a }
.warn { color: #9a6700; font-weight: 600 }
.hint { color: #57606a } .number { text-align: right; font-variant-numeric: tabular-nums }
svg { width: 100%; height: auto; background: #f6f8fa }
"""
COLOURS = ("#0550ae", "#bc4c00", "#116329", "#8250df")
WIDTH, HEIGHT, MARGIN = 800, 260, 40


def render(report: Report, title: str, at: datetime | None = None) -> str:
    """The page; it loads nothing from anywhere."""
    when = (at or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC")
    rows = "\n".join(
        f'<tr><td class="{check.outcome}">{check.outcome}</td><td>{escape(check.target)}</td>'
        f"<td>{escape(check.name)}</td><td>{escape(check.reason)}"
        f"{f'<div class=hint>{escape(check.hint)}</div>' if check.hint else ''}</td>"
        f'<td class="number">{check.seconds * 1000:.1f}</td></tr>'
        for check in report.checks
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>"
        f"<h1>{escape(title)}</h1><p>{when}: {escape(', '.join(counts(report)))}</p>\n"
        f"<table><thead><tr><th>outcome</th><th>where</th><th>check</th><th>finding</th>"
        f'<th class="number">ms</th></tr></thead><tbody>\n{rows}\n</tbody></table>\n'
        f"{_chart(report.latencies)}</body></html>\n"
    )


def _chart(latencies: dict[str, list[float]]) -> str:
    """Each kind's latencies in rising order: how many calls took no longer than that."""
    kinds = {kind: sorted(values) for kind, values in latencies.items() if values}
    if not kinds:
        return ""
    top = max(values[-1] for values in kinds.values())
    lines = []
    for number, (kind, values) in enumerate(kinds.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = " ".join(
            f"{_x(position, len(values)):.1f},{_y(value, top):.1f}"
            for position, value in enumerate(values)
        )
        lines.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{points}"/>'
            f'<text x="{MARGIN + 10}" y="{MARGIN + 18 * number}" fill="{colour}">{escape(kind)}: '
            f"{len(values)} calls, slowest {values[-1]:.2f} ms</text>"
        )
    axis = (
        f'<text x="4" y="{MARGIN - 14}">{top:.2f} ms</text>'
        f'<text x="4" y="{HEIGHT - 12}">0 ms, fastest call</text>'
        f'<text x="{WIDTH - 90}" y="{HEIGHT - 12}">slowest call</text>'
    )
    return (
        f'<h2>Latency</h2><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="Latencies in rising order">{axis}{"".join(lines)}</svg>'
    )


def _x(position: int, count: int) -> float:
    return MARGIN + (WIDTH - 2 * MARGIN) * position / max(1, count - 1)


def _y(value: float, top: float) -> float:
    return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (value / top if top else 0.0)
