#!/usr/bin/env python3
"""A headless Chromium as a phone: shows browser.html, and is told what to do through a FIFO.

    browser.py DIR JSSIP.js EDGE-URL SIP-URI PASSWORD [RTCConfiguration-JSON]

DIR/do is the FIFO: each line is JavaScript, run in the page. `hear FILE` writes what the page has heard in its latest
call as a WAV; `quit` ends the browser. DIR/voice.wav is the microphone; DIR/spki is the fingerprint of the one certificate that Chromium
takes without a CA. What the page says to its console is printed.
"""
import http.server
import json
import os
import struct
import subprocess
import sys
import threading
import urllib.parse
import wave

HERE = os.path.dirname(os.path.abspath(__file__))


class Pages(http.server.BaseHTTPRequestHandler):
    """The page and its script, on localhost: a page that may use the microphone has to come from there or over https."""
    files = {}

    def do_GET(self):
        path = self.path.partition("?")[0]
        body = open(self.files[path], "rb").read() if path in self.files else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "text/html" if path == "/" else "text/javascript")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Browser:
    """Chromium, spoken to in the DevTools protocol over a pair of pipes: JSON, ended by a zero byte."""

    def __init__(self, folder):
        (theirs_in, self.to), (self.of, theirs_out) = os.pipe(), os.pipe()
        flags = [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", f"--user-data-dir={folder}/profile",
            "--autoplay-policy=no-user-gesture-required", "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={folder}/voice.wav",
            f"--ignore-certificate-errors-spki-list={open(folder + '/spki').read().strip()}",
            "--remote-debugging-pipe",
        ]

        def wire():
            # Chromium reads on 3 and writes on 4.
            spare_in, spare_out = os.dup2(theirs_in, 20), os.dup2(theirs_out, 21)
            os.dup2(spare_in, 3)
            os.dup2(spare_out, 4)

        self.process = subprocess.Popen(
            ["chromium", *flags, "about:blank"], preexec_fn=wire, close_fds=False,
            stdin=subprocess.DEVNULL, stdout=open(f"{folder}/chromium.log", "w"), stderr=subprocess.STDOUT)
        os.close(theirs_in)
        os.close(theirs_out)
        self.asked, self.answers, self.news = 0, {}, threading.Condition()
        self.attached = None
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        rest = b""
        while chunk := os.read(self.of, 1 << 16):
            *messages, rest = (rest + chunk).split(b"\0")
            for message in map(json.loads, messages):
                if "id" in message:
                    with self.news:
                        self.answers[message["id"]] = message
                        self.news.notify_all()
                elif message["method"] == "Runtime.consoleAPICalled":
                    print(*[str(a.get("value", a.get("description"))) for a in message["params"]["args"]], flush=True)
        print("Chromium is gone", flush=True)
        os._exit(0)

    def ask(self, method, **params):
        self.asked += 1
        message = {"id": self.asked, "method": method, "params": params}
        if self.attached:
            message["sessionId"] = self.attached
        os.write(self.to, json.dumps(message).encode() + b"\0")
        with self.news:
            if not self.news.wait_for(lambda: message["id"] in self.answers, timeout=30):
                raise SystemExit(f"Chromium does not answer {method}")
            answer = self.answers.pop(message["id"])
        if "error" in answer:
            raise SystemExit(f"{method}: {answer['error']}")
        return answer["result"]

    def show(self, url):
        pages = self.ask("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in pages if target["type"] == "page")
        self.attached = self.ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        self.ask("Runtime.enable")
        self.ask("Page.navigate", url=url)

    def run(self, script):
        answer = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            print(script, "threw", details.get("exception", {}).get("description", details["text"]), flush=True)
        return answer["result"].get("value")


def write_wav(path, samples):
    """Under another name until it is whole: whoever waits for the file may read it at once."""
    with wave.open(path + ".part", "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    os.rename(path + ".part", path)


def main():
    folder, jssip, edge, uri, password, *rtc = sys.argv[1:]
    Pages.files = {"/": f"{HERE}/browser.html", "/jssip.js": jssip}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser = Browser(folder)
    settings = {"edge": edge, "uri": uri, "password": password, "rtc": rtc[0] if rtc else "{}"}
    browser.show("http://localhost:8000/?" + urllib.parse.urlencode(settings))
    print("browser is up", flush=True)
    # Opened for writing too, so that it does not end with whoever wrote the first line.
    for line in os.fdopen(os.open(f"{folder}/do", os.O_RDWR), "r"):
        word, _, rest = line.strip().partition(" ")
        if word == "quit":
            break
        elif word == "hear":
            write_wav(rest, browser.run("heard"))
        else:
            browser.run(line)
    browser.ask("Browser.close")
    browser.process.wait(timeout=10)


if __name__ == "__main__":
    main()
