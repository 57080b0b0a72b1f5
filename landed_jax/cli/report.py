"""`landed report`: stored results as one HTML page."""

import click

from landed_jax.cli.options import check_page_target
from landed_jax.cli.output import write_text
from landed_jax.cli.progress import status_line

EXAMPLES = """\b
Examples:
  landed run "The Colosseum is in the city of" --by-source --detail --json rome.json
  landed report rome.json --html rome.html
  landed report rome.json ablate.json --html rome.html
  landed report induction --html study.html
"""


@click.command(epilog=EXAMPLES)
@click.argument("results", metavar="RESULT…", nargs=-1, required=True)
@click.option("--html", "html_target", metavar="FILE", required=True, help="The page.")
@click.option("--title", metavar="TEXT", help="Its title. Default: what the first result is about.")
def report(results: tuple[str, ...], html_target: str, title: str | None) -> None:
    """Results as one HTML page, which opens without a network.

    RESULT is the JSON, or JSON lines, of `landed run`, `ablate`, `patch`, `compare` or `study`, or a study's folder. A
    page of several has a chooser. Total effects of `ablate` join the account of the same prompt, position and target.
    """
    check_page_target(html_target, *results)
    with status_line("Reading results") as status:
        from landed_jax.page import page, read_results

        documents = read_results(results)
        status("Writing the page")
        text = page(documents, title)
    write_text(text, html_target)
