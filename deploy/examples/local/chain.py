"""A service of a chain: calls the next one by its usual host, through Weir, and passes on the header that names a preview."""

import http.client
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTEXT = "uber-ctx-key"


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        answer = os.environ["GREETING"]
        if following := os.environ.get("NEXT"):
            headers = {"Host": following}
            if context := self.headers.get(CONTEXT):
                headers[CONTEXT] = context  # these two lines are all that an application has to do
            connection = http.client.HTTPConnection("127.0.0.1", int(os.environ.get("WEIR_PORT", "8080")))
            connection.request("GET", "/", headers=headers)
            answer += " > " + connection.getresponse().read().decode().strip()
        body = answer.encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Service).serve_forever()
