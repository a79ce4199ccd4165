"""Estimates by the documented formulas."""

import pytest

from ops.local.sandbox.dpu import estimate

READ = [
    "Seq Scan on public.t  (cost=0.00..22.70 rows=1270 width=36) "
    "(actual time=0.01..0.02 rows=4000 loops=1)",
    "  Output: a, b",
    "Planning Time: 100.000 ms",
    "Execution Time: 900.000 ms",
]
NODE = (
    "(cost=0.00..1.00 rows=1 width={width}) (actual time=0.1..0.2 rows={rows} loops=1)"
)


def test_a_read_costs_its_bytes_and_its_time() -> None:
    assert estimate(READ) == [
        "Statement DPU Estimate:",
        "  Compute: 1.00000 DPU",
        "  Read: 0.26367 DPU",
        "  Write: 0.00000 DPU",
        "  Total: 1.26367 DPU",
    ]


@pytest.mark.parametrize(
    ("rows", "width", "write"),
    [(0, 4, 0.05), (1, 4, 0.05), (100, 4, 0.62502), (10, 1000, 0.48830)],
)
def test_a_write_costs_at_least_128_bytes_a_row_and_the_least_of_a_transaction(
    rows: int, width: int, write: float
) -> None:
    plan = [
        "Insert on public.t  " + NODE.format(width=0, rows=0),
        "  ->  Values Scan  " + NODE.format(width=width, rows=rows),
    ]
    lines = estimate(plan)
    assert lines[2] == "  Read: 0.00375 DPU" or rows * width > 2048
    assert lines[3:5] == [
        f"  Write: {write:.5f} DPU", f"  MultiRegionWrite: {write:.5f} DPU",
    ]  # fmt: skip


def test_a_plan_that_says_nothing_costs_the_least() -> None:
    assert estimate(["Result"])[-1] == "  Total: 0.00375 DPU"
