"""The charts of the page, as SVG without scripts."""

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
)
_WIDTH = 520
_ROW = 34


def points_by_brand(brands: Sequence[BrandRow]) -> str:
    """What became of each brand's points."""
    chart = _chart(pygal.HorizontalStackedBar, len(brands), value_formatter=lambda value: f"{value:,.0f} points")
    rows = brands[::-1]  # The chart's first row is at the bottom.
    chart.x_labels = [row.name for row in rows]
    chart.add("spent", [row.spent for row in rows])
    chart.add("expired", [row.expired for row in rows])
    chart.add("outstanding", [row.outstanding for row in rows])
    return _svg(chart)


def grams_by_kind(kinds: Sequence[KindRow]) -> str:
    """Kilograms avoided by each kind of act."""
    chart = _chart(
        pygal.HorizontalBar,
        len(kinds),
        show_legend=False,
        print_values=True,
        print_values_position="top",
        value_formatter=lambda value: f"{value:,.1f} kg",
    )
    rows = kinds[::-1]
    chart.x_labels = [row.name for row in rows]
    chart.add("kg CO2e", [row.grams / 1_000 for row in rows])
    return _svg(chart)


def net_by_brand(brands: Sequence[BrandRow]) -> str:
    """What each brand gets or pays in the settlement."""
    chart = _chart(
        pygal.HorizontalBar,
        len(brands),
        show_legend=False,
        value_formatter=lambda value: f"{value:+,.2f} €",
    )
    rows = brands[::-1]
    chart.x_labels = [row.name for row in rows]
    colours = _STYLE.colors
    chart.add("net", [{"value": row.net, "color": colours[0] if row.net >= 0 else colours[4]} for row in rows])
    return _svg(chart)


def _chart(kind: Any, rows: int, **options: Any) -> Any:
    chart = kind(
        style=_STYLE,
        width=_WIDTH,
        height=90 + rows * _ROW,
        js=[],
        explicit_size=False,
        legend_at_bottom=True,
        legend_at_bottom_columns=3,
        legend_box_size=11,
        margin=6,
        spacing=8,
        show_x_guides=True,
        show_y_guides=False,
        y_labels_major_count=3,
        show_minor_y_labels=False,
        truncate_label=24,
        rounded_bars=2,
        **options,
    )
    chart.add_xml_filter(_without_scripts)
    return chart


def _without_scripts(root: Any) -> Any:
    for parent in list(root.iter()):
        for child in list(parent):
            if str(child.tag).rpartition("}")[2] == "script":
                parent.remove(child)
    return root


def _svg(chart: Any) -> str:
    svg: str = chart.render(is_unicode=True, disable_xml_declaration=True)
    return svg
