"""An upstream that accepts only what h11 accepts, and answers that with one completion."""

import json
import socketserver
import sys
import threading

import h11

ANSWER = json.dumps({"id": "x", "choices": [{"message": {"role": "assistant", "content": "hi"}}]})


class Client(socketserver.BaseRequestHandler):
    def handle(self):
        connection = h11.Connection(h11.SERVER)
        while True:
            try:
                body = self.request_body(connection)
            except h11.RemoteProtocolError as error:
                print(f"not valid: {error}", flush=True)
                return
            if body is None:
                return
            json.loads(body)
            self.answer(connection)
            if connection.our_state is not h11.DONE:
                return
            connection.start_next_cycle()

    def request_body(self, connection):
        body = b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(self.request.recv(65536))
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return body
            elif isinstance(event, h11.ConnectionClosed):
                return None

    def answer(self, connection):
        headers = [("content-type", "application/json"), ("content-length", str(len(ANSWER)))]
        for event in [
            h11.Response(status_code=200, headers=headers),
            h11.Data(data=ANSWER.encode()),
            h11.EndOfMessage(),
        ]:
            self.request.sendall(connection.send(event))


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True


with Server(("127.0.0.1", 0), Client) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()
