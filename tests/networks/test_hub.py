"""hf:// against a local stand-in for the hub: what is asked for, what is pinned, what is refused."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import unquote, urlsplit

import pytest
import yaml

import trl_suite
from trl_suite.errors import InputError, NotInstalledError
from trl_suite.networks.formats import hub, hub_upload
from trl_suite.training.policy_import import load_policy

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """Speaks as much of the hub's protocol as a download needs."""

    files: ClassVar[dict[str, bytes]] = {}
    sizes: ClassVar[dict[str, int]] = {}
    asked: ClassVar[list[str]] = []

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        self.asked.append(path)
        if path.startswith("/api/models/someone/walker"):
            siblings = [{"rfilename": n, "size": self.sizes.get(n, len(c))} for n, c in self.files.items()]
            self.answer(json.dumps({"id": "someone/walker", "sha": COMMIT, "siblings": siblings}).encode())
        elif path.startswith(f"/someone/walker/resolve/{COMMIT}/") and path.split("/", 5)[5] in self.files:
            self.answer(self.files[path.split("/", 5)[5]])
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def answer(self, content):
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    Hub.files, Hub.sizes, Hub.asked = {}, {}, []
    running = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


@pytest.fixture(scope="module")
def policy():
    return trl_suite.train("inverted-pendulum", steps=100, seed=0)


LOAD = """
import sys, trl_suite
from trl_suite.errors import InputError
try:
    policy = trl_suite.load_policy(sys.argv[1])
except InputError as error:
    sys.exit(f"InputError: {error}")
print(policy.digest, policy.card.training.origin, policy.card.training.env)
"""


