"""From the figures of the rounds to the table and the JSON."""

from statistics import median

from measures import Row


def summary(rounds: list[float]) -> dict[str, object]:
    return {"median": median(rounds), "min": min(rounds), "max": max(rounds), "rounds": rounds}


def compare(row: Row, rounds: list[dict[str, float]]) -> dict[str, object]:
    """One row with its spread. The ratio is taken within each round, where both saw the same machine."""
    ours = [figures[row.ours] for figures in rounds]
    floor = [figures[row.floor] for figures in rounds]
    return {
        "figure": row.figure,
        "unit": row.unit,
        "ours": summary(ours),
        "floor": summary(floor) | {"name": row.floor_name},
        "ratio": summary([one / other for one, other in zip(ours, floor)]),
    }


def table(rows: list[dict], other: str = "floor") -> str:
    """other: what ours stands beside."""
    lines = [
        f"| figure | ours: median (min–max) | {other}: median (min–max) | {other} | ours ÷ {other} (min–max) |",
        "|---|---:|---:|---|---:|",
    ]
    for row in rows:
        figure = f"{row['figure']}, {row['unit']}"
        cells = (figure, spread(row["ours"]), spread(row["floor"]), row["floor"]["name"], spread(row["ratio"]))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def spread(summary: dict) -> str:
    return f"{number(summary['median'])} ({number(summary['min'])}–{number(summary['max'])})"


def number(value: float) -> str:
    """Three digits that mean something; more would be noise."""
    if value >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.3g}"
