"""Serve a SavedModel as TensorFlow Serving's REST interface does: python rest_server.py FOLDER.

Prints its port. Knows nothing of keras_aaa.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

import tensorflow as tf

loaded = tf.saved_model.load(sys.argv[1])
signature = loaded.signatures["serving_default"]


class Predict(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = signature(images=tf.constant(body["inputs"]["images"], tf.float32))
        answer = json.dumps({"outputs": {k: v.numpy().tolist() for k, v in found.items()}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments):
        pass


server = HTTPServer(("127.0.0.1", 0), Predict)
print(server.server_port, flush=True)
server.serve_forever()
