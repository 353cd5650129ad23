"""What the Python clients share: where to connect, and how results are written down."""

import os

HOST = os.environ["PGHOST"]
PORT = int(os.environ["PGPORT"])
USER = os.environ["PGUSER"]
PASSWORD = os.environ["PGPASSWORD"]
DATABASE = os.environ["PGDATABASE"]
# "owner" leaves out what the owner of a tenant's database may not do (differences.md).
ALL_STEPS = os.environ.get("PGWARDEN_STEPS", "all") == "all"


def section(name):
    print(f"== {name}", flush=True)


def show(*values):
    print(*(repr(value) for value in values), flush=True)


def failure(error):
    """An error as the driver gives it: class, SQLSTATE, first line."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    text = str(error).strip().splitlines()
    show(type(error).__name__, state, text[0] if text else "")
