"""The errors of whoever uses the program, and how any error reads on one line."""


class UsageError(ValueError):
    """Something that the user gave cannot be used; the message is one line that says what to do."""


class ConfigError(UsageError):
    """A setting is wrong.

    Attributes:
      field: the name of the setting in `Config`.
      message: what is wrong with its value.
    """

    def __init__(self, field: str, message: str):
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


def one_line(error: BaseException, limit: int = 500, *, with_type: bool = True) -> str:
    """Returns an error's type and message on one line; after `limit` characters an ellipsis stands for the rest.

    >>> one_line(ValueError("too long\\n  for one line"))
    'ValueError: too long for one line'
    >>> one_line(ValueError("too long\\n  for one line"), 8, with_type=False)
    'too long …'
    """
    text = " ".join((f"{type(error).__name__}: {error}" if with_type else str(error)).split())
    return text if len(text) <= limit else f"{text[:limit]} …"


def is_memory_shortage(error: BaseException) -> bool:
    """Returns whether an error says that memory ran out, that of this machine or of its GPU."""
    # jax raises errors of a type of its own, which differ in their text.
    of_jax = type(error).__name__ in ("JaxRuntimeError", "XlaRuntimeError")
    text = str(error)
    return isinstance(error, MemoryError) or (of_jax and ("RESOURCE_EXHAUSTED" in text or "ut of memory" in text))
