"""`foedus audit`: a whole history, unless a word says otherwise: `entry`, `diff`, `absence`, `confirm`.

    foedus audit us-home --json      is      foedus audit history us-home --json

A folder of such a name is named as ./diff.
"""

from typing import Any, Final

import typer
from typer.core import TyperGroup

from node.audit.absence_command import absence_command
from node.audit.confirm_command import confirm_command
from node.audit.diff_command import diff_command
from node.audit.one_entry_command import entry_command

DEFAULT: Final = "history"


class _HistoryByDefault(TyperGroup):
    default = DEFAULT

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in self.commands:
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)


def audit_app(history: Any) -> typer.Typer:
    """A fresh object. `history`: the command that replays whole copies."""
    app = typer.Typer(cls=_HistoryByDefault, rich_markup_mode=None, add_completion=False)
    app.command(DEFAULT)(history)
    app.command("entry")(entry_command)
    app.command("diff")(diff_command)
    app.command("absence")(absence_command)
    app.command("confirm")(confirm_command)
    return app
