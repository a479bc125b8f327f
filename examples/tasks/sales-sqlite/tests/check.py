"""Prints the rewards: `answers` and `database`, each 0 or 1, and `reward`, 1 if both are."""

import json
import sqlite3
from pathlib import Path

EXPECTED = {
    "revenue_cents": 9110375,
    "best_category": "furniture",
    "best_region_in_december": "east",
    "best_product_per_region": {"north": "P07", "east": "P07", "south": "P05", "west": "P05"},
}
TOTALS = {
    "SELECT count(*), sum(quantity), typeof(max(quantity)) FROM orders": (600, 2671, "integer"),
    "SELECT count(*) FROM orders WHERE status = 'paid' AND region = 'north'": (123,),
    "SELECT count(*), sum(unit_price_cents), typeof(max(unit_price_cents)) FROM products": (
        12,
        46090,
        "integer",
    ),
}


def answers_are_right():
    try:
        return json.loads(Path("answers.json").read_text()) == EXPECTED
    except (OSError, ValueError):
        return False


def database_is_right():
    if not Path("sales.db").is_file():
        return False
    try:
        database = sqlite3.connect("sales.db")
        return all(database.execute(query).fetchone() == row for query, row in TOTALS.items())
    except sqlite3.Error:
        return False


answers, database = answers_are_right(), database_is_right()
print(
    json.dumps(
        {"reward": int(answers and database), "answers": int(answers), "database": int(database)}
    )
)
