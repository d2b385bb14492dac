"""Plays client and server libraries through Envoy with Portcullis and beside it, and writes the table of what they told.

python run.py --gate GATE --module MODULE [--check | --write] [LIBRARY…]

GATE is envoy/examples/gate.rs, MODULE is portcullis.wasm. Of the document only what stands between its two marks is compared, or written.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENT = HERE.parent.parent / "envoy" / "COMPATIBILITY.md"
PATIENCE = 60
KEY = "a key of thirty-two bytes at least, for tests"
# Longer than the libraries' heartbeats in client.js and servers.js, and than PONG_TIMEOUT.
STAY = 7
IDLE = "1s"
MESSAGE_MAX = 131_072


def messages():
    """The messages that have to come back as they are: both sides of each length of a frame's header, UTF-8 of all lengths, every octet."""
    texts = ["a", "x" * 125, "y" * 126, "z" * 65_535, "0123456789abcdef" * 4096, "\u00fc \0 \u20ac \U0001f980 \u2028 \ufffd \"\\ </script>", "\ufeffmark"]
    yield from (["text", base64.b64encode(text.encode()).decode()] for text in ["", *texts])
    blobs = [b"", bytes(range(256)), hashlib.shake_256(b"blob").digest(65_536)]
    yield from (["binary", base64.b64encode(blob).decode()] for blob in blobs)


def token(lifetime=600):
    def part(value):
        return base64.urlsafe_b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).decode().rstrip("=")

    now = int(time.time())
    signed = f'{part({"alg": "HS256", "typ": "JWT"})}.{part({"sub": "alice", "iat": now, "exp": now + lifetime})}'
    return f"{signed}.{part(hmac.new(KEY.encode(), signed.encode(), hashlib.sha256).digest())}"


def policy(changes):
    """The policy for a library: `changes` are what its protocol needs."""
    provider = {"name": "corp", "algorithms": ["HS256"], "jwks": {"secret": {"inline": KEY}}, "clock_skew": "0s"}
    from_client = {
        "binary": "allow",
        "max_message_bytes": MESSAGE_MAX,
        "deny_patterns": [{"name": "forbidden", "regex": "FORBIDDEN"}],
        **changes.get("messages", {}),
    }
    plenty = {"per_second": 1000, "burst": 1000}
    return {
        "require_tls": False,
        "origin": {"allow": ["http://127.0.0.1:*"], "missing": "allow"},
        "auth": {"sources": [{"query": "token"}], "providers": [provider]},
        "messages": {"from_client": from_client, "from_server": changes.get("messages", {})},
        "limits": {
            "per_address": {"connections": None, "handshakes": None, "failures": None},
            "per_subject": {"connections": None},
            "per_connection": {"messages": plenty, "bytes": None},
        },
        "liveness": {"ping_interval": "1s", "pong_timeout": "2s"},
        **{key: value for key, value in changes.items() if key != "messages"},
        "routes": [
            {"match": {"path_prefix": "/forbidden"}, "policy": {"auth": {"providers": [{**provider, "require": {"role": "admin"}}]}}},
            {"match": {"path_prefix": "/idle"}, "policy": {"liveness": {"idle_timeout": IDLE}}},
            {"match": {"path_prefix": "/inspect"}, "policy": {"compression": "inspect"}},
            {"match": {"path_prefix": "/rate"}, "policy": {"limits": {"per_connection": {"messages": {"per_second": 1, "burst": 10}}}}},
        ],
    }


class Lines:
    """A child process that answers in lines."""

    def __init__(self, *command):
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.child.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def say(self, line):
        self.child.stdin.write(line + "\n")

    def hear(self, patience=PATIENCE):
        line = self.lines.get(timeout=patience)
        if line is None:
            raise RuntimeError(f"{self.child.args} ended")
        return line

    def stop(self):
        self.child.stdin.close()
        try:
            self.child.wait(5)
        except subprocess.TimeoutExpired:
            self.child.terminate()
            self.child.wait()


class Gate:
    """One Envoy for all libraries: their servers listen on the same port, one after the other."""

    def __init__(self, program, module):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.lines = Lines(program, module, f"127.0.0.1:{self.port}")
        self.address = None

    def enforce(self, value):
        self.lines.say(json.dumps(value))
        self.address = self.lines.hear().strip()


