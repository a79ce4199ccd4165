"""Questions to the operator."""


def ask(question: str) -> str:
    """The answer without surrounding blanks; empty when there is nobody to answer."""
    try:
        return input(question).strip()
    except (EOFError, RuntimeError):  # at its end, or closed
        return ""


def agreed(question: str) -> bool:
    """Whether the answer is yes."""
    return ask(question).lower() in {"y", "yes"}
