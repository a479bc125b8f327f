"""Calls the service on port 8765."""

import json
import unittest
import urllib.error
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor

BASE = "http://127.0.0.1:8765"


def call(method, path):
    request = urllib.request.Request(BASE + path, method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, None


class CounterService(unittest.TestCase):
    def setUp(self):
        self.name = uuid.uuid4().hex

    def test_it_is_healthy(self):
        self.assertEqual((200, {"status": "ok"}), call("GET", "/health"))

    def test_an_unknown_counter_is_not_found(self):
        self.assertEqual(404, call("GET", f"/counters/{self.name}")[0])

    def test_other_paths_are_not_found(self):
        self.assertEqual(404, call("GET", f"/{self.name}")[0])

    def test_counters_count(self):
        for value in (1, 2, 3):
            expected = (200, {"name": self.name, "value": value})
            self.assertEqual(expected, call("POST", f"/counters/{self.name}"))
            self.assertEqual(expected, call("GET", f"/counters/{self.name}"))

    def test_no_addition_is_lost(self):
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: call("POST", f"/counters/{self.name}"), range(200)))
        self.assertEqual(list(range(1, 201)), sorted(body["value"] for _, body in answers))


if __name__ == "__main__":
    unittest.main()