class Player:
    """The client of one library."""

    def __init__(self, command):
        self.lines = Lines(*command)
        self.jobs = {}
        self.count = 0

    def start(self, **job):
        self.count += 1
        job = {"id": self.count, **job}
        self.lines.say(json.dumps(job))
        self.jobs[job["id"]] = {}
        return job["id"]

    def wait(self, job, member="done"):
        while member not in self.jobs[job]:
            answer = json.loads(self.lines.hear())
            self.jobs[answer["id"]].update(answer)
            if answer.get("done"):
                self.jobs[answer["id"]].setdefault(member, None)
        return self.jobs[job]


JSON = {"json": {}}
NEEDS = {
    "ws": {},
    "socket.io": {"messages": {**JSON, "envelope": "socket.io"}, "non_websocket": "authenticate"},
    "graphql-ws": {
        "messages": {**JSON, "envelope": "graphql-transport-ws"},
        "subprotocols": {"allow": ["graphql-transport-ws"], "required": True},
    },
    "aedes": {"subprotocols": {"allow": ["mqtt"], "required": True}},
    "stomp": {"subprotocols": {"allow": ["v12.stomp", "v11.stomp"], "required": True}},
    "sockjs": {"messages": {}, "non_websocket": "authenticate"},
    "signalr": {"messages": {}, "non_websocket": "authenticate"},
    "phoenix": {"messages": JSON},
    "centrifuge": {},
    "nats": {},
}
# Each client library, the program that uses it, and the server that it talks to.
CLIENTS = [
    ("ws", "node", "ws"),
    ("undici", "node", "ws"),
    ("socket.io-client", "node", "socket.io"),
    ("graphql-ws", "node", "graphql-ws"),
    ("mqtt", "node", "aedes"),
    ("@stomp/stompjs", "node", "stomp"),
    ("sockjs-client", "node", "sockjs"),
    ("@microsoft/signalr", "node", "signalr"),
    ("phoenix", "node", "phoenix"),
    ("centrifuge", "node", "centrifuge"),
    ("nats.ws", "node", "nats"),
    ("websockets", "python", "ws"),
    ("aiohttp", "python", "ws"),
    ("websocket-client", "python", "ws"),
    ("picows", "python", "ws"),
    ("autobahn", "python", "ws"),
    ("trio-websocket", "python", "ws"),
    ("python-socketio", "python", "socket.io"),
    ("chromium", "python", "ws"),
    ("firefox-esr", "python", "ws"),
]
PROGRAMS = {"node": ["node", str(HERE / "client.js")], "python": [sys.executable, str(HERE / "client.py")]}

ENDS = [
    # The column, what the user has to be told, the route, what the client says, how often, and its token's lifetime.
    ("expired", "3000 credential_expired", "plain", None, 1, 2),
    ("pattern", "1008 pattern_refused", "plain", "FORBIDDEN", 1, 600),
    ("rate", "1008 rate_exceeded", "rate", "much", 30, 600),
    ("too big", "1009 message_too_big", "plain", "x" * (MESSAGE_MAX + 1), 1, 600),
    ("idle", "1001 idle", "idle", None, 1, 600),
    ("own 1000", "1000 bye", "plain", "close 1000 bye", 1, 600),
    ("own 4001", "4001 kicked", "plain", "close 4001 kicked", 1, 600),
]


def serve(name, port):
    if name == "nats":
        settings = Path(os.environ["NODE_PATH"]).parent / "nats.conf"
        settings.write_text(f'listen: "127.0.0.1:-1"\nwebsocket {{ listen: "127.0.0.1:{port}", no_tls: true, compression: true }}\n')
        child = Lines("nats-server", "-c", str(settings))
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return child
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("nats-server does not listen")
    child = Lines("node", str(HERE / "servers.js"), name, str(port))
    child.hear()
    return child


def told(answer, wanted):
    """`wanted` where the user is told all of it, else what is told."""
    if "failed" in answer:
        return f"failed: {answer['failed']}"
    texts = answer["told"]
    return "✓" if any(all(word in text for word in wanted.split()) for text in texts) else "; ".join(texts)


