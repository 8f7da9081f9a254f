"""Addresses of database servers: the driver they need, and how they are shown."""

import re


def driven(url: str) -> str:
    """PostgreSQL by the driver that comes with ringbench[db], where the URL names none."""
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)


def shown(url: str) -> str:
    """A URL without its password, for screens and records."""
    return re.sub(r"//([^:@/]*):[^@/]*@", r"//\1@", url)
