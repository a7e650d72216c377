"""A learning curve as a notebook shows it beside an object: SVG written by hand, nothing to install."""

import html as markup
import math
from collections.abc import Sequence

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 460, 170, 64, 24, 10  # pixels: the whole, and around the curve
POINTS = 300  # of a curve; more are averaged
BLUE, GREY = "#0072B2", "#888888"


def html(title: str, curve: Sequence[tuple[int, float]]) -> str:
    """A title and, once episodes have ended, the curve of (steps, return)."""
    points = thin([(step, value) for step, value in curve if math.isfinite(value)])
    picture = svg(points) if points else ""
    return f'<div><code style="white-space: pre-wrap">{markup.escape(title)}</code><br>{picture}</div>'


def thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most POINTS points: means of equal stretches."""
    n = min(len(points), POINTS)
    stretches = [points[i * len(points) // n : (i + 1) * len(points) // n] for i in range(n)]
    return [(math.fsum(p[0] for p in s) / len(s), math.fsum(p[1] for p in s) / len(s)) for s in stretches]


def svg(points: Sequence[tuple[float, float]]) -> str:
    """The curve in a frame: 0 to the last step, from the least to the largest return."""
    last, low, high = points[-1][0] or 1, min(p[1] for p in points), max(p[1] for p in points)
    right, floor = WIDTH - 10, HEIGHT - BOTTOM
    across, up = (right - LEFT) / last, (floor - TOP) / ((high - low) or 1)
    middle = 0 if high > low else (floor - TOP) / 2  # a constant
    path = " ".join(f"{LEFT + step * across:.1f},{floor - middle - (value - low) * up:.1f}" for step, value in points)
    label = f'font-family="sans-serif" font-size="11" fill="{GREY}"'
    ends = ((TOP + 8, high), (floor, low)) if high > low else ((floor - middle, low),)
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" role="img">',
            f'<path d="M{LEFT} {TOP}V{floor}H{right}" fill="none" stroke="{GREY}"/>',
            f'<polyline points="{path}" fill="none" stroke="{BLUE}" stroke-width="1.5"/>',
            f'<circle cx="{LEFT + last * across:.1f}" cy="{path.rpartition(",")[2]}" r="2.5" fill="{BLUE}"/>',
            *(f'<text x="{LEFT - 6}" y="{y:.1f}" text-anchor="end" {label}>{value:.5g}</text>' for y, value in ends),
            f'<text x="{right}" y="{HEIGHT - 8}" text-anchor="end" {label}>{last:,.0f} steps</text>',
            f'<text x="{LEFT}" y="{HEIGHT - 8}" {label}>return of an episode</text>',
            "</svg>",
        ]
    )
