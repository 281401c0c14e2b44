# What the package offers, for its lazy loader, for mypy and for editors.
from .clouds import cloud_mask as cloud_mask
from .clouds import cloudy_scene as cloudy_scene
from .clouds import hide_clouds as hide_clouds
from .daily import daily_scene as daily_scene
from .monthly import monthly_year as monthly_year
from .objects.floes import floe_scene as floe_scene
from .objects.icebergs import iceberg_scene as iceberg_scene
from .optical import OPTICAL_BANDS as OPTICAL_BANDS
from .optical import SURFACES as SURFACES
from .optical import optical_scene as optical_scene
from .restore import coarse_scene as coarse_scene
from .restore import speckled_scene as speckled_scene
from .scene import ICE_TYPES as ICE_TYPES
from .scene import scene_arrays as scene_arrays
from .write import SCHEMAS as SCHEMAS
from .write import simulate_scenes as simulate_scenes
