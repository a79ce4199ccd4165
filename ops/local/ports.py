"""TCP ports as arguments of commands."""

from argparse import ArgumentTypeError

MAX_PORT = 65_535


def port_number(text: str) -> int:
    """The type of an argument. Raises ArgumentTypeError, whose text argparse shows."""
    if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_PORT:
        return int(text)
    raise ArgumentTypeError(f"{text!r} is not a port: a number from 1 to {MAX_PORT}")
