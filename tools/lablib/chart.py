"""Throughput over time as an SVG picture: one panel per transfer, the kill marked, the pause shaded."""

from xml.sax.saxutils import escape

WIDTH, PANEL, LEFT, RIGHT, TOP, BETWEEN, BOTTOM = 960, 190, 80, 30, 84, 54, 62
BIN_SECONDS = 0.02
COLOURS = {"download": "#2166ac", "upload": "#1b7837"}


def rates(curve, began, seconds):
    """Mbit/s in each bin of time; the bytes between two samples are spread evenly over the time between them, so
    that a pause is as long in the picture as it was."""
    bins = [0.0] * (int(seconds / BIN_SECONDS) + 1)
    for (first, before), (second, after) in zip(curve, curve[1:]):
        if after <= before or second <= first:
            continue
        position, end = first - began, second - began
        density = (after - before) * 8e-6 / (end - position)
        while position < end:
            index = int(position / BIN_SECONDS + 1e-9)
            edge = min(end, (index + 1) * BIN_SECONDS)
            if 0 <= index < len(bins):
                bins[index] += density * (edge - position) / BIN_SECONDS
            if edge <= position:
                break
            position = edge
    return bins


def nice_step(span, count):
    """A round step that divides the span into about `count` parts."""
    raw = span / count
    power = 10 ** len(str(int(raw))) / 10 if raw >= 1 else 0.1 if raw >= 0.1 else 0.01
    return next((factor * power for factor in (1, 2, 5, 10) if factor * power >= raw), 10 * power)


def text(x, y, words, size=13, anchor="start", colour="#333", weight="normal"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" '
            f'font-weight="{weight}">{escape(words)}</text>')


def line(x1, y1, x2, y2, colour, width=1.0, dash=""):
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"{dashes}/>')


def panel(direction, curve, pause, top, scale):
    """One transfer: grid, shaded pause with its label, and the curve."""
    began, seconds, x_of = scale
    bins = rates(curve, began, min(seconds, curve[-1][0] - began))
    step = nice_step(max(max(bins), 1) * 1.15, 4)
    most = step * (int(max(bins) * 1.15 / step) + 1)
    bottom = top + PANEL

    def y_of(rate):
        return bottom - rate / most * PANEL
    parts = [text(LEFT, top - 10, f"{direction}, Mbit/s", 14, weight="bold", colour=COLOURS[direction])]
    for number in range(int(most / step + 0.5) + 1):
        parts += [line(LEFT, y_of(number * step), WIDTH - RIGHT, y_of(number * step), "#ddd"),
                  text(LEFT - 8, y_of(number * step) + 4, f"{number * step:g}", 12, "end")]
    points = [(x_of(began + (index + 0.5) * BIN_SECONDS), y_of(rate)) for index, rate in enumerate(bins)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    parts += [f'<polygon points="{points[0][0]:.1f},{bottom} {path} {points[-1][0]:.1f},{bottom}" '
              f'fill="{COLOURS[direction]}" fill-opacity="0.18"/>',
              f'<polyline points="{path}" fill="none" stroke="{COLOURS[direction]}" stroke-width="1.6"/>']
    length, first, last = pause
    if first is not None:
        left, right = x_of(first), x_of(last)
        words, at_right = f"no progress for {length * 1000:.0f} ms", right < WIDTH * 0.7
        parts += [f'<rect x="{left:.1f}" y="{top}" width="{max(1.0, right - left):.1f}" height="{PANEL}" '
                  f'fill="#f4a582" fill-opacity="0.55"/>',
                  f'<rect x="{(right + 6 if at_right else left - 6 - 7.6 * len(words)):.1f}" y="{top + 6}" '
                  f'width="{7.6 * len(words):.0f}" height="20" fill="#fff" fill-opacity="0.85"/>',
                  text(right + 10 if at_right else left - 10, top + 21, words, 13, "start" if at_right else "end",
                       "#b2182b", "bold")]
    return parts


def draw(path, curves, pauses, killed_at, title, subtitle):
    """`curves` and `pauses` by direction, as watch.Watch.stop and watch.longest_pause give them."""
    began = min(curve[0][0] for curve in curves.values())
    seconds = max(curve[-1][0] for curve in curves.values()) - began
    plot = WIDTH - LEFT - RIGHT

    def x_of(moment):
        return LEFT + (moment - began) / seconds * plot
    height = TOP + len(curves) * PANEL + (len(curves) - 1) * BETWEEN + BOTTOM
    bottom = height - BOTTOM
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
             f'height="{height}" font-family="Helvetica, Arial, sans-serif">',
             f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
             text(LEFT, 26, title, 18, weight="bold"), text(LEFT, 46, subtitle, 13, colour="#666")]
    for number, (direction, curve) in enumerate(curves.items()):
        parts += panel(direction, curve, pauses[direction], TOP + number * (PANEL + BETWEEN), (began, seconds, x_of))
    killed = x_of(killed_at)
    parts += [line(killed, TOP - 6, killed, bottom, "#b2182b", 1.5, "5 3"),
              text(killed + 5, TOP - 10, "owner killed", 13, colour="#b2182b", weight="bold")]
    step = nice_step(seconds, 8)
    for number in range(int(seconds / step) + 1):
        x = x_of(began + number * step)
        parts += [line(x, bottom, x, bottom + 5, "#333"), text(x, bottom + 20, f"{number * step:g}", 12, "middle")]
    parts += [line(LEFT, bottom, WIDTH - RIGHT, bottom, "#333"),
              text(LEFT + plot / 2, bottom + 42, "seconds", 13, "middle"), "</svg>"]
    with open(path, "w", encoding="utf-8") as output:
        output.write("\n".join(parts) + "\n")
