"""The wire engine over TLS: it reads stamped ciphertext in C, and the standard library's SSL objects open it here.

The engine's thread reads, stamps, sends and keeps time.  Another thread, this one, does TLS with ``ssl.SSLObject`` over
memory: what comes out of ciphertext goes back with the ciphertext's stamp, so stamps are as true as without TLS however
late this thread gets to run.  ``csrc/wire/pfs_wire_sealed.h`` says how the two exchange parcels, what is done before a
request is due, and how a handshake counts.
"""

from __future__ import annotations

import ssl
import threading
import weakref
from typing import TYPE_CHECKING, Literal

from perfsuite._core import WIRE_PARCELS, Wire

if TYPE_CHECKING:
    from collections.abc import Iterable

    from perfsuite._core import Events, WireReply
    from perfsuite.loadgen.engines import Count

READ_BYTES = 16_384
"""The most that a record of TLS carries."""
WAIT_S = 1.0
LONGEST_REASON = 300

OPENED, ARRIVED, TO_SEAL, SHUT, GONE, READY, PLAIN, SEND, SEALED, OVER, TORN, BROKEN, LOST = range(len(WIRE_PARCELS))


def default_context() -> ssl.SSLContext:
    """A client's context as the standard library makes it: certificates and host names are verified, and SSL_CERT_FILE
    and SSL_CERT_DIR are heeded."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Session:
    """TLS on one connection.  ``session``: an earlier one's, to resume.

    What goes wrong is given to the engine, which ends the request that met it.
    """

    def __init__(self, wire: Wire, ident: int, context: ssl.SSLContext, name: str, earlier: ssl.SSLSession | None):
        self._wire = wire
        self._ident = ident
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name, session=earlier)
        self._opening = True
        self._dead = False

    def open(self) -> None:
        """Goes on with the handshake; says when it is done."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send()
            return
        self._send()
        self._opening = False
        self._wire.give(READY, self._ident, int(bool(self.tls.session_reused)), b"")

    def arrived(self, at_ns: int, data: bytes) -> None:
        """Opens what came, and gives it back with its stamp."""
        if self._dead:
            return
        incoming, read, give, ident = self._incoming, self.tls.read, self._wire.give, self._ident
        incoming.write(data)
        try:
            if self._opening:
                self.open()
                if self._opening:
                    return
            while incoming.pending:
                piece = read(READ_BYTES)
                if not piece:
                    self._end(OVER, at_ns)
                    return
                give(PLAIN, ident, at_ns, piece)
            while self.tls.pending():
                give(PLAIN, ident, at_ns, read(READ_BYTES))
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._end(OVER, at_ns)
            return
        except ssl.SSLError as error:
            self._break(error)
            return
        if self._outgoing.pending:
            self._send()

    def seal(self, request: bytes) -> None:
        """Seals a request."""
        if self._dead:
            return
        try:
            self.tls.write(request)
        except ssl.SSLError as error:
            self._break(error)
            return
        self._wire.give(SEALED, self._ident, 0, self._outgoing.read())

    @property
    def ready(self) -> bool:
        """Whether the handshake was done."""
        return not self._opening

    def shut(self, at_ns: int) -> None:
        """The server has closed the connection, without the farewell of TLS unless that has been heard."""
        if not self._dead:
            self._end(TORN, at_ns)

    def begin(self) -> None:
        """Begins the handshake."""
        try:
            self.open()
        except ssl.SSLError as error:
            self._break(error)

    def _send(self) -> None:
        if self._outgoing.pending:
            self._wire.give(SEND, self._ident, 0, self._outgoing.read())

    def _end(self, how: int, at_ns: int) -> None:
        self._dead = True
        self._wire.give(how, self._ident, at_ns, b"")

    def _break(self, error: ssl.SSLError) -> None:
        self._dead = True
        self._send()  # an alert says to the server what is wrong
        self._wire.give(BROKEN, self._ident, 0, reason(error).encode()[:LONGEST_REASON])


