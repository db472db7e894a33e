"""Scopes of locks, answers of the vendor as counts, and plainer column names."""

import re
from collections import Counter

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_ANSWER = re.compile(r"code (\d+): (\d+)")
_STEPS_AT_ONCE = 5_000

_step = sa.table("replace_step", sa.column("replace_id"), sa.column("number"), sa.column("step"),
                 sa.column("outcome"), sa.column("detail"))  # fmt: skip
_answer = sa.table("replace_answer", sa.column("replace_id"), sa.column("number"), sa.column("code"), sa.column("rows"))


def upgrade() -> None:
    """Apply the change."""
    _scope_locks()
    _count_answers()
    for table in ("unsubscribed_recipient", "list_unsubscribe"):
        op.execute(f"ALTER TABLE {table} RENAME COLUMN told TO known_to_crm")
    op.execute("ALTER TABLE notice RENAME COLUMN told TO stage")
    op.execute("ALTER TABLE notice RENAME COLUMN told_at TO sent_at")


def _scope_locks() -> None:
    """Give every lock a scope. Before, a lock of a mandator had the mandator's id with a minus as its list id."""
    op.create_table(
        "lease_with_scope",
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("vendor_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("token", sa.String(length=36), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("acquired_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("scope", "vendor_id"),
    )
    op.execute(
        "INSERT INTO lease_with_scope (scope, vendor_id, token, owner, run_id, acquired_at, expires_at) "
        "SELECT CASE WHEN recipient_list_id < 0 THEN 'mandator' ELSE 'recipient_list' END, abs(recipient_list_id), "
        "token, owner, run_id, acquired_at, expires_at FROM lease"
    )
    op.drop_table("lease")
    op.rename_table("lease_with_scope", "lease")


def _count_answers() -> None:
    """Count the answers that earlier versions wrote down as text: `code 0: 998, code 2: 2`."""
    op.create_table(
        "replace_answer",
        sa.Column("replace_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("code", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("replace_id", "number", "code"),
    )
    answered = (
        sa.select(_step.c.replace_id, _step.c.number, _step.c.detail)
        .where(_step.c.step == "addAll3", _step.c.outcome == "done", _step.c.detail.is_not(None))
        .order_by(_step.c.replace_id, _step.c.number)
    )
    connection = op.get_bind()
    after = ("", 0)
    while steps := connection.execute(_following(answered, after)).all():
        counts = [row for step in steps for row in _counted(step.replace_id, step.number, step.detail)]
        if counts:
            connection.execute(_answer.insert(), counts)
        after = (steps[-1].replace_id, steps[-1].number)


def _following(
    answered: "sa.Select[tuple[str, int, str]]", after: tuple[str, int]
) -> "sa.Select[tuple[str, int, str]]":
    replace_id, number = after
    same_replace = (_step.c.replace_id == replace_id) & (_step.c.number > number)
    return answered.where((_step.c.replace_id > replace_id) | same_replace).limit(_STEPS_AT_ONCE)


def _counted(replace_id: str, number: int, detail: str) -> list[dict[str, object]]:
    rows_by_code: Counter[int] = Counter()
    for code, rows in _ANSWER.findall(detail):
        rows_by_code[int(code)] += int(rows)
    key = {"replace_id": replace_id, "number": number}
    return [{**key, "code": code, "rows": rows} for code, rows in rows_by_code.items()]
