"""What a command could not do, as one tree. Every message names what was seen and what to do.

CouldNot
├── MalformedDraft      a statement's JSON: names field, value and what would have been right
├── BadPassphrase       no passphrase, an unusable file, or two different entries at the terminal
├── OutboxError
│   ├── OutboxBusy      another process signs for this author now
│   ├── OutboxDamaged   a file of the outbox is not as this room wrote it
│   └── OutboxBehind    the ledger's chain and the outbox's do not fit
└── ClientError
    ├── Unreachable     no answer: the node is down, starting, stopping, or another certificate answers
    ├── Refused         the node says no: code, field, value, why
    ├── Overloaded      a bound of the node is reached: retry later
    ├── NotHere         this node has not what was asked for, and another may
    ├── BadAnswer       the node answered what no honest node does: a bad acknowledgement, another ledger
    ├── Dropped         a commit left the entry out: the code says why
    └── TooLate         the deadline passed first
"""

from node.reporting import CouldNot as CouldNot


class MalformedDraft(CouldNot):
    pass


class BadPassphrase(CouldNot):
    pass


class OutboxError(CouldNot):
    pass


class OutboxBusy(OutboxError):
    pass


class OutboxDamaged(OutboxError):
    pass


class OutboxBehind(OutboxError):
    pass


class ClientError(CouldNot):
    """A node did not give what was asked. `node` is its state's code."""

    def __init__(self, node: str, why: str) -> None:
        super().__init__(f"node {node}: {why}")
        self.node = node
        self.why = why


class Unreachable(ClientError):
    pass


class Refused(ClientError):
    """`code` is a reason code of the law or of the node; `field` and `value` may be empty."""

    def __init__(self, node: str, *, code: str, field: str, value: str, why: str) -> None:
        about = f"{field}: " if field and field not in why else ""
        super().__init__(node, f"refused: {code}: {about}{why}")
        self.code = code
        self.field = field
        self.value = value
        self.reason = why


class Overloaded(ClientError):
    def __init__(self, node: str, why: str, retry_after_ms: int) -> None:
        super().__init__(node, f"overloaded: {why}; try again in {retry_after_ms} ms")
        self.retry_after_ms = retry_after_ms


class NotHere(ClientError):
    pass


class BadAnswer(ClientError):
    pass


class Dropped(ClientError):
    def __init__(self, node: str, code: str) -> None:
        super().__init__(node, f"a commit left the entry out: {code}")
        self.code = code


class TooLate(ClientError):
    pass
