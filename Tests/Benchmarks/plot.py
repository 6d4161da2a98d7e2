"""The ratios as a picture."""

from pathlib import Path

COLOURS = {True: "tab:green", False: "tab:red", None: "tab:blue"}


def plot(rows: list[dict], facts: dict[str, str], path: Path) -> None:
    """One line for each row: the median of its ratios with their spread, and the goal."""
    # Imported here: who wants no picture needs no matplotlib.
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(14, 2 + 0.28 * len(rows)), layout="constrained")
    for place, row in enumerate(rows):
        ratio, goal = row["ratio"], row["goal"]
        colour = COLOURS[goal["holds"] if goal else None]
        below, above = ratio["median"] - ratio["min"], ratio["max"] - ratio["median"]
        axes.errorbar(ratio["median"], place, xerr=[[below], [above]], fmt="o", color=colour, capsize=3)
        if goal:
            axes.plot(goal["bound"], place, marker="|", markersize=14, color="black")
            axes.annotate(goal["text"], (goal["bound"], place), xytext=(4, 4), textcoords="offset points", fontsize=7)
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yticks(range(len(rows)), [f"{row['figure']} ({row['unit']}) ÷ {row['other']['name']}" for row in rows])
    axes.tick_params(axis="y", labelsize=8)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel(
        "ours ÷ what stands beside, median and spread. | is the goal: green holds, red does not, blue has none")
    axes.set_title(f"{facts['sidecar']} · {facts['processor']} · {facts['file system']}", fontsize=10)
    figure.savefig(path, dpi=110, metadata={"Software": None})
