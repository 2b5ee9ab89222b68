"""The day's report in the terminal."""

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table

from deploy.local.day.account import Account

_WIDE = 108


def show(account: Account, console: Console) -> None:
    """Prints the report; what did not come out as expected comes last."""
    console.print()
    console.print(
        f"[bold]The alliance's day, {account.date}[/bold]: {account.acts:,} acts of {account.members} members"
    )
    console.print(_brands(account, wide=console.width >= _WIDE))
    console.print(_kinds(account))
    console.print(_refusals(account))
    console.print(_totals(account))
    unmet = account.unmet
    for check in unmet:
        console.print(f"[red]Not as expected:[/red] {check.what}", highlight=False)
        console.print(f"  expected {check.expected}\n  actual   {check.actual}", markup=False, highlight=False)
    if not unmet:
        console.print(f"[green]All {len(account.checks)} expectations of the day were met.[/green]")


def _brands(account: Account, *, wide: bool) -> Table:
    """In a narrow window without what can be done without."""
    table = _table("Points and money by brand", *(("Brand", "Trade") if wide else ("Brand",)))
    for name in ("Issued", "Spent", "Expired", "Outstanding", "Accepted"):
        table.add_column(name if wide else name[:6], justify="right")
    for name in ("Liability €", "Net €") if wide else ("Net €",):
        table.add_column(name, justify="right")
    for row in account.brands:
        points = (row.issued, row.spent, row.expired, row.outstanding, row.accepted)
        _add(table, row.name, row.trade, points, row.liability, row.net, wide=wide)
    table.add_section()
    total = account.summary
    totals = [total[f"points_{what}"] for what in ("issued", "spent", "expired", "outstanding")]
    totals.append(sum(row.accepted for row in account.brands))
    liability = sum(row.liability for row in account.brands)
    _add(table, "All", "", totals, liability, total["net_sum"] / 1e6, wide=wide)
    return table


def _add(
    table: Table, name: str, trade: str, points: Iterable[int], liability: float, net: float, *, wide: bool
) -> None:
    table.add_row(
        *((name, trade) if wide else (name,)),
        *(f"{number:,}" for number in points),
        *((f"{liability:,.2f}",) if wide else ()),
        f"{net:+,.2f}" if net else "0.00",
    )


def _kinds(account: Account) -> Table:
    table = _table("What was done", "Kind")
    for name in ("Acts", "Claims", "kg CO2e avoided", "Points"):
        table.add_column(name, justify="right")
    for row in account.kinds:
        table.add_row(row.name, f"{row.acts:,}", f"{row.claims:,}", f"{row.grams / 1_000:,.3f}", f"{row.points:,}")
    table.add_section()
    points = sum(row.points for row in account.kinds)
    claims = account.summary["claims"]
    table.add_row("All", f"{account.acts:,}", f"{claims:,}", f"{account.kilograms:,.3f}", f"{points:,}")
    return table


def _refusals(account: Account) -> Table:
    table = _table("What was refused", "Reason", "Meaning")
    table.add_column("Times", justify="right")
    for row in account.refusals:
        table.add_row(row.reason, row.why, f"{row.count:,}")
    return table


def _totals(account: Account) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 1))
    total = account.summary
    table.add_row("Alliance total", f"{account.kilograms:,.3f} kg CO2e = the sum of {total['claims']:,} unique claims")
    settlement = f"number {account.settlement_number}, {account.settlement_lines:,} lines, net sum {total['net_sum']}"
    table.add_row("Settlement", settlement)
    table.add_row("Ledger", account.ledger)
    table.add_row(
        "Speed",
        f"{total['seconds']:.1f} s for {total['operations']:,} requests: {total['operations_per_second']:,.0f} a second"
        + (f" ({account.retried} tried again)" if account.retried else ""),
    )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(*columns, title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for column in table.columns:
        column.overflow = "fold"
    return table
