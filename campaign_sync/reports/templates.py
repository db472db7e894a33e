"""The Jinja templates of reports and of other pages for people, and of mails."""

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from campaign_sync.domain.printable_text import printable


def fill_template(name: str, **values: object) -> str:
    """Return what a template makes of values. One that has texts of its own needs `_`, which translates them.

    Jinja escapes markup; a name must not reverse the direction of the text beside it, either.
    """
    return printable(_environment().get_template(name).render(**values))


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("campaign_sync.reports", ""),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
