"""The charts of the page, as SVG without scripts."""

import math
from collections.abc import Sequence
from typing import Any

import pygal
from pygal.style import Style

from deploy.local.day.account import BrandRow, KindRow

_STYLE = Style(
    background="transparent",
    plot_background="transparent",
    foreground="#3d4a41",
    foreground_strong="#1d2b22",
    foreground_subtle="#c9d3cb",
    opacity="1",
    opacity_hover="1",
    transition="0s",
    colors=("#2f7d4f", "#d9a441", "#8fb8a0", "#5b7f95", "#b5604a"),
    font_family="system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
    label_font_size=13,
    major_label_font_size=13,
    legend_font_size=13,
    value_font_size=12,
    value_label_font_size=12,
    no_data_font_size=16,
    guide_stroke_color="#d5ddd6",
    major_guide_stroke_color="#d5ddd6",
    guide_stroke_dasharray="3,3",
    major_guide_stroke_dasharray="3,3",
)
_WIDTH = 520
_ROW_HEIGHT = 38
_TALL_ROW_HEIGHT = 54  # beside a table
_AXIS_HEIGHT = 50
_LEGEND_HEIGHT = 40
_TICKS = 4


def points_by_brand(brands: Sequence[BrandRow]) -> str:
    """What became of each brand's points."""
    rows = brands[::-1]  # The chart's first row is at the bottom.
    chart = _chart(pygal.HorizontalStackedBar, [row.name for row in rows], legend=True)
    chart.value_formatter = lambda value: f"{value:,.0f}"
    chart.y_labels = _ticks(0, max(row.issued for row in rows))
    chart.add("spent", [row.spent for row in rows])
    chart.add("expired", [row.expired for row in rows])
    chart.add("outstanding", [row.outstanding for row in rows])
    return _svg(chart)


def grams_by_kind(kinds: Sequence[KindRow]) -> str:
    """Kilograms avoided by each kind of act."""
    rows = kinds[::-1]
    chart = _chart(pygal.HorizontalBar, [row.name for row in rows])
    chart.value_formatter = lambda value: f"{value:,.6g} kg"
    chart.y_labels = _ticks(0, max(row.grams for row in rows) / 1_000)
    chart.add("CO2e avoided", [row.grams / 1_000 for row in rows])
    return _svg(chart)


def net_by_brand(brands: Sequence[BrandRow]) -> str:
    """What each brand gets or pays in the settlement."""
    rows = brands[::-1]
    chart = _chart(pygal.HorizontalBar, [row.name for row in rows], row_height=_TALL_ROW_HEIGHT)
    chart.value_formatter = lambda value: f"{value:+,.6g} €" if value else "0 €"
    chart.y_labels = _ticks(min(0, *(row.net for row in rows)), max(0, *(row.net for row in rows)))
    gets, pays = _STYLE.colors[0], _STYLE.colors[4]
    chart.add("net", [{"value": row.net, "color": gets if row.net >= 0 else pays} for row in rows])
    return _svg(chart)


def _chart(kind: Any, labels: Sequence[str], *, legend: bool = False, row_height: int = _ROW_HEIGHT) -> Any:
    chart = kind(
        style=_STYLE,
        width=_WIDTH,
        height=len(labels) * row_height + _AXIS_HEIGHT + legend * _LEGEND_HEIGHT,
        js=[],
        explicit_size=False,
        show_legend=legend,
        legend_at_bottom=True,
        legend_at_bottom_columns=3,
        legend_box_size=11,
        margin=6,
        margin_right=28,
        spacing=8,
        truncate_label=24,
        rounded_bars=2,
    )
    chart.x_labels = labels
    chart.add_xml_filter(_without_scripts)
    return chart


def _ticks(least: float, most: float) -> list[float]:
    """A few round numbers that the values lie between, 0 among them."""
    rough = max(most - least, 1) / _TICKS
    magnitude = 10 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough)
    return [number * step for number in range(math.floor(least / step), math.ceil(most / step) + 1)]


def _without_scripts(root: Any) -> Any:
    for parent in list(root.iter()):
        for child in list(parent):
            if str(child.tag).rpartition("}")[2] == "script":
                parent.remove(child)
    return root


def _svg(chart: Any) -> str:
    svg: str = chart.render(is_unicode=True, disable_xml_declaration=True)
    return svg
