"""Plots as SVG, written by hand: bars side by side on a logarithmic axis, and curves."""

import math
from html import escape

COLOURS = ["#1668a8", "#4fa3d8", "#c8553d", "#8a8a8a", "#2b9348", "#7b4ea3"]
FONT = 'font-family="system-ui, sans-serif"'
WIDTH, LEFT, RIGHT, TOP = 860, 70, 20, 64
GROUND = 48


def frame(title, height, parts):
    """The whole picture, on white so that it can be read on a dark page too."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" {FONT} font-size="12">'
    rows = [head, f"<title>{escape(title)}</title>", f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>']
    rows.append(text(LEFT, 22, title, size=15, weight=600))
    return "\n".join([*rows, *parts, "</svg>", ""])


def text(x, y, words, size=12, anchor="start", fill="#222222", weight=400):
    """One line of text."""
    style = f'font-size="{size}" text-anchor="{anchor}" fill="{fill}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>'


def legend(names):
    """Colours and what they stand for, in a row below the title."""
    parts, x = [], LEFT
    for name, colour in zip(names, COLOURS):
        parts.append(f'<rect x="{x}" y="34" width="12" height="12" fill="{colour}"/>')
        parts.append(text(x + 17, 44, name))
        x += 34 + 7 * len(name)
    return parts


def short(number):
    """A number in few characters."""
    if number >= 10_000:
        return f"{number / 1000:,.0f}k"
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.3g}"


class Scale:
    """From a value to a place, logarithmic unless there is a zero among the values."""

    def __init__(self, values, start, end, logarithmic=True):
        values = [value for value in values if value is not None]
        self.logarithmic = logarithmic and min(values) > 0
        self.start, self.end = start, end
        if self.logarithmic:
            self.low = 10 ** math.floor(math.log10(min(values)) + 1e-9)
            self.high = 10 ** math.ceil(math.log10(max(values)) - 1e-9)
            self.high = self.high if self.high > self.low else self.low * 10
        else:
            self.low, self.high = 0, nice(max(values) * 1.05)

    def __call__(self, value):
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self):
        """Where lines are drawn."""
        if self.logarithmic:
            return [10**power for power in range(round(math.log10(self.low)), round(math.log10(self.high)) + 1)]
        return [self.high * share / 5 for share in range(6)]


def nice(number):
    """The next number that divides well."""
    power = 10 ** math.floor(math.log10(number)) if number > 0 else 1
    return next(power * step for step in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if power * step >= number)


def lines_across(scale):
    """The grid of a vertical axis."""
    parts = []
    for tick in scale.ticks():
        y = scale(tick)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(text(LEFT - 8, y + 4, short(tick), anchor="end", fill="#555555"))
    return parts


def bars(title, unit, groups, names):
    """Groups of bars: `groups` is a list of (label, values), a value for each of `names` or None."""
    height = 380
    scale = Scale([value for _, values in groups for value in values], height - GROUND, TOP + 12)
    parts = [*lines_across(scale), text(12, TOP - 6, unit, fill="#555555"), *legend(names)]
    room = (WIDTH - LEFT - RIGHT) / len(groups)
    width = room * 0.84 / len(names)
    for place, (label, values) in enumerate(groups):
        x = LEFT + place * room + room * 0.08
        for value, colour in zip(values, COLOURS):
            if value is not None:
                y, ground = scale(value), height - GROUND
                parts.append(
                    f'<rect x="{x:.1f}" y="{y:.1f}" width="{width - 2:.1f}" height="{ground - y:.1f}" fill="{colour}"/>'
                )
                parts.append(text(x + width / 2 - 1, y - 3, short(value), size=9, anchor="middle", fill="#444444"))
            x += width
        parts.append(text(LEFT + (place + 0.5) * room, height - GROUND + 18, label, anchor="middle"))
    return frame(title, height, parts)


def curves(title, x_label, y_label, lines, logarithmic_y=True):
    """Curves: `lines` is a list of (name, [(x, y), …])."""
    height = 340
    across = Scale([x for _, points in lines for x, _ in points], LEFT + 12, WIDTH - RIGHT - 12)
    up = Scale([y for _, points in lines for _, y in points], height - GROUND, TOP + 12, logarithmic_y)
    parts = [*lines_across(up), text(12, TOP - 6, y_label, fill="#555555"), *legend([name for name, _ in lines])]
    for tick in across.ticks():
        parts.append(text(across(tick), height - GROUND + 18, short(tick), anchor="middle", fill="#555555"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, height - 10, x_label, anchor="middle", fill="#555555"))
    for (_, points), colour in zip(lines, COLOURS):
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3" fill="{colour}"/>' for x, y in points]
    return frame(title, height, parts)
