"""The day's report as one HTML page that needs nothing else: no scripts, no network."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from deploy.local.day import charts
from deploy.local.day.account import Account


def render(account: Account) -> str:
    """The page."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(("html", "j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        day=account,
        total=account.summary,
        # Made by the charting library from our own figures; everything else is escaped.
        points_chart=Markup(charts.points_by_brand(account.brands)),  # noqa: S704
        grams_chart=Markup(charts.grams_by_kind(account.kinds)),  # noqa: S704
        net_chart=Markup(charts.net_by_brand(account.brands)),  # noqa: S704
    )
