"""The one error of this room's parsers."""


class MalformedContent(ValueError):
    """Bytes from outside that are no valid statement, motion or vote (code SCHEMA).

    `field` is the path of the field at fault, `why` says what was seen and what would be right.
    """

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why
