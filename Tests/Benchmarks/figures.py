"""From the figures of the rounds to the table and the JSON."""

from statistics import median

from measures.row import Row


def summary(rounds: list[float]) -> dict[str, object]:
    return {"median": median(rounds), "min": min(rounds), "max": max(rounds), "rounds": rounds}


def compare(row: Row, rounds: list[dict[str, float]]) -> dict[str, object]:
    """One row with its spread. The ratio is taken within each round, where both saw the same machine."""
    ours = [figures[row.ours] for figures in rounds]
    other = [figures[row.other] for figures in rounds]
    ratio = summary([one / another for one, another in zip(ours, other)])
    return {
        "figure": row.figure,
        "unit": row.unit,
        "ours": summary(ours),
        "other": summary(other) | {"name": row.other_name},
        "ratio": ratio,
        "goal": row.goal and {"text": str(row.goal), "bound": row.goal.bound, "holds": row.goal.holds(ratio["median"])},
    }


def table(rows: list[dict]) -> str:
    lines = [
        "| figure | ours: median (min–max) | beside: median (min–max) | what stands beside |"
        " ours ÷ beside (min–max) | goal | holds |",
        "|---|---:|---:|---|---:|---:|---|",
    ]
    for row in rows:
        figure, goal = f"{row['figure']}, {row['unit']}", row["goal"]
        demand = (goal["text"], "yes" if goal["holds"] else "**no**") if goal else ("", "")
        cells = (figure, spread(row["ours"]), spread(row["other"]), row["other"]["name"], spread(row["ratio"]), *demand)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def spread(summary: dict) -> str:
    return f"{number(summary['median'])} ({number(summary['min'])}–{number(summary['max'])})"


def number(value: float) -> str:
    """Three digits that mean something; more would be noise."""
    if value >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
