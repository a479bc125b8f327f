#!/bin/bash
set -eu
python3 - <<'PYTHON'
import csv
import json
import sqlite3

database = sqlite3.connect("sales.db")
database.executescript("""
    CREATE TABLE orders (order_id TEXT PRIMARY KEY, date TEXT, region TEXT, product_id TEXT,
                         quantity INTEGER, status TEXT);
    CREATE TABLE products (product_id TEXT PRIMARY KEY, name TEXT, category TEXT,
                           unit_price_cents INTEGER);
""")
for table in ("orders", "products"):
    with open(f"{table}.csv", newline="") as file:
        header, *rows = csv.reader(file)
    marks = ", ".join("?" * len(header))
    database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
database.executescript("""
    CREATE TEMP VIEW paid AS
    SELECT *, quantity * unit_price_cents AS revenue
    FROM orders JOIN products USING (product_id) WHERE status = 'paid';
""")


def one(query):
    return database.execute(query).fetchone()[0]


best = "GROUP BY {0} ORDER BY sum(revenue) DESC LIMIT 1"
regions = [row[0] for row in database.execute("SELECT DISTINCT region FROM orders")]
answers = {
    "revenue_cents": one("SELECT sum(revenue) FROM paid"),
    "best_category": one("SELECT category FROM paid " + best.format("category")),
    "best_region_in_december": one(
        "SELECT region FROM paid WHERE date LIKE '2025-12-%' " + best.format("region")
    ),
    "best_product_per_region": {
        region: one(
            f"SELECT product_id FROM paid WHERE region = '{region}' " + best.format("product_id")
        )
        for region in regions
    },
}
database.commit()
with open("answers.json", "w") as file:
    json.dump(answers, file, indent=2)
PYTHON
