from ._html import page as page
from ._html import save_page as save_page
from ._reading import read_results as read_results
