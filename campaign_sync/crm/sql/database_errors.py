"""The meaning of the databases' errors, without anything of the people in their rows."""

import sqlite3
from traceback import walk_tb

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from campaign_sync.sqlite import remedy

URL_SETTING = "crm.url"
"""The name of the database's URL in messages: its place in the configuration."""

_SHOWABLE_SQLSTATES = ("25", "42", "53", "55", "57")
"""PostgreSQL's error classes whose texts are about statements and resources, never about the data in a row."""

_ROW_SQLSTATES = ("22", "23", "40", "44", "55P03", "P0001")
"""PostgreSQL's errors about a single row: its values, constraints, locks, and what a trigger raises."""

_PASSWORD_REFUSED = ("password authentication failed", "no password supplied")
"""PostgreSQL's words for a wrong password. Other logins (LDAP, RADIUS) can fail because their server is down."""

_SYNTAX_ERROR = "42601"
"""PostgreSQL's code. A load can cause the others of its class: missing tables, columns and privileges, other types."""

_LOGIN_REFUSED = f"the login was refused; check user and password in {URL_SETTING}"
_NO_SUCH_DATABASE = f"there is no such database or user; check {URL_SETTING}"

_MYSQL_LOGIN = frozenset({1045, 1251, 1698, 1862, 3118})
"""MariaDB's and MySQL's numbers for a refused login: a wrong password, a method that the user may not use."""

_MYSQL_SYNTAX = 1064
_MYSQL_UNKNOWN_DATABASE = frozenset({1044, 1049})
_MYSQL_UNREACHABLE = frozenset({2002, 2003, 2005})
_MYSQL_LOST = frozenset({1053, 1927, 2006, 2013, 2055})

_MYSQL_ABOUT_STATEMENTS = frozenset(
    {1040, 1051, 1052, 1054, 1055, 1060, 1066, 1109, 1140, 1142, 1143, 1146, 1222, 1226, 1227, 1248, 1267, 1271, 1290}
    | {1305, 1317, 1356, 1370, 1462, 1792, 1836, 1969, 3024}
)
"""MariaDB's and MySQL's errors whose texts are about statements and resources, never about the data in a row."""

_MYSQL_ABOUT_ROWS = frozenset(
    {1022, 1048, 1062, 1205, 1213, 1216, 1217, 1263, 1264, 1265, 1292, 1364, 1366, 1406, 1411, 1451, 1452, 1644, 1690}
    | {3819, 4025}
)
"""MariaDB's and MySQL's errors about a single row: its values, constraints, locks, and what a trigger raises."""


_DRIVERS = ("pymysql", "psycopg2")
"""The packages of the databases' drivers."""

_LACKS_PACKAGE = "package is required"
"""PyMySQL's words for a login whose method needs a package that isn't installed."""


def is_of_driver(error: BaseException) -> bool:
    """Return whether code of a driver raised an error, which needn't be of the driver's own kinds.

    PyMySQL raises RuntimeErrors, and its code fails in any way when a server's answer is broken.
    """
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    return bool(frames) and str(frames[-1].f_globals.get("__name__", "")).startswith(_DRIVERS)


def lacks_package(error: BaseException) -> bool:
    """Return whether a driver lacks a package for the method by which the user logs in."""
    return isinstance(error, RuntimeError) and _LACKS_PACKAGE in str(error)


def explain_of_driver(error: BaseException) -> str:
    """Return what is wrong where `is_of_driver`, and the remedy, without anything of the error's text."""
    if lacks_package(error):
        return (
            "the user's login needs a package that isn't installed; run pip install 'pymysql[rsa,ed25519]', or have "
            "the user log in with mysql_native_password"
        )
    return (
        f"the driver couldn't read the answer ({type(error).__name__}); check that {URL_SETTING} names a database, and "
        "its own log, then try again"
    )


