"""Measurements of what the project promises; ``python -m tests.benchmarks`` runs them.

Each module has one ``measure`` that takes a running, migrated sandbox and returns
figures. A figure is compared with a peer measured in turn with it, never with a number
from another machine; only a capacity (a rate, a growth) is judged by itself.
"""
