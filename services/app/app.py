"""The sample company's shop: one page with the products and the latest orders, straight from PostgreSQL.

Where it listens and how it reaches the database stand in its environment (``APP_*`` and libpq's own ``PG*``).
"""

from __future__ import annotations

import html
import os
import socket
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg2

PRODUCTS = "SELECT name, to_char(price, 'FM999990.00') FROM products ORDER BY name"
ORDERS = """
    SELECT orders.id, to_char(placed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'), customers.name, products.name,
        quantity
    FROM orders JOIN customers ON customers.id = customer_id JOIN products ON products.id = product_id
    ORDER BY placed_at DESC, orders.id DESC LIMIT 10"""
COUNTS = "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM customers)"
SERVER = "SELECT host(inet_server_addr()), pg_is_in_recovery()"
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>The shop</title>
<h1>The shop</h1>
<p>{orders_count} orders of {customers_count} customers.{read_only}</p>
<h2>Latest orders</h2><table><tr><th>Order<th>Placed (UTC)<th>Customer<th>Product<th>Quantity</tr>{orders}</table>
<h2>Products</h2><table><tr><th>Product<th>Price</tr>{products}</table>
<footer><p>Answered by {machine}, from the database at {database}.</p></footer>
"""
READ_ONLY = " <strong>Read only: the primary database does not answer.</strong>"


class Database:
    """One connection that is made when it is needed, and made anew when it broke."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Any = None

    def rows(self, *queries: str) -> list[Sequence[Sequence[object]]]:
        """Return the rows of each query, all from one snapshot of one server.

        Raises:
            psycopg2.Error: no server answers.
        """
        with self._lock:
            try:
                return self._rows(queries)
            except psycopg2.OperationalError:
                self._drop()
                return self._rows(queries)

    def _rows(self, queries: Sequence[str]) -> list[Sequence[Sequence[object]]]:
        if self._connection is None:
            self._connection = psycopg2.connect("")
            self._connection.set_session(readonly=True, isolation_level="REPEATABLE READ")
        try:
            with self._connection, self._connection.cursor() as cursor:
                answers = [self._answer(cursor, query) for query in (*queries, "SELECT pg_is_in_recovery()")]
        except psycopg2.InterfaceError as error:
            raise psycopg2.OperationalError(str(error)) from error
        if answers.pop()[0][0]:
            self._drop()  # a replica answered: ask for the primary again next time
        return answers

    @staticmethod
    def _answer(cursor: Any, query: str) -> Sequence[Sequence[object]]:
        cursor.execute(query)
        rows: Sequence[Sequence[object]] = cursor.fetchall()
        return rows

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def table(rows: Sequence[Sequence[object]]) -> str:
    """Return table rows as HTML, each value escaped."""
    return "".join("<tr>" + "".join(f"<td>{html.escape(str(value))}" for value in row) + "</tr>" for row in rows)


def page(database: Database, machine: str) -> str:
    """Return the front page."""
    products, orders, counts, server = database.rows(PRODUCTS, ORDERS, COUNTS, SERVER)
    return PAGE.format(
        orders_count=counts[0][0],
        customers_count=counts[0][1],
        read_only=READ_ONLY if server[0][1] else "",
        orders=table(orders),
        products=table(products),
        machine=html.escape(machine),
        database=html.escape(str(server[0][0])),
    )


def handler(database: Database, machine: str) -> type[BaseHTTPRequestHandler]:
    """Return the class that answers requests."""

    class Handler(BaseHTTPRequestHandler):
        server_version = "shop"

        def do_GET(self) -> None:
            try:
                if self.path == "/health":
                    database.rows("SELECT 1")
                    self._answer(200, "text/plain", "ok\n")
                elif self.path == "/alive":
                    self._answer(200, "text/plain", "alive\n")
                elif self.path == "/":
                    self._answer(200, "text/html; charset=utf-8", page(database, machine))
                else:
                    self._answer(404, "text/plain", "There is no such page.\n")
            except psycopg2.Error as error:
                self._answer(503, "text/plain", "The database does not answer.\n")
                self.log_error("database: %s", str(error).strip())

        def _answer(self, status: int, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            if self.path != "/health":
                super().log_request(code, size)

    return Handler


def tell_ready() -> None:
    """Tell systemd that requests are answered from now on."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            door.connect("\0" + address[1:] if address.startswith("@") else address)
            door.send(b"READY=1")


def main() -> None:
    """Answer requests until stopped."""
    server = ThreadingHTTPServer(
        ("", int(os.environ["APP_PORT"])), handler(Database(), os.environ.get("APP_MACHINE", socket.gethostname()))
    )
    tell_ready()
    server.serve_forever()


if __name__ == "__main__":
    main()
