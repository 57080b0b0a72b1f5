"""A sweep of `landed ablate` by itself."""

from landed_jax.page.sections.section import PageSection
from landed_jax.page.sections.total import CHARTS, of_components

SECTION = PageSection(name="ablation", title="Total effects", of="ablate", build=of_components, charts=CHARTS)
