"""Plays client and server libraries through Envoy with Portcullis and beside it, and compares what comes of it with the document.

usage: python run.py FOLDER [--write] [LIBRARY…]

FOLDER is where install.sh has put the libraries, and cargo its target directory: see the step `clients` of `cargo verify`. Of
envoy/COMPATIBILITY.md the part between the two marks is compared with what this run found, or written; with names of libraries only their
rows are played, and printed.
"""

import argparse
import base64
import difflib
import hashlib
import hmac
import json
import os
import queue
import re
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

    def heard(self):
        """The ends that it has told of until now."""
        lines = [self.lines.get() for _ in range(self.lines.qsize())]
        return [json.loads(line)["ended"] for line in lines if line and "ended" in line]

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
SOCKET_IO = {"messages": {**JSON, "envelope": "socket.io"}, "non_websocket": "authenticate"}
# What the protocol of a server needs of a policy.
NEEDS = {
    "socket.io": SOCKET_IO,
    "python-socketio": SOCKET_IO,
    "graphql-ws": {
        "messages": {**JSON, "envelope": "graphql-transport-ws"},
        "subprotocols": {"allow": ["graphql-transport-ws"], "required": True},
    },
    "aedes": {"subprotocols": {"allow": ["mqtt"], "required": True}},
    "stomp": {"messages": {**JSON, "envelope": "stomp"}, "subprotocols": {"allow": ["v12.stomp", "v11.stomp"], "required": True}},
    "sockjs": {"messages": {**JSON, "envelope": "sockjs"}, "non_websocket": "authenticate"},
    "signalr": {"messages": {**JSON, "envelope": "signalr"}, "non_websocket": "authenticate"},
    "centrifuge": {"messages": {**JSON, "envelope": "json_lines"}},
    "phoenix": {"messages": JSON},
    # Its server speaks first and its client answers: a dialogue that is told apart from messages.
    "nats": {"messages": {"tunnels": "allow"}},
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
    ("websockets", "python", "websockets"),
    ("aiohttp", "python", "aiohttp"),
    ("websocket-client", "python", "ws"),
    ("picows", "python", "picows"),
    ("autobahn", "python", "autobahn"),
    ("trio-websocket", "python", "trio-websocket"),
    ("python-socketio", "python", "python-socketio"),
    ("tungstenite", "rust", "ws"),
    ("fastwebsockets", "rust", "ws"),
    ("chromium", "python", "ws"),
    ("firefox-esr", "python", "ws"),
]
PYTHON_SERVERS = {server for _, program, server in CLIENTS if program == "python"} - {"ws"}

# Servers of WebSockets, without a protocol of their own in the messages.
PLAIN_SERVERS = {"ws", "websockets", "aiohttp", "picows", "autobahn", "trio-websocket"}
# What there is no way to say with a library, or what is not judged: payloads in binary messages are not read by `deny_patterns`.
CANNOT = {"mqtt": {"pattern"}, "nats.ws": {"pattern", "own 1000", "own 4001"}}
# Tell their user of their own end now this and now that, directly too: trio-websocket of the code alone until the server's Close is there.
RACES = {"websocket-client", "trio-websocket"}
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
        child = Lines("nats-server", "-c", str(settings), "-l", str(settings.with_suffix(".log")))
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return child
            except OSError:
                time.sleep(0.1)
        raise RuntimeError("nats-server does not listen")
    command = [sys.executable, str(HERE / "server.py")] if name in PYTHON_SERVERS else ["node", str(HERE / "servers.js")]
    child = Lines(*command, name, str(port))
    child.hear()
    return child



def told(answer, wanted):
    """`✓` where the user is told all of `wanted`, else what is told, without what differs from run to run."""
    if "failed" in answer:
        return f"failed: {answer['failed']}"
    texts = answer["told"]
    if wanted and any(all(word in text for word in wanted.split()) for text in texts):
        return "✓"
    texts = [re.sub(r"^rejected: |^ConnectionError: ", "", text) for text in texts]
    texts = list(dict.fromkeys(re.sub(r"\?token=[\w.-]+|127\.0\.0\.1:\d+|[({\[][({\[]?b?'.*[)}\]](?=[,; ])", "…", text) for text in texts))
    # Which comes first is a race.
    return "; ".join(sorted(text for text in texts if not any(text != other and text in other for other in texts)))


