"""Errors that the operator can mend: told in a sentence, without a traceback."""


class Fault(Exception):
    """Ends the command with its message."""
