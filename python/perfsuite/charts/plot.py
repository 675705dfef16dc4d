"""How every figure looks: axes, legend, tools, colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from perfsuite.charts.colours import INK, RULE

if TYPE_CHECKING:
    from bokeh.plotting import figure as Figure

HEIGHT = 260


def blank(
    x_label: str,
    y_label: str,
    *,
    x_axis: Literal["linear", "log", "datetime"] = "linear",
    y_axis: Literal["linear", "log"] = "linear",
    x_range: Any = None,
    height: int = HEIGHT,
) -> Figure:
    """A figure with nothing drawn yet.  ``x_range``: the names of a chart of bars."""
    from bokeh.plotting import figure

    ranged = {} if x_range is None else {"x_range": x_range}
    plot = figure(
        height=height,
        sizing_mode="stretch_width",
        x_axis_label=x_label,
        y_axis_label=y_label,
        x_axis_type="auto" if x_range is not None else x_axis,
        y_axis_type=y_axis,
        tools="xpan,xbox_zoom,xwheel_zoom,reset,save",
        active_drag="xbox_zoom",
        active_scroll=None,
        background_fill_alpha=0.0,
        border_fill_alpha=0.0,
        outline_line_color=RULE,
        output_backend="canvas",
        **ranged,
    )
    plot.toolbar.logo = None
    for axis in (*plot.xaxis, *plot.yaxis):
        axis.axis_label_text_color = axis.major_label_text_color = INK
        axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = INK
        axis.axis_label_text_font_style = "normal"
    plot.grid.grid_line_color = RULE
    plot.grid.grid_line_alpha = 0.25
    return plot


def finished(plot: Figure, entries: int) -> Figure:
    """The figure with its legend above it, where there is one."""
    for legend in plot.legend:
        legend.background_fill_alpha = 0.0
        legend.border_line_alpha = 0.0
        legend.label_text_color = INK
        legend.update(margin=2, padding=2, spacing=8)
        legend.click_policy = "hide"
        legend.ncols = min(entries, 4)
        plot.add_layout(legend, "above")
    return plot


def hover(
    plot: Figure, tooltips: list[tuple[str, str]], *, mode: Literal["mouse", "vline"] = "mouse", renderers: Any = "auto"
) -> None:
    """What is said where the pointer is."""
    from bokeh.models import HoverTool

    plot.add_tools(HoverTool(tooltips=tooltips, mode=mode, renderers=renderers, point_policy="follow_mouse"))
