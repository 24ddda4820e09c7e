"""Serves a folder of shaders to a headless Chromium and prints what its WebGPU says of them: see browser-check."""

import functools
import http.server
import json
import pathlib
import queue
import shutil
import subprocess
import sys
import tempfile
import threading

LONGEST = 300  # seconds
PAGE = pathlib.Path(__file__).with_name("browser_check.html")
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu-sandbox",
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--enable-features=Vulkan",
    "--use-vulkan=swiftshader",
    "--disable-vulkan-surface",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--no-first-run",
]


class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, results, *args, **kwargs):
        self.results = results
        super().__init__(*args, **kwargs)

    def do_GET(self):
        if self.path == "/":
            return self.answer(PAGE.read_bytes(), "text/html")
        if self.path == "/list":
            names = sorted(path.name for path in pathlib.Path(self.directory).glob("[0-9]*.wgsl"))
            return self.answer("\n".join(names).encode(), "text/plain")
        return super().do_GET()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b"", "text/plain")
        self.results.put(json.loads(body))

    def answer(self, body, kind):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    folder = sys.argv[1]
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("no chromium here")
    results = queue.Queue()
    handler = functools.partial(Handler, results, directory=folder)
    # localhost is a secure context, which WebGPU asks for.
    server = http.server.ThreadingHTTPServer(("localhost", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://localhost:{server.server_port}/"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        log = pathlib.Path(profile, "log")
        command = [browser, *FLAGS, f"--user-data-dir={profile}/profile", address]
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        try:
            result = results.get(timeout=LONGEST)
        except queue.Empty:
            tail = log.read_text(errors="replace")[-3000:]
            sys.exit(f"no answer from {browser} within {LONGEST} s:\n{tail}")
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    errors = result.pop("errors")
    listed = len(list(pathlib.Path(folder).glob("[0-9]*.wgsl"))) + 1
    print("browser:", ", ".join(f"{name} {value}" for name, value in result.items()))
    for error in errors[:20]:
        print(error, file=sys.stderr)
    if errors or result["compiled"] != listed or listed < 1000 or not result["pipelines"] or not result["results"]:
        sys.exit(f"{len(errors)} errors, {result['compiled']} of {listed} shaders compiled")


main()
