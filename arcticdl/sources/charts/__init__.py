"""Ice charts, as polygons and as the labels of AI4Arctic."""