def load(server, address, tmp_path):
    """Load in a process of its own: the client reads its endpoint when it is imported."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}",
        "HF_HOME": str(tmp_path / "cache"),
        "TMPDIR": str(tmp_path),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
    }
    command = [sys.executable, "-c", LOAD, address]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)


def test_a_zip_on_the_hub_is_imported_from_one_commit(server, policy, tmp_path):
    archive, statistics = policy.to_sb3(tmp_path / "ppo-InvertedPendulum-v5.zip")
    Hub.files = {
        archive.name: archive.read_bytes(),
        "vec_normalize.pkl": statistics.read_bytes(),
        "replay.mp4": b"a film",
        "evil.py": b"raise SystemExit",
        "../escape.zip": b"x",
        "README.md": b"text",
    }
    done = load(server, "hf://someone/walker", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [policy.digest, f"hf://someone/walker@{COMMIT}", "gymnasium:InvertedPendulum-v5"]
    fetched = {path.rpartition("/")[2] for path in Hub.asked if "/resolve/" in path}
    assert fetched == {archive.name, "vec_normalize.pkl"}
    assert all(COMMIT in path for path in Hub.asked if "/resolve/" in path)
    assert not list(tmp_path.glob("trl-suite-hub-*")), "nothing is left behind"


def test_a_policy_folder_on_the_hub_is_read_at_a_revision(server, policy, tmp_path):
    folder = policy.save(tmp_path / "folder")
    Hub.files = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = load(server, "hf://someone/walker@v1.0", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [policy.digest, f"hf://someone/walker@{COMMIT}", "inverted-pendulum"]
    assert "/api/models/someone/walker/revision/v1.0" in Hub.asked


@pytest.mark.parametrize(
    ("files", "sizes", "address", "message"),
    [
        ({"README.md": b""}, {}, "hf://someone/walker", "holds neither a policy folder nor an SB3 zip"),
        ({"a.zip": b""}, {"a.zip": 2**40}, "hf://someone/walker", "a.zip has 1099511627776 bytes; at most"),
        ({"a.zip": b"not a zip"}, {}, "hf://someone/walker", "a.zip: an SB3 zip does not say what its numbers mean"),
        ({"ppo-Hopper-v5.zip": b"not a zip"}, {}, "hf://someone/walker", "not a zip, or one that was cut off"),
        ({}, {}, "hf://someone/nothing", "RepositoryNotFoundError"),
    ],
)
def test_what_the_hub_does_not_have_is_one_message(server, tmp_path, files, sizes, address, message):
    Hub.files, Hub.sizes = files, sizes
    done = load(server, address, tmp_path)
    assert done.stderr.strip().splitlines()[-1].startswith("InputError: "), done.stderr
    assert message in done.stderr
    assert not [path for path in Hub.asked if "/resolve/" in path] or files.get("a.zip") or "ppo-Hopper-v5.zip" in files


def test_a_hub_that_cannot_be_reached_is_one_message(server, tmp_path):
    server.shutdown()
    server.server_close()
    done = load(server, "hf://someone/walker", tmp_path)
    assert "InputError: hf://someone/walker: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "address", ["hf://walker", "hf://a/b/c", "hf://../x", "hf://a/b@", "hf://a/../b", "hf://a b/c"]
)
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(InputError, match="not an address of the hub"):
        load_policy(address)


def test_without_the_client_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(NotInstalledError, match=r"pip install 'trl-suite\[hub\]'"), hub.fetched("hf://a/b"):
        pass


# --- the other way ---


class Uploads(Hub):
    """Takes a commit, as a hub does for small files, and serves it afterwards."""

    made: ClassVar[list[dict]] = []
    status: ClassVar[int] = 200

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        path = urlsplit(self.path).path
        self.asked.append(path)
        if self.status != 200:
            self.send_response(self.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif path == "/api/repos/create":
            self.made.append(json.loads(body))
            self.answer(
                json.dumps({"url": f"http://{self.headers['Host']}/someone/walker", "id": "someone/walker"}).encode()
            )
        elif path == "/api/validate-yaml":
            self.answer(b'{"errors": [], "warnings": []}')
        elif "/preupload/" in path:
            files = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                     for file in json.loads(body)["files"]]  # fmt: skip
            self.answer(json.dumps({"files": files}).encode())
        elif "/commit/" in path:
            lines = [json.loads(line) for line in body.splitlines()]
            for value in (line["value"] for line in lines if line["key"] == "file"):
                self.files[value["path"]] = base64.b64decode(value["content"])
            url = f"http://{self.headers['Host']}/someone/walker/commit/{COMMIT}"
            self.answer(json.dumps({"commitUrl": url, "commitOid": COMMIT, "pullRequestUrl": None}).encode())
        else:
            self.send_error(404)


@pytest.fixture
def uploads():
    Hub.files, Hub.sizes, Hub.asked = {}, {}, []
    Uploads.made, Uploads.status = [], 200
    running = ThreadingHTTPServer(("127.0.0.1", 0), Uploads)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


def push(uploads, folder, repository, *more):
    environment = {
        **os.environ,
        "HF_ENDPOINT": f"http://127.0.0.1:{uploads.server_address[1]}",
        "HF_TOKEN": "hf_stand_in",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
    }
    command = [sys.executable, "-m", "trl_suite.cli", "push", str(folder), repository, *more]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder.parent)


def test_a_policy_goes_to_the_hub_with_a_card_and_comes_back_the_same(uploads, policy, tmp_path):
    done = push(uploads, policy.save(tmp_path / "walker"), "someone/walker", "--private")
    assert (done.returncode, done.stdout) == (0, f"hf://someone/walker@{COMMIT}\n"), done.stderr
    assert Uploads.made[0]["name"] == "walker"
    assert set(Hub.files) == {"README.md", "card.toml", "weights.safetensors"}
    text = Hub.files["README.md"].decode()
    assert "hf_stand_in" not in text
    assert 'trl_suite.load_policy("hf://someone/walker")' in text
    assert f"| {policy.interface.observation[0].name} | {policy.interface.observation[0].unit} |" in text
    front = yaml.safe_load(text.split("---")[1])
    assert front["pipeline_tag"] == "reinforcement-learning"
    assert "inverted-pendulum" in front["tags"]
    loaded = load(uploads, "hf://someone/walker", tmp_path)
    assert loaded.stdout.split()[0] == policy.digest, loaded.stderr


def test_what_the_hub_refuses_is_one_line(uploads, policy, tmp_path):
    folder = policy.save(tmp_path / "walker")
    Uploads.status = 403
    done = push(uploads, folder, "someone/walker")
    assert done.returncode == 2
    assert done.stderr.startswith("trl-suite: hf://someone/walker: ")
    assert len(done.stderr.splitlines()) == 1
    assert "hf_stand_in" not in done.stderr
    done = push(uploads, folder, "walker")
    assert (done.returncode, Hub.files) == (2, {})
    assert "a repository of the hub is user/name" in done.stderr


def test_a_dry_push_writes_what_would_be_uploaded(policy, tmp_path):
    folder = hub_upload.write(policy, "someone/walker", tmp_path / "dry")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "card.toml", "weights.safetensors"]
    assert load_policy(folder).digest == policy.digest
