"""The catalogues of translations, by language."""

from functools import cache
from gettext import GNUTranslations, NullTranslations
from importlib.resources import files
from io import BytesIO

from campaign_sync.domain.message import SOURCE_LANGUAGE, Language, Message


def translate(text: str, language: Language) -> str:
    """Return a message in a language; any other text as it is."""
    if language == SOURCE_LANGUAGE or not isinstance(text, Message):
        return str(text)
    return text.translated(language, load_catalog("campaign_sync.localization", "messages", language).gettext)


@cache
def load_catalog(package: str, name: str, language: Language) -> NullTranslations:
    """Return the catalogue of that name in a package; of the language of the sources an empty one."""
    if language == SOURCE_LANGUAGE:
        return NullTranslations()
    from babel.messages.mofile import write_mo  # only where texts are translated
    from babel.messages.pofile import read_po

    path = files(package) / "locales" / language / "LC_MESSAGES" / f"{name}.po"
    compiled = BytesIO()
    with path.open("rb") as source:
        write_mo(compiled, read_po(source, locale=language))
    compiled.seek(0)
    return GNUTranslations(compiled)
