from .dataset import to_xarray as to_xarray
from .files import load_result as load_result
from .files import save_result as save_result
from .result import Result as Result
from .table import to_table as to_table
