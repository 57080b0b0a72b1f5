from ._claim import Claim as Claim
from ._claim import Reading as Reading
from ._registry import claims as claims
from ._reproduce import Measured as Measured
from ._reproduce import Reproduction as Reproduction
from ._reproduce import reproduce as reproduce
