"""The largest writes of a generated token."""

from landed_jax.page.sections.section import PageSection
from landed_jax.page.sections.writes import CHARTS, of_writes

SECTION = PageSection(
    name="generated_writes", title="Largest writes", of="generate", build=of_writes, charts=CHARTS, place=2
)
