"""A WebSocket server on the loopback whose every word is the test's, and pages that talk to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

Answer = Callable[[ServerConnection, str | bytes], None]
"""What a server does with each message that it gets."""


PAGE = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Talk</title><main><h1>Talk</h1></main></html>'


class Talk:
    """A server in threads of its own, of a page and of its WebSocket; ``heard`` is what it got, in order."""

    def __init__(
        self, answer: Answer, page: str = PAGE, headers: dict[str, str] | None = None, greeting: str = ""
    ) -> None:
        self.page = page
        self.greeting = greeting
        self.headers = headers or {}
        self.heard: list[str | bytes] = []
        self.connections: list[ServerConnection] = []
        self._answer = answer
        self._server = serve(
            self._serve, "127.0.0.1", 0, max_size=None, compression=None, process_request=self._page, ping_interval=None
        )
        self.address = f"127.0.0.1:{self._server.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def _page(self, _connection: ServerConnection, request: Request) -> Response | None:
        if "Upgrade" in request.headers:
            return None
        body = self.page.encode()
        fields = {"Content-Type": "text/html", "Content-Length": str(len(body)), "Connection": "close", **self.headers}
        return Response(200, "OK", Headers(fields), body)

    def _serve(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        try:
            if self.greeting:
                connection.send(self.greeting)
            for message in connection:
                self.heard.append(message)
                self._answer(connection, message)
        except ConnectionClosed:
            return  # how a connection ends is what these tests are about

    def say(self, message: str | bytes) -> None:
        """Sends to the newest connection."""
        self.connections[-1].send(message)

    def drop(self) -> None:
        """Cuts every connection without a farewell."""
        for connection in self.connections:
            connection.socket.shutdown(2)

    def close(self) -> None:
        """Ends the server and its threads."""
        for connection in self.connections:
            connection.close()
        self._server.shutdown()
        self._thread.join()


@contextmanager
def talking(answer: Answer, **options: Any) -> Iterator[Talk]:
    """A server for as long as the block lasts."""
    talk = Talk(answer, **options)
    try:
        yield talk
    finally:
        talk.close()


def event(kind: str, **more: Any) -> str:
    """A realtime API's event."""
    return json.dumps({"type": kind, **more})


def speaks(chunks: int = 5, characters: int = 4000) -> Answer:
    """Answers ``response.create`` with so many audio deltas and an end, and any other text with itself."""

    def answer(connection: ServerConnection, message: str | bytes) -> None:
        if not isinstance(message, str) or '"response.create"' not in message:
            return
        for _ in range(chunks):
            connection.send(event("response.audio.delta", delta="A" * characters))
        connection.send(event("response.done"))

    return answer


CLIENT = """
window.client = {
  workMs: 0,            // how long the page takes over a message
  chunksProcessed: 99,  // how many of a response's audio chunks it plays
  seen: [],
  connect(address) {
    const socket = this.socket = new WebSocket(`ws://${address}/`);
    let played = 0;
    socket.addEventListener("message", async event => {
      const kind = JSON.parse(event.data).type;
      this.seen.push(kind);
      if (kind === "response.done") { played = 0; this.done?.(); }
      if (this.workMs) await new Promise(wake => setTimeout(wake, this.workMs));
      if (kind === "response.audio.delta" && played++ < this.chunksProcessed) perfsuite.audioChunkProcessed();
    });
    return new Promise((resolve, reject) => { socket.onopen = () => resolve(); socket.onerror = reject; });
  },
  ask() {
    const done = new Promise(resolve => { this.done = resolve; });
    this.socket.send('{"type":"response.create"}');
    return done;
  },
};
"""
"""A page's side of it: plays audio as it comes, or as badly as a test asks for."""

SPEAKER = """
window.speaker = {
  started: 0, ended: 0, loudest: 0, samples: 0, until: 0,
  async connect(url, way) {
    this.context = new AudioContext({sampleRate: 24000});
    await this.context.resume();
    this.meter = this.context.createGain();
    this.meter.connect(this.context.destination);
    const play = await this.ways[way].call(this);
    this.socket = new WebSocket(url);
    this.socket.binaryType = "arraybuffer";
    this.socket.addEventListener("message", event => {
      if (typeof event.data !== "string") return play(event.data);
      const message = JSON.parse(event.data);
      if (/^response\\.(output_)?audio\\.delta$/.test(message.type)) play(this.pcm(message.delta));
      if (message.type === "response.done") this.done?.();
    });
    await new Promise((resolve, reject) => { this.socket.onopen = resolve; this.socket.onerror = reject; });
    return 0;
  },
  ask() {
    const done = new Promise(resolve => { this.done = () => resolve(0); });
    this.socket.send('{"type":"response.create"}');
    return done;
  },
  pcm(base64) {
    const bytes = Uint8Array.from(atob(base64), character => character.charCodeAt(0));
    return Float32Array.from(new Int16Array(bytes.buffer), sample => sample / 32768);
  },
  heard(samples) {
    this.samples += samples.length;
    for (const sample of samples) if (Math.abs(sample) > this.loudest) this.loudest = Math.abs(sample);
  },
  schedule(buffer) {
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.meter);
    this.until = Math.max(this.until, this.context.currentTime);
    source.onended = () => { this.ended += 1; };
    source.start(this.until);
    this.started += 1;
    this.until += buffer.duration;
    this.heard(buffer.getChannelData(0));
  },
  beep() {
    const oscillator = this.context.createOscillator();
    oscillator.connect(this.meter);
    const ended = new Promise(resolve => { oscillator.onended = () => resolve(0); });
    oscillator.start();
    oscillator.stop(this.context.currentTime + 0.1);
    return ended;
  },
  ways: {
    nothing() { return () => {}; },
    buffers() {
      return pcm => {
        const buffer = this.context.createBuffer(1, pcm.length, 24000);
        buffer.copyToChannel(pcm, 0);
        this.schedule(buffer);
      };
    },
    decoding() {
      return async file => this.schedule(await this.context.decodeAudioData(file));
    },
    async worklet() {
      const code = `registerProcessor("player", class extends AudioWorkletProcessor {
        constructor() {
          super();
          this.chunks = [];
          this.port.onmessage = event => this.chunks.push({samples: event.data, at: 0});
        }
        process(_inputs, [[output]]) {
          for (let i = 0; i < output.length && this.chunks.length;) {
            const [chunk] = this.chunks;
            const some = chunk.samples.subarray(chunk.at, chunk.at + output.length - i);
            output.set(some, i);
            i += some.length;
            chunk.at += some.length;
            if (chunk.at === chunk.samples.length) this.port.postMessage(this.chunks.shift().samples);
          }
          return true;
        }
      });`;
      const module = URL.createObjectURL(new Blob([code], {type: "text/javascript"}));
      await this.context.audioWorklet.addModule(module);
      const node = new AudioWorkletNode(this.context, "player", {numberOfInputs: 0, outputChannelCount: [1]});
      node.connect(this.meter);
      node.port.onmessage = event => { this.ended += 1; this.heard(event.data); };
      return pcm => { this.started += 1; node.port.postMessage(pcm); };
    },
  },
};
"""
"""A page's side of it that plays real sound with Web Audio, in one of several ways."""
