from .estimates import attribution_bytes as attribution_bytes
from .estimates import choose_passes as choose_passes
from .estimates import trace_bytes as trace_bytes
from .estimates import weight_bytes as weight_bytes
from .freed import keep_freed_memory as keep_freed_memory
