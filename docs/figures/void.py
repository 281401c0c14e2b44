"""Figure: a chart drawn on a scene, void left. Command: python docs/figures/void.py."""

import tempfile
from pathlib import Path

import arcticdl
from arcticdl import plots
from arcticdl.simulate import simulate_scenes


def main():
    with tempfile.TemporaryDirectory() as folder:
        paths = simulate_scenes(
            folder, num_scenes=1, size_px=512, seed=4, charts=True, progress=False
        )
        chart = paths[0].with_name(f"{paths[0].stem}_chart.gpkg")
        with arcticdl.open_scene(paths[0], labels={"SOD": chart}) as scene:
            figure = plots.scene_map(scene, "SOD", bands=["HH"])
            plots.write_figure(
                figure, Path(__file__).parents[1] / "images" / "void.png", dpi=120
            )


if __name__ == "__main__":
    main()