def reason(error: ssl.SSLError) -> str:
    """What TLS says of a failure, without OpenSSL's file names."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate was not accepted: {error.verify_message}"
    words = (error.reason or "").replace("_", " ").lower()
    return f"TLS failed: {words or error.strerror or error}"


class Sealer:
    """Does TLS for a sealed engine, in ``run``'s thread, until the engine stops."""

    def __init__(self, wire: Wire, context: ssl.SSLContext, name: str) -> None:
        self.trouble: BaseException | None = None
        """What ended it, if anything did."""
        self._wire = wire
        self._context = context
        self._name = name
        self._sessions: dict[int, Session] = {}
        self._earlier: ssl.SSLSession | None = None

    def run(self) -> None:
        """Handles what the engine has to say, until it has stopped."""
        try:
            while (parcels := self._wire.take(WAIT_S)) is not None:
                self.handle(parcels)
        except BaseException as error:  # noqa: BLE001  SealedWire.poll raises it
            self.trouble = error

    def handle(self, parcels: list[tuple[int, int, int, bytes]]) -> None:
        """Does what a batch of parcels asks for."""
        for what, ident, at_ns, data in parcels:
            try:
                self._do(what, ident, at_ns, data)
            except MemoryError:  # that connection's end, not the load's
                self._wire.give(LOST, ident, 0, b"")

    def _do(self, what: int, ident: int, at_ns: int, data: bytes) -> None:
        if what == OPENED:
            session = Session(self._wire, ident, self._context, self._name, self._earlier)
            self._sessions[ident] = session
            session.begin()
            return
        known = self._sessions.get(ident)
        if known is None:
            return  # there was no memory for it
        if what == ARRIVED:
            known.arrived(at_ns, data)
        elif what == TO_SEAL:
            known.seal(data)
        elif what == SHUT:
            known.shut(at_ns)
        else:
            del self._sessions[ident]
            self._keep(known)

    def _keep(self, ended: Session) -> None:
        """A later connection may resume the session of one that is over."""
        if not ended.ready:
            return  # a session that is half made cannot even be asked for: ValueError
        session = ended.tls.session
        if session is not None and session.has_ticket:
            self._earlier = session


class SealedWire:
    """``_core.Wire`` over TLS: the same methods, the same replies, the same records.

    ``context``: the client's; without one, ``default_context()``.  ``server_hostname``: the name to ask for and to
    verify, where it is not ``host``; ValueError for what is no such name.  The other arguments are those of
    ``_core.Wire``.  A failure of TLS is a reply of the kind ``tls`` whose ``why`` is the reason.
    """

    def __init__(
        self,
        host: str,
        port: int,
        events: Events,
        *,
        context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        connections: int = 1,
        queue: int = 4096,
        timeout_s: float = 60.0,
        stream: Literal["sse", "ndjson", "text", "none"] = "sse",
        rules: Iterable[tuple[str, str]] = (),
        finish: str | None = None,
        marks_end: bool = False,
        speaks: bool = False,
        names: Iterable[str] = (),
        max_event: int = 1048576,
        max_body: int = 268435456,
        kernel: bool = True,
        cumulative: bool = False,
    ) -> None:
        name = host if server_hostname is None else server_hostname
        trusted = default_context() if context is None else context
        wire = self._wire = Wire(
            host, port, events, connections=connections, queue=queue, timeout_s=timeout_s, stream=stream, rules=rules,
            finish=finish, marks_end=marks_end, speaks=speaks, names=names, max_event=max_event, max_body=max_body,
            kernel=kernel, sealed=True, cumulative=cumulative,
        )  # fmt: skip
        trusted.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=name)  # ValueError here, not in the load
        self._sealer = Sealer(wire, trusted, name)
        self._thread = threading.Thread(target=self._sealer.run, name="perfsuite-tls", daemon=True)
        self._stopped = False
        self.submit = wire.submit
        self.discard = wire.discard
        self.give_up = wire.give_up
        self.fileno = wire.fileno
        self.tell_after = wire.tell_after
        self.stats = wire.stats
        weakref.finalize(self, wire.stop)  # and so the threads end, for they know nothing of this object

    def start(self) -> None:
        """Starts the engine's thread, and the one that does TLS.  RuntimeError when it was started before."""
        self._wire.start()
        self._thread.start()

    def stop(self) -> None:
        """Ends both threads and closes the sockets, as ``Wire.stop``."""
        self._stopped = True
        self._wire.stop()
        if self._thread.is_alive():
            self._thread.join()

    def poll(self, timeout_s: float = 0.0, count: Count | None = None) -> list[WireReply]:
        """As ``Wire.poll``.  Raises what ended the thread that does TLS, if something did, until the engine is
        stopped."""
        if self._sealer.trouble is not None and not self._stopped:
            raise RuntimeError("the thread that does TLS has failed") from self._sealer.trouble
        return self._wire.poll(timeout_s, count)
