"""Draws a state machine from its table as SVG: from above to below in layers, what branches off beside it.

A state's layer is the longest way to it. In each layer the state that goes on stands in the first column. That does for
the machines there are; a test holds that no step crosses a state.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from befl.rules.states import NONE, Machine

WIDTH, HEIGHT = 116, 36
ACROSS, DOWN = 206, 82
#: About what a letter takes at 12 pixels.
LETTER = 7
#: Where two steps come to the same state, and where one leaves and comes back.
APART = 18


def draw(machine: Machine, title: str) -> str:
    """Return the drawing, to stand in a page; its colours are the page's, whether light or dark."""
    steps: dict[tuple[str, str], dict[str, None]] = {}
    for row in machine.transitions:
        steps.setdefault((row.state, row.next), {})[row.transaction] = None
    labels = {step: ", ".join(transactions) for step, transactions in steps.items()}
    cells = arranged(set(labels), [NONE, *(after for _, after in labels)])
    left, right = (
        max(
            [len(labels.get((state, state), "")) for state, (column, _) in cells.items() if (column == 0) == first]
            + [0]
        )
        * LETTER
        + 50
        for first in (True, False)
    )
    places = {
        state: (left + WIDTH / 2 + column * ACROSS, 30 + layer * DOWN) for state, (column, layer) in cells.items()
    }
    goes_on = {before for before, after in labels if before != after}
    parts = [part for state, at in places.items() for part in box(state, at, ends=state not in goes_on)]
    met: dict[str, int] = {}
    for (before, after), label in labels.items():
        number = met[after] = met.get(after, -1) + (before != after)
        path, x, y, anchor = line(places[before], places[after], number, first=cells[before][0] == 0)
        parts.append(f'<path d="{path}" fill="none" stroke="currentColor" marker-end="url(#{title}-arrow)"/>')
        parts.append(f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(label)}</text>')
    width = max(x for x, _ in places.values()) + WIDTH / 2 + right
    height = max(y for _, y in places.values()) + HEIGHT
    opened = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" aria-label="{escape(title)}" font-family="sans-serif" font-size="12" '
        'fill="currentColor" style="max-width: 100%; height: auto">'
    )
    arrow = (
        f'<defs><marker id="{title}-arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto"><path d="M 0 0 L 8 4 L 0 8 z" fill="currentColor"/></marker></defs>'
    )
    return "\n".join([opened, arrow, *parts, "</svg>"])


def arranged(steps: set[tuple[str, str]], states: list[str]) -> dict[str, tuple[int, int]]:
    """Return each state's column and layer."""
    ways = {(before, after) for before, after in steps if before != after}
    layers = dict.fromkeys(states, 0)
    for _ in layers:  # no way is longer
        for before, after in ways:
            layers[after] = max(layers[after], min(layers[before] + 1, len(layers)))
    found = {}
    for layer in sorted(set(layers.values())):
        here = [state for state in layers if layers[state] == layer]
        beside = {to for before, to in ways if layers[before] < layer - 1}  # a straight way would cross what is between
        here.sort(key=lambda state: (state in beside, all(before != state for before, _ in ways)))
        first = int(here[0] in beside)
        found |= {state: (column, layer) for column, state in enumerate(here, first)}
    return found


def line(
    start: tuple[float, float], end: tuple[float, float], number: int, *, first: bool
) -> tuple[str, float, float, str]:
    """Return the way of a step, and where its name stands: straight down, round a corner, or out and back."""
    (x, y), (to_x, to_y) = start, end
    if start == end:
        side = -1 if first else 1
        edge = x + side * WIDTH / 2
        return f"M {edge:g} {y - 8:g} c {side * 30} -8, {side * 30} 24, 0 16", edge + side * 30, y + 4, _anchor(side)
    if x == to_x:
        return f"M {x:g} {y + HEIGHT / 2:g} V {to_y - HEIGHT / 2:g}", x + 8, (y + to_y) / 2 + 4, "start"
    side, corner = (1 if to_x > x else -1), to_x - number * APART
    edge = x + side * WIDTH / 2
    path = f"M {edge:g} {y:g} H {corner - side * 10:g} q {side * 10} 0, {side * 10} 10 V {to_y - HEIGHT / 2:g}"
    return path, edge + side * 10, y - 6, _anchor(side)


def _anchor(side: int) -> str:
    return "start" if side > 0 else "end"


def box(state: str, at: tuple[float, float], *, ends: bool) -> Iterator[str]:
    """Yield a state: a dot where there is no record yet, a double line where it ends."""
    x, y = at
    if state == NONE:
        yield f'<circle cx="{x:g}" cy="{y + HEIGHT / 2 - 8:g}" r="8"/>'
        return
    for inset in (0, 4) if ends else (0,):
        wide, high = WIDTH / 2 - inset, HEIGHT / 2 - inset
        yield (
            f'<rect x="{x - wide:g}" y="{y - high:g}" width="{2 * wide:g}" height="{2 * high:g}" rx="8" fill="none" '
            'stroke="currentColor"/>'
        )
    yield f'<text x="{x:g}" y="{y + 4:g}" text-anchor="middle" font-weight="bold">{escape(state)}</text>'