def about(folder, library, program):
    """The command of a library's client, and what it says of itself."""
    if program == "rust":
        lock = (HERE.parent.parent / "Cargo.lock").read_text()
        version = re.search(rf'name = "{library}"\nversion = "(.*)"', lock)[1]
        return [str(folder.parent / "debug" / "portcullis-clients"), library], {"version": version, "again": False}
    command = [sys.executable, str(HERE / "client.py"), library] if program == "python" else ["node", str(HERE / "client.js"), library]
    return command, json.loads(subprocess.check_output([*command, "--about"]))


def play(gate, folder, library, program, server):
    """One row: what the library did, by column."""
    command, itself = about(folder, library, program)
    rules = policy(NEEDS.get(server, {}))
    gate.enforce(rules)
    backend = serve(server, gate.port)
    player = Player(command)

    def url(route, lifetime=600, host=gate.address):
        return f"ws://{host}/{route}" + (f"?token={token(lifetime)}" if lifetime else "")

    direct = f"127.0.0.1:{gate.port}"
    try:
        sent = list(messages())
        plain = {"op": "echo", "messages": sent, "subprotocols": ["other", "chat.v1"] if server in PLAIN_SERVERS else []}
        jobs = {
            "gate": player.start(**plain, url=url("plain")),
            "direct": player.start(**plain, url=url("plain", host=direct)),
            "refused": player.start(**plain, url=url("plain"), compression=True),
            "inspected": player.start(**plain, url=url("inspect"), compression=True),
            "compressed": player.start(**plain, url=url("plain", host=direct), compression=True),
        }
        stay = player.start(op="stay", url=url("plain"), seconds=STAY)
        no_token = player.start(op="refused", url=url("plain", None))
        forbidden = player.start(op="refused", url=url("forbidden"))
        row = {"library": library, "version": itself["version"], "server": server, **compare(library, sent, {name: player.wait(job) for name, job in jobs.items()})}
        stayed = player.wait(stay)
        row["stays"] = "✓" if stayed.get("echoes") else told(stayed, None)
        for column, job in (("401", no_token), ("403", forbidden)):
            answer = player.wait(job)
            if library in RACES:
                answer["told"] = [text for text in answer["told"] if text != "1006"]
            row[column] = told(answer, None)
        # When the program is warm, for the token that soon ends.
        ends = [(column, wanted, player.start(op="end", url=url(route, lifetime), say=say, times=times),
                 player.start(op="end", url=url(route, host=direct), say=say, times=times) if column.startswith("own") else None)
                for column, wanted, route, say, times, lifetime in ENDS if column not in CANNOT.get(library, ())]
        for column, wanted, job, beside in ends:
            answer = player.wait(job)
            if beside:
                alone = player.wait(beside)
                row[column] = "✓" if answer["told"] == alone["told"] else f"{told(answer, None)}, and directly {told(alone, None)}"
            else:
                row[column] = told(answer, wanted)
        changed = player.start(op="end", url=url("plain"))
        again = player.start(op="again", url=url("plain")) if itself["again"] else None
        for job in filter(None, [changed, again]):
            player.wait(job, "open")
        gate.enforce({**rules, "hosts": ["elsewhere.example.com"]})
        row["1012"] = told(player.wait(changed), "1012 policy_changed")
        gate.enforce(rules)
        if again:
            answer = player.wait(again)
            row["again"] = "✓" if answer.get("again") == "again" else told(answer, None)
        row["server told"] = told({"told": backend.heard()}, "1008 pattern_refused") if server in PLAIN_SERVERS else None
        return row
    finally:
        player.lines.stop()
        backend.stop()