def needs_person(error: SQLAlchemyError) -> bool:
    """Return whether a person has to correct the syntax of a statement, or the login.

    In doubt the answer is no: a useless retry costs minutes, a missed replacement a day.
    """
    original = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(original, sqlite3.Error):
        return "syntax error" in str(original)
    number = _mysql_number(original)
    if number is not None:
        return number == _MYSQL_SYNTAX or number in _MYSQL_LOGIN
    if getattr(original, "pgcode", None):
        return _is_syntax_error(original)
    return any(words in str(original) for words in _PASSWORD_REFUSED)


def is_about_row(error: SQLAlchemyError) -> bool:
    """Return whether a database refused a single row, so that others may be written."""
    original = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(original, sqlite3.Error):
        return isinstance(original, sqlite3.IntegrityError) or "locked" in str(original)
    number = _mysql_number(original)
    if number is not None:
        return number in _MYSQL_ABOUT_ROWS
    return str(getattr(original, "pgcode", None) or "").startswith(_ROW_SQLSTATES)


def explain(error: SQLAlchemyError) -> str:
    """Return what is wrong, and the remedy. Never a value of a row: drivers quote them."""
    original = error.orig if isinstance(error, DBAPIError) else None
    if original is None:
        return type(error).__name__
    if type(original) in (sqlite3.OperationalError, sqlite3.DatabaseError):  # statements and files, never values
        helps = remedy(original)
        return f"{original}: {helps}" if helps else str(original)
    if isinstance(original, sqlite3.Error):
        return type(original).__name__
    number = _mysql_number(original)
    if _is_syntax_error(original) and isinstance(error, DBAPIError) and error.params:
        return "a statement has a syntax error"  # the drivers put values into it, and the message quotes it
    return _explain_postgresql(original) if number is None else _explain_mysql(number, original)


def _explain_mysql(number: int, original: BaseException) -> str:
    if number in _MYSQL_LOGIN:
        return _LOGIN_REFUSED
    if number in _MYSQL_UNKNOWN_DATABASE:
        return f"there is no such database, or the user has no right to it; check {URL_SETTING}"
    if number in _MYSQL_UNREACHABLE:
        return f"it can't be reached; check {URL_SETTING}, and that the database is running (error {number})"
    if number in _MYSQL_LOST:
        return f"the connection was lost (error {number}); check the database's own log"
    if number == _MYSQL_SYNTAX or number in _MYSQL_ABOUT_STATEMENTS:
        return f"{original.args[1]} (error {number})"
    if not number:
        return explain_of_driver(original)
    return f"{type(original).__name__} (error {number}, which the database's documentation explains)"


def _explain_postgresql(original: BaseException) -> str:
    state = getattr(original, "pgcode", None)
    if state == "22021":
        return "a text isn't UTF-8; the database lets any bytes in (SQL_ASCII), convert it to UTF-8"
    if state and state.startswith(_SHOWABLE_SQLSTATES):
        return f"{original.diag.message_primary} (SQLSTATE {state})"  # type: ignore[attr-defined]
    if state:
        return f"{type(original).__name__} (SQLSTATE {state})"
    text = str(original)
    if "authentication failed" in text or "no password supplied" in text:
        return _LOGIN_REFUSED
    if "does not exist" in text:
        return _NO_SUCH_DATABASE
    return f"it can't be reached; check {URL_SETTING}, and that the database is running ({type(original).__name__})"


def _is_syntax_error(original: BaseException | None) -> bool:
    return _mysql_number(original) == _MYSQL_SYNTAX or getattr(original, "pgcode", None) == _SYNTAX_ERROR


def _mysql_number(original: BaseException | None) -> int | None:
    """Return the number of an error of MariaDB or MySQL; None for other databases' errors."""
    if original is None or not type(original).__module__.startswith("pymysql"):
        return None
    number = original.args[0] if len(original.args) > 1 else 0
    return number if isinstance(number, int) else 0