def play(gate, library, program, server):
    """One row: what the library did, by column."""
    about = json.loads(subprocess.check_output([*PROGRAMS[program], library, "--about"]))
    rules = policy(NEEDS[server])
    gate.enforce(rules)
    backend = serve(server, gate.port)
    player = Player([*PROGRAMS[program], library])

    def url(route, lifetime=600, host=gate.address):
        return f"ws://{host}/{route}" + (f"?token={token(lifetime)}" if lifetime else "")

    try:
        direct = f"127.0.0.1:{gate.port}"
        sent = list(messages())
        plain = {"op": "echo", "messages": sent, "subprotocols": ["other", "chat.v1"] if server == "ws" else []}
        echoes = {
            "gate": player.start(**plain, url=url("plain")),
            "direct": player.start(**plain, url=url("plain", host=direct)),
            "refused": player.start(**plain, url=url("plain"), compression=True),
            "inspected": player.start(**plain, url=url("inspect"), compression=True),
            "compressed": player.start(**plain, url=url("inspect", host=direct), compression=True),
        }
        stay = player.start(op="stay", url=url("plain"), seconds=STAY)
        refused = {
            "no token": player.start(op="refused", url=url("plain", None)),
            "role": player.start(op="refused", url=url("forbidden")),
        }
        ends = {
            column: player.start(op="end", url=url(route, lifetime), say=say, times=times)
            for column, _, route, say, times, lifetime in ENDS
        }
        row = {"library": library, "version": about["version"]}
        echoes = {name: player.wait(job) for name, job in echoes.items()}
        row.update(compare(sent, echoes))
        row["stays"] = "✓" if player.wait(stay).get("echoes") else player.wait(stay).get("failed")
        for column, job in refused.items():
            row[column] = told(player.wait(job), {"no token": "401", "role": "403"}[column])
            row[column] = "; ".join(player.wait(job).get("told", [row[column]]))
        for column, wanted, *_ in ENDS:
            row[column] = told(player.wait(ends[column]), wanted)
        changed = player.start(op="end", url=url("plain"))
        again = player.start(op="again", url=url("plain")) if about["again"] else None
        for job in filter(None, [changed, again]):
            player.wait(job, "open")
        gate.enforce({**rules, "hosts": ["elsewhere.example.com"]})
        time.sleep(1)
        gate.enforce(rules)
        row["policy"] = told(player.wait(changed), "1012 policy_changed")
        if again:
            answer = player.wait(again)
            row["again"] = "✓" if answer.get("again") == "again" else f"failed: {answer.get('failed')}"
        else:
            row["again"] = "–"
        return row
    finally:
        player.lines.stop()
        backend.stop()


def compare(sent, echoes):
    """The columns of what came back."""
    row = {}
    for name, answer in echoes.items():
        if "failed" in answer:
            row[f"{name} failed"] = answer["failed"]
    if row:
        row["bytes"] = "; ".join(f"{key}: {value}" for key, value in row.items())
        return row
    gate, direct = echoes["gate"], echoes["direct"]
    for name, answer in echoes.items():
        for kind, given, kind_back, back in answer["echoes"]:
            if (kind, given) != (kind_back, back):
                row["bytes"] = f"{name}: a {kind} of {len(given)} came back as {kind_back} of {len(back)}"
    same = ["echoes", "subprotocol", "fragments", "ping", "pinged", "told"]
    differ = [name for name in same if gate.get(name) != direct.get(name)]
    row.setdefault("bytes", f"differs: {', '.join(f'{name}: {gate.get(name)} / {direct.get(name)}' for name in differ)}"[:300] if differ else "✓")
    for name in ("fragments", "ping", "pinged"):
        row[name] = gate.get(name, "–")
    row["subprotocol"] = gate.get("subprotocol") or "–"
    row["compression"] = f"{echoes['refused'].get('extensions') or 'none'} / {echoes['inspected'].get('extensions') or 'none'} / {echoes['compressed'].get('extensions') or 'none'}"
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gate", required=True)
    parser.add_argument("--module", required=True)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("libraries", nargs="*")
    arguments = parser.parse_args()
    gate = Gate(arguments.gate, arguments.module)
    for library, program, server in CLIENTS:
        if arguments.libraries and library not in arguments.libraries:
            continue
        row = play(gate, library, program, server)
        print(json.dumps(row, indent=1, ensure_ascii=False), flush=True)
    gate.lines.stop()


if __name__ == "__main__":
    main()