def compare(library, sent, answers):
    """The columns of what came back."""
    failed = [f"{name}: {answer['failed']}" for name, answer in answers.items() if "failed" in answer]
    if failed:
        return {"bytes": "; ".join(failed)}
    gate, direct = answers["gate"], answers["direct"]
    members = ["echoes", "subprotocol", "fragments", "ping", "pinged", *([] if library in RACES else ["told"])]
    differ = [f"{name}: {member} {str(answers[name].get(member)):.80}, and directly {str(direct.get(member)):.80}" for name in ("gate", "refused", "inspected", "compressed") for member in members
              if answers[name].get(member) != direct.get(member)]
    changed = sum((kind, given) != (kind_back, back) for kind, given, kind_back, back in direct["echoes"])
    extensions = [bool(answers[name].get("extensions")) for name in ("refused", "inspected", "compressed")]
    return {
        "bytes": f"differs: {', '.join(differ)}" if differ else f"✓, {changed} of {len(direct['echoes'])} other than sent, with and without" if changed else "✓",
        "fragments": "✓" if gate.get("fragments") == "fragments" else None,
        "pings": "✓" if gate.get("ping") or gate.get("pinged", "").startswith("pong") else None,
        "subprotocol": gate.get("subprotocol"),
        "deflate": {(False, True, True): "✓", (False, False, False): None}.get(tuple(extensions), f"refused, inspected, directly: {extensions}"),
    }


TABLES = [
    ("What works as it does without the gate", {
        "library": "client", "server": "server", "bytes": "same bytes", "subprotocol": "subprotocol", "fragments": "fragments",
        "pings": "pings", "deflate": "deflate", "stays": "stays", "own 1000": "own 1000", "own 4001": "own 4001", "again": "comes back"}),
    ("What a user is told", {
        "library": "client", "401": "401", "403": "403", "expired": "3000", "pattern": "1008 pattern", "rate": "1008 rate", "too big": "1009",
        "idle": "1001", "1012": "1012", "server told": "server, 1008"}),
]


def render(rows):
    """The part of the document that a run makes."""
    lines = []
    for title, columns in TABLES:
        lines += ["", f"## {title}", "", f"| {' | '.join(columns.values())} |", f"|{'---|' * len(columns)}"]
        for row in rows:
            # Debian decides which browser there is.
            name = row["library"] if row["library"] in ("chromium", "firefox-esr") else f"{row['library']} {row['version']}"
            cells = [str({**row, "library": name}.get(column) or "–").replace("|", "\\|").replace("\n", " ") for column in columns]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", ""])


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("libraries", nargs="*")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    os.environ["NODE_PATH"] = str(folder / "node_modules")
    gate = Gate(str(folder.parent / "debug" / "examples" / "gate"), str(folder.parent / "wasm32-wasip1" / "release" / "portcullis.wasm"))
    rows = []
    for library, program, server in CLIENTS:
        if arguments.libraries and library not in arguments.libraries:
            continue
        started = time.monotonic()
        rows.append(play(gate, folder, library, program, server))
        print(f"{library} {rows[-1]['version']}: {time.monotonic() - started:.0f} s", flush=True)
    gate.lines.stop()
    if arguments.libraries:
        print(render(rows))
        return
    before, mark, rest = DOCUMENT.read_text().partition(BEGIN)
    old, end, after = rest.partition(END)
    new = render(rows)
    if arguments.write:
        DOCUMENT.write_text(f"{before}{mark}\n{new}{end}{after}")
    elif old.strip() != new.strip():
        print("\n".join(difflib.unified_diff(old.strip().split("\n"), new.strip().split("\n"), "COMPATIBILITY.md", "this run", lineterm="", n=0)))
        sys.exit("COMPATIBILITY.md says something else than this run; --write writes what it found")


BEGIN = "<!-- host-tests/clients/run.py writes from here -->"
END = "<!-- to here -->"

if __name__ == "__main__":
    main()
