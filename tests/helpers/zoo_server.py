"""A local zoo over HTTP that can misbehave."""

import http.server
import threading
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def serve(folder: Path, behaviour: str = "good"):
    """Serve `folder` on a loopback port; yields (address, list of requested paths).

    behaviour: "good", "half" (the connection ends in the middle), "html" (a page in place of the
    file) or "missing" (404).
    """
    requests: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            body = (folder / self.path.lstrip("/")).read_bytes()
            if behaviour == "missing":
                self.send_error(404)
                return
            if behaviour == "html":
                body = b"<html>Please log in</html>"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if behaviour == "half" else body)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()
