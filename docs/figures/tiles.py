"""Figure: how a scene is cut. Command: python docs/figures/tiles.py."""

from pathlib import Path

from matplotlib.patches import Rectangle

from arcticdl import plots, tiles

SHAPE_PX, TILE_PX, OVERLAP_PX = (400, 560), 160, 16


def main():
    starts = tiles.plan_tiles(SHAPE_PX, TILE_PX, overlap_px=OVERLAP_PX).starts
    with plots.house_style():
        figure = plots.new_figure((7.2, 5.2))
        ax = figure.add_subplot()
        for number, (row, col) in enumerate(starts):
            ax.add_patch(
                Rectangle((col, row), TILE_PX, TILE_PX, facecolor="#0072B2", alpha=0.28)
            )
            ax.add_patch(
                Rectangle(
                    (col, row), TILE_PX, TILE_PX, fill=False, lw=1.2, ec="#0b3954"
                )
            )
            middle = (col + TILE_PX / 2, row + TILE_PX / 2)
            ax.annotate(str(number), middle, ha="center", va="center", fontsize=13)
        ax.set(xlim=(-6, SHAPE_PX[1] + 6), ylim=(SHAPE_PX[0] + 6, -6), aspect="equal")
        ax.set_xlabel("column (px)")
        ax.set_ylabel("row (px)")
        ax.set_title(f"{len(starts)} tiles of {TILE_PX} px, {OVERLAP_PX} px overlap")
    plots.write_figure(figure, Path(__file__).parents[1] / "images" / "tiles.png")


if __name__ == "__main__":
    main()
