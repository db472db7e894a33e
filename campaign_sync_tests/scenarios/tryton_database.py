"""Makes a database of Tryton, a real business software, with parties and their newsletter subscriptions.

Run as a program, since Tryton keeps its configuration for the whole process: `python -m … FOLDER`.
"""

import sys
from pathlib import Path

MODULES = ["country", "party", "web_user", "web_shortener", "marketing", "marketing_email"]
PEOPLE = 20


def make(folder: Path) -> None:
    """Create `crm.sqlite` in the folder: twenty parties, of whom all but the last subscribed to the newsletter."""
    from trytond import config

    config.set("database", "uri", "sqlite://")
    config.set("database", "path", str(folder))

    from trytond.pool import Pool
    from trytond.transaction import Transaction

    with Transaction().start(None, 0, close=True, autocommit=True) as transaction:
        transaction.database.create(transaction.connection, "crm")
    with Transaction().start("crm", 0) as transaction:
        transaction.database.init()
    pool = Pool("crm")
    pool.init(update=["res", "ir", *MODULES], lang=["en"])
    with Transaction().start("crm", 0):
        module = pool.get("ir.module")
        module.activate(module.search([("name", "in", MODULES)]))
    pool.init(update=MODULES, lang=["en"])
    with Transaction().start("crm", 1) as transaction:
        (language,) = pool.get("ir.lang").search([("code", "=", "en")])
        (newsletter,) = pool.get("marketing.email.list").create([{"name": "Newsletter", "language": language.id}])
        pool.get("party.party").create([_party(number) for number in range(1, PEOPLE + 1)])
        pool.get("marketing.email").create(
            [{"email": f"person{number}@example.org", "list_": newsletter.id} for number in range(1, PEOPLE)]
        )
        transaction.commit()


def _party(number: int) -> dict[str, object]:
    address = f"Person{number}@Example.org " if number == 2 else f"person{number}@example.org"
    mechanism = {"type": "email", "value": address}
    return {"name": f"Jürgen Groß {number}", "contact_mechanisms": [("create", [mechanism])]}


if __name__ == "__main__":
    make(Path(sys.argv[1]))
