"""HDF-EOS: grids and swaths of MODIS, VIIRS and AMSR products."""
