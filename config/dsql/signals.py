"""Signals for measurements, sent in the thread of the event."""

from django.dispatch import Signal

# A connection opened. Arguments: host (str), seconds (float), at_peer (bool: in the other Region).
connected = Signal()
# A conflict ended an attempt, which is about to be repeated. Argument: attempt (int).
conflict_retried = Signal()
