"""Errors that are also AssertionErrors: code written for the library this package replaces catches those."""


class InvalidValue(ValueError, AssertionError):
    """A wrong value or shape."""


class TooLarge(InvalidValue, MemoryError):
    """A result that no memory holds."""


class InvalidKind(TypeError, AssertionError):
    """A value of a wrong kind."""


def require(condition, message: str, kind=InvalidValue) -> None:
    """Raise `kind` with this message unless the condition holds."""
    if not condition:
        raise kind(message)


class MissingKey(KeyError, AssertionError):
    """A key that is not there; its message is printed as it is, where a KeyError's is quoted."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""
