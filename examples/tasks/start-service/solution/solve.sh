#!/bin/bash
set -eu
cat > counter_service.py <<'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

counters = {}
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    def answer(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def counter_name(self):
        parts = self.path.split("/")
        return parts[2] if len(parts) == 3 and parts[1] == "counters" and parts[2] else None

    def do_GET(self):
        name = self.counter_name()
        with lock:
            value = counters.get(name)
        if self.path == "/health":
            self.answer(200, {"status": "ok"})
        elif value is None:
            self.answer(404, {"error": "not found"})
        else:
            self.answer(200, {"name": name, "value": value})

    def do_POST(self):
        name = self.counter_name()
        if name is None:
            self.answer(404, {"error": "not found"})
            return
        with lock:
            value = counters[name] = counters.get(name, 0) + 1
        self.answer(200, {"name": name, "value": value})

    def log_message(self, *arguments):
        pass


ThreadingHTTPServer(("127.0.0.1", 8765), Handler).serve_forever()
PYTHON
nohup setsid python3 counter_service.py > service.log 2>&1 < /dev/null &
for _ in $(seq 100); do
    if (echo > /dev/tcp/127.0.0.1/8765) 2> /dev/null; then
        exit 0
    fi
    sleep 0.1
done
echo "the service did not start" >&2
exit 1
