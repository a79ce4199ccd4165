"""Writes through both Regions' HTTP servers while everything goes wrong, then an audit.

``python -m tests.campaign`` prints what happened; the seed decides operations and faults.
"""
