from ._cache import Cache as Cache
from ._cache import decode_step as decode_step
from ._cache import prefill as prefill
from ._choose import choose as choose
from ._generation import Generation as Generation
