"""A comparison as an SVG image: one panel for each measured thing, one bar for each peer."""

from collections.abc import Iterator
from html import escape

from tests.benchmarks.figures import Figure
from tests.benchmarks.peers.packages import OURS
from tests.benchmarks.peers.report import COLD, FLOOR

PANELS = {
    "GET": "GET one user, client CPU", "list 50": "GET a page of 50, client CPU",
    "POST": "POST, client CPU", "PATCH": "PATCH, client CPU",
    COLD: "cold start, client CPU", "RSS": "memory after the first GET, MiB",
}  # fmt: skip
PER_ROW = 2
WIDTH, NAMES, BAR, GAP, HEAD, MARGIN = 380, 110, 14, 6, 30, 16
ROOM = 60  # for the number behind the longest bar
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #57606a }
  .title { font-weight: 600; fill: #24292f } .bar { fill: #8c959f } .ours { fill: #1f6feb }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1 } .title { fill: #f0f6fc } .bar { fill: #656c76 }
  }
"""


def draw(figures: list[Figure]) -> str:
    """The ratios to the floor, and what has none in its own unit."""
    panels = [
        (title, bars)
        for cell, title in PANELS.items()
        if (bars := list(read_bars(figures, cell)))
    ]
    height = HEAD + max(len(bars) for _, bars in panels) * (BAR + GAP) + MARGIN
    rows = -(-len(panels) // PER_ROW)
    size = f"{PER_ROW * WIDTH + MARGIN} {rows * height + MARGIN}"
    drawn = [
        line
        for number, (title, bars) in enumerate(panels)
        for line in draw_panel(
            title, bars,
            MARGIN + number % PER_ROW * WIDTH, MARGIN + number // PER_ROW * height,
        )
    ]  # fmt: skip
    body = "\n".join(drawn)
    label = "This API beside other frameworks; the floor is one file with psycopg"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" role="img" '
        f'aria-label="{label}">\n<style>{STYLE}</style>\n{body}\n</svg>\n'
    )


def read_bars(figures: list[Figure], cell: str) -> Iterator[tuple[str, float, str]]:
    """Name, length and number of each bar."""
    for figure in figures:
        panel, _, name = figure.name.partition(": ")
        if panel != cell or name.startswith(f"{OURS} "):
            continue
        if cell == "RSS":
            yield name, figure.value, f"{figure.value:.0f}"
        elif name == FLOOR:
            yield name, 1.0, f"1 ({figure.value:.2f} ms)"
        elif figure.ratio is not None:
            yield name, figure.ratio, f"{figure.ratio:.1f}x"


def draw_panel(
    title: str, bars: list[tuple[str, float, str]], left: int, top: int
) -> Iterator[str]:
    longest = max(length for _, length, _ in bars)
    yield f'<text class="title" x="{left}" y="{top + 12}">{escape(title)}</text>'
    for number, (name, length, shown) in enumerate(bars):
        y = top + HEAD + number * (BAR + GAP)
        width = round(length / longest * (WIDTH - NAMES - ROOM - MARGIN), 1)
        kind = "bar ours" if name == OURS else "bar"
        x, base = left + NAMES, y + BAR - 3
        yield (
            f'<text x="{x - 6}" y="{base}" text-anchor="end">{escape(name)}</text>'
            f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{BAR}"/>'
            f'<text x="{x + width + 5:.1f}" y="{base}">{escape(shown)}</text>'
        )
