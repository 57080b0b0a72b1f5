from ._activation_patching import activation_patching as activation_patching
from ._aligned import Aligned as Aligned
from ._aligned import aligned as aligned
from ._attribution_patching import attribution_patching as attribution_patching
from ._maps import HeatMaps as HeatMaps
from ._maps import heat_maps as heat_maps
from ._patching import Patching as Patching
