"""The ratios as a picture."""

from pathlib import Path

COLOURS = {True: "tab:green", False: "tab:red", None: "tab:blue"}


def times_better(row: dict, ratio: float) -> float:
    """Over 1 is better for us, whether the figure is a speed or what something costs."""
    return ratio if row["unit"].endswith("/s") else 1 / ratio


def plot(rows: list[dict], facts: dict[str, str], path: Path) -> None:
    """One line for each row: the median of its ratios with their spread, and the goal."""
    # Imported here: who wants no picture needs no matplotlib.
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(14, 2 + 0.28 * len(rows)), layout="constrained")
    for place, row in enumerate(rows):
        goal = row["goal"]
        colour = COLOURS[goal["holds"] if goal else None]
        middle, *ends = (times_better(row, row["ratio"][name]) for name in ("median", "min", "max"))
        spread = [[middle - min(ends)], [max(ends) - middle]]
        axes.errorbar(middle, place, xerr=spread, fmt="o", color=colour, capsize=3)
        if goal:
            axes.plot(times_better(row, goal["bound"]), place, marker="|", markersize=14, color="black")
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [f"{row['figure']} | {row['other']['name']}" for row in rows])
    axes.tick_params(axis="y", labelsize=8)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel("times as fast, or as small, as what stands beside: median and spread; | the goal (green: reached)")
    axes.set_title(f"{facts['sidecar']} · {facts['processor']} · {facts['file system']}", fontsize=10)
    figure.savefig(path, dpi=110, metadata={"Software": None})
