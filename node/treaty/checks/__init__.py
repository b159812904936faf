"""The checks of the law: what each compares, and where it stands (CHECKS 4).

A check is a pure function of entries and policy that raises findings through `cases.raise_finding`. Those that judge one
statement or duty stand beside its rule; those that compare several have a module here:

    counters     C10, chips' own counters against the operator's word
    budget       C14, a run against its plan, its halt and its duty to report
    splitting    C15, runs that belong together against the frontier
    sampling     C19, how many chips to look at; drawn inspections done or not
    data         C26, parameters and tokens against work; data manifests and rights
    deployment   C27, models at work without approval
    cost         C24 as far as prices go: how little a forbidden training would cost
    choke        C24 as far as makers go: how few make what every frontier chip needs
    balances     C05 and C06, fabs, memory and customs against the register of chips
    heat         C23, heat seen from outside against declared power
    forecasts    C25, forecast against measured ability

A new check is a module here, its row in `CHECKS` and in `grounds`, and a call from the rule whose entry can break it. What is
still to come has its row with `since` 0: statistics over energy, place, payments and traffic, which need calibration (C08, C09,
C11 to C13, C16 to C18, C20 to C22, C30). Their inputs are statements in force, so that they will find their past.
"""

from typing import Final, NamedTuple


class Check(NamedTuple):
    """One row of the catalogue."""

    name: str
    labels: str  # A declared runs as claimed, B results as claimed, C known sites, D hidden ones; empty: all
    inputs: tuple[str, ...]  # kinds of statement, or what else it reads
    module: str  # below node.treaty; empty: still to come
    since: int  # the law version that brought it; 0: still to come


CHECKS: Final[dict[str, Check]] = {
    "C01": Check("well-formed, signed, chained", "", ("every entry",), "law", 1),
    "C02": Check("reporting gap", "C", ("usage",), "reports", 1),
    "C03": Check("chip balance", "C", ("inventory", "custody"), "statements.inventory", 2),
    "C04": Check("custody chain", "CD", ("custody",), "statements.custody", 2),
    "C04w": Check("emergency custody under way", "CD", ("custody",), "statements.custody", 2),
    "C05": Check(
        "fabs and memory against the registry", "D", ("trade", "chip_batch"), "checks.balances", 3
    ),
    "C06": Check("customs against the registry", "D", ("trade", "custody"), "checks.balances", 3),
    "C07": Check("capacity bound", "AC", ("usage", "inventory"), "statements.usage", 1),
    "C08": Check("energy too high for the chips", "CD", ("energy", "inventory"), "", 0),
    "C09": Check("energy against declared work", "C", ("energy", "usage"), "", 0),
    "C10": Check(
        "counters against the operator", "C", ("chipmeter", "usage"), "checks.counters", 2
    ),
    "C11": Check(
        "counters against energy, meter against meter", "C", ("chipmeter", "energy"), "", 0
    ),
    "C12": Check("location physics", "CD", ("locate",), "", 0),
    "C13": Check("undeclared cluster", "D", ("custody", "facility", "locate", "trade"), "", 0),
    "C14": Check("run over budget, oversight", "A", ("run", "usage"), "checks.budget", 1),
    "C15": Check(
        "aggregation and splitting", "ACD", ("run", "usage", "identity"), "checks.splitting", 1
    ),
    "C16": Check("decentralised training", "D", ("net", "chipmeter", "locate"), "", 0),
    "C17": Check("training by workload class", "C", ("chipmeter", "usage"), "", 0),
    "C18": Check("snapshots and re-execution", "A", ("snapshot", "run", "inspection"), "", 0),
    "C19": Check("sampling inspections", "AC", ("draws", "inspection"), "checks.sampling", 2),
    "C20": Check("sensor statistics", "C", ("energy", "chipmeter"), "", 0),
    "C21": Check("finance against the registry", "D", ("trade", "custody"), "", 0),
    "C22": Check("cloud renting", "CD", ("trade",), "", 0),
    "C23": Check(
        "remote sensing against declared power", "D", ("tip", "facility"), "checks.heat", 3
    ),
    "C24": Check("cost and hardware trend", "", ("trade", "chip_type"), "checks.cost", 2),
    "C25": Check("forecast against measured ability", "BD", ("run", "eval"), "checks.forecasts", 3),
    "C26": Check("parameters, tokens, data, rights", "A", ("run", "data"), "checks.data", 2),
    "C27": Check("deployment without approval", "BC", ("usage", "DEPLOY"), "checks.deployment", 2),
    "C28": Check("duties overdue", "", ("duties",), "duties", 2),
    "C29": Check("contradiction", "", ("every entry", "inventory"), "law", 1),
    "C30": Check("fusion, breakout clock", "", ("findings",), "", 0),
}
