"""A stand-in for a stage: ready at once, says what it was asked, streams, and dies when told to.

Run as a program by the supervisor's tests, which are about processes and not about what a stage does.
"""

import json
import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if self.path.endswith("/die"):
            os._exit(7)
        if self.path.endswith("/events"):
            self._stream()
        else:
            self._answer(b"")

    def do_POST(self) -> None:
        if self.headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["content-length"]))
        self._answer(body)

    def _answer(self, body: bytes) -> None:
        seen = {
            "stage": os.environ["STAND_IN"],
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "bytes": len(body),
            "pid": os.getpid(),
            "environment": dict(os.environ),
        }
        text = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _stream(self) -> None:
        """Send events until the reader leaves."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        try:
            for number in range(1000):
                self.wfile.write(f"data: {number}\n\n".encode())
                self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            return

    def log_message(self, *args: object) -> None:
        pass


if __name__ == "__main__":
    if "--with-worker" in sys.argv:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["CALOTYPE_HTTP_PORT"])), Handler).serve_forever()
