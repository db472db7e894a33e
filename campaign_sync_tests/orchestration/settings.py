"""Settings of a mandator, without a file."""

from pydantic import SecretStr

from campaign_sync.config import Configuration, MandatorSettings


def mandator_settings(**more: object) -> MandatorSettings:
    """Return the settings of a mandator with one list, and further settings."""
    recipient_list = {
        "recipient_list_id": 11,
        "kind": "regular",
        "opt_in_id": "newsletter-nord",
        "select": {"report": "Everybody"},
    }
    credentials = {"username": SecretStr("user"), "password": SecretStr("secret")}
    return MandatorSettings.model_validate(
        {"mandator_id": 8100, **credentials, "lists": {"newsletter": recipient_list}} | more
    )


def configuration(crm_url: str = "sqlite:///nowhere/crm.db", **more: object) -> Configuration:
    """Return a configuration of that mandator, named nord."""
    return Configuration.model_validate(
        {
            "optimizely": {"base_url": "https://vendor.example/soap11"},
            "crm": {"url": crm_url},
            "mandators": {"nord": mandator_settings(**more)},
        }
    )
