"""Results with named axes: as an `xarray.Dataset`, as a table of `pandas`, and in one file."""
