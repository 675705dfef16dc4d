"""TLS: the context of a server, with the user's certificate or one made for this run."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.scratch import scratch_folder

DAYS = 7


def context(certificate: Path | None, key: Path | None, out: Path | None = None) -> ssl.SSLContext:
    """The server's context; ``out`` gets a certificate that was made here, for clients to trust.  The key is never
    kept: its file goes away as soon as it is loaded."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.set_alpn_protocols(["http/1.1"])
    if certificate is not None:
        _load(made, certificate, key)
        return made
    with scratch_folder("tls") as folder:
        pem, secret = folder / "certificate.pem", folder / "key.pem"
        _make(pem, secret)
        _load(made, pem, secret)
        if out is not None:
            try:
                out.write_bytes(pem.read_bytes())
            except OSError as error:
                raise UsageError(f"--cert-out {out}: {error.strerror}; name a file that can be written") from error
    return made


def _load(made: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    try:
        made.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise UsageError(
            f"--certfile {certificate}: not a PEM certificate with its key ({error.reason}); name the key with "
            "--keyfile"
        ) from error
    except OSError as error:
        raise UsageError(f"--certfile {certificate}, --keyfile {key}: {error.strerror}; name readable files") from error


def _make(pem: Path, secret: Path) -> None:
    """A self-signed certificate of this machine's loopback names, by the program openssl."""
    program = shutil.which("openssl")
    if program is None:
        raise PerfsuiteError(
            "--tls makes its certificate with the program openssl, which is not installed: install it, or give one "
            "with --certfile and --keyfile"
        )
    done = subprocess.run(
        [
            program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-batch",
            "-days", str(DAYS), "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1",
            "-out", str(pem), "-keyout", str(secret),
        ],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if done.returncode:
        raise PerfsuiteError(f"openssl could not make a certificate: {' '.join(done.stderr.split())[-300:]}")
