"""A cache of embedding vectors, in memory and in one file that processes may share."""

from __future__ import annotations

import _thread
import errno
import fcntl
import os
import stat
import time
import warnings
import weakref
from contextlib import contextmanager, suppress
from io import FileIO
from operator import index
from typing import TYPE_CHECKING

from perfsuite import atomic
from perfsuite._core import VectorStore

try:  # what hashlib gives, without loading OpenSSL
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from typing_extensions import Buffer

    Vector = Buffer | Sequence[float]

LOCK_TIMEOUT_S = 10.0
"""How long a save waits for another process's."""

PREFIX = b"perfsuite.embed\0"
"""What every hashed text begins with.  BLAKE2b's own keywords would do, but CPython 3.12.1 aborts when an interpreter
with a GIL of its own ends that has called it with any."""

HEADER = 40
"""Bytes of a file from which its size is known."""


class EmbeddingCache:
    """The latest ``maxsize`` embedding vectors by text, as packed float32; on disk if ``path`` is given.

    The first vector fixes the dimension.  Texts are kept as 128 bits of their BLAKE2b only, so that an entry costs 4
    bytes a float and 45 to 60 more, whatever the length of its text; two texts that share them are not to be expected
    (2⁻⁸⁹ for a million texts).

    The file is read when the cache is made and written by :meth:`save`, by every ``autosave_every`` calls of
    :meth:`put` (0 or None: never), and at the end of a ``with`` block.  It is replaced as a whole, has mode 0600 from
    its first byte, and is checked when it is read: one that is damaged, foreign or from a newer version is set aside
    under another name with a warning.  A save first merges in what other processes have saved meanwhile (also into
    this cache), so nothing that was saved is lost until more than ``maxsize`` entries (the largest of those
    processes) compete; then the newest stay.  Of two vectors for one text the one stored later stays.

    An autosave that fails warns once and leaves everything in memory; the next one tries again.  Threads may share a
    cache.

    Raises:
        ValueError: ``maxsize`` below 1, or a negative ``autosave_every``.
        OSError: the path's folder is missing, or the path is not a regular file that may be read.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None = None, maxsize: int = 5000, autosave_every: int | None = 100
    ) -> None:
        self._every = 0 if autosave_every is None else index(autosave_every)
        if self._every < 0:
            raise ValueError(f"autosave_every must be 0 (never) or more, not {autosave_every}")
        self._store = VectorStore(maxsize)
        self._counting = _thread.allocate_lock()
        self._saving = _thread.allocate_lock()
        self._unsaved = 0
        self._warned = False
        _CACHES[id(self)] = self
        self._file = None if path is None else _File(os.path.abspath(os.fsdecode(path)))
        if self._file is not None:
            found = self._file.load()
            if found is not None:
                self._merge(found.data)

    # ── looking up and storing ────────────────────────────────────────────────────────────────────────────────────────

    def get(self, text: str) -> memoryview | None:
        """The vector of ``text`` as a read-only float32 memoryview, or None; counts as a hit or a miss.

        The view keeps its storage alive and never changes, whatever happens to the entry.
        """
        return self._store.get(_digest(text))

    def put(self, text: str, vector: Vector) -> None:
        """Stores a copy of ``vector``: a buffer of floats of one dimension, or a sequence of numbers.

        Values are rounded to float32; NaN and infinities are kept, and what is too large becomes infinite.

        Raises:
            ValueError: another number of floats than the cache holds, none, or more than one dimension.
            TypeError: not a vector of numbers, or ``text`` is not a string.
        """
        self._store.put(_digest(text), vector, time.time_ns())
        self._count()

    def get_or_compute(self, text: str, compute: Callable[[str], Vector]) -> memoryview:
        """The vector of ``text``, computed by ``compute(text)`` and stored if it is not there yet.

        What ``compute`` raises is passed on, and nothing is stored.  Two threads may compute the same text at once.
        """
        digest = _digest(text)
        view = self._store.get(digest)
        if view is None:
            while view is None:  # another thread may push it out before it is looked at
                view = self._store.put(digest, compute(text), time.time_ns(), True)
            self._count()
        return view

    def __len__(self) -> int:
        return len(self._store)

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and _digest(text) in self._store

    # ── what it holds ─────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def path(self) -> str | None:
        """The file's absolute path, or None."""
        return None if self._file is None else self._file.path

    @property
    def maxsize(self) -> int:
        """The most entries in memory."""
        return self._store.maxsize

    @property
    def dimension(self) -> int | None:
        """Floats in a vector; None before the first."""
        return self._store.dimension or None

    @property
    def hits(self) -> int:
        """Look-ups that found their vector."""
        return self._store.hits

    @property
    def misses(self) -> int:
        """Look-ups that did not."""
        return self._store.misses

    @property
    def evictions(self) -> int:
        """Entries that were pushed out by newer ones."""
        return self._store.evictions

    @property
    def hit_rate(self) -> float:
        """hits / (hits + misses), 0…1; 0 before any look-up."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0

    @property
    def bytes_per_entry(self) -> float:
        """All memory of the cache divided by its entries; 0 when it is empty."""
        return self._store.nbytes / len(self) if len(self) else 0.0

    @property
    def unsaved(self) -> int:
        """Calls of put since the last save."""
        return self._unsaved

    def __repr__(self) -> str:
        return f"<EmbeddingCache {len(self)} of {self.maxsize}, dimension {self.dimension}, path {self.path!r}>"

    # ── the file ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def save(self) -> None:
        """Merges with the file and replaces it.

        Raises:
            ValueError: the cache has no path, or the file holds vectors of another dimension.
            OSError: it could not be read, locked or written (TimeoutError: another process held the lock for 10 s);
                nothing in memory or in the file is lost, and it may be tried again.
        """
        if self._file is None:
            raise ValueError("this EmbeddingCache has no file to save to; make it with EmbeddingCache(path)")
        with self._saving:
            self._save(self._file)

    def close(self) -> None:
        """Saves, if there is a path and anything new."""
        if self._file is not None and self._unsaved:
            self.save()

    def __enter__(self) -> EmbeddingCache:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _count(self) -> None:
        with self._counting:
            self._unsaved += 1
            due = self._every > 0 and self._unsaved % self._every == 0
        if due and self._file is not None and self._saving.acquire(blocking=False):
            try:
                self._save(self._file)
            except (OSError, ValueError) as error:
                if not self._warned:
                    self._warned = True
                    warnings.warn(
                        f"the embedding cache was not saved and goes on in memory: {error}", RuntimeWarning, 3
                    )
            finally:
                self._saving.release()

    def _save(self, file: _File) -> None:
        before = self._unsaved
        with file.locked():
            found = file.read_changed()
            capacity = self.maxsize
            store = self._store
            if found is not None:
                self._merge(found.data)
                if found.capacity > capacity:
                    # Another process keeps more than this one does: merge for the file as widely as it would.
                    capacity = found.capacity
                    store = VectorStore(capacity)
                    store.merge(found.data)
                    store.merge(self._store.to_bytes(capacity))
            file.write(store.to_bytes(capacity), whole=store is self._store)
        with self._counting:
            self._unsaved -= before
        self._warned = False

    def _merge(self, data: bytes) -> None:
        try:
            self._store.merge(data)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}; give this model's cache a path of its own") from None


def _digest(text: str) -> bytes:
    if not isinstance(text, str):
        raise TypeError(f"the text must be a str, not {type(text).__name__}")
    return blake2b(PREFIX + text.encode("utf-8", "surrogatepass")).digest()[:16]


_CACHES: weakref.WeakValueDictionary[int, EmbeddingCache] = weakref.WeakValueDictionary()


def _after_fork() -> None:
    """In a forked child: a lock held by a thread that was not forked would never be given back."""
    for cache in _CACHES.values():
        cache._counting = _thread.allocate_lock()
        cache._saving = _thread.allocate_lock()


os.register_at_fork(after_in_child=_after_fork)


class _Found:
    """A file's bytes, checked, and the largest maxsize of the processes that wrote it."""

    def __init__(self, data: bytes, capacity: int) -> None:
        self.data = data
        self.capacity = min(max(capacity, 1), 2**30)


class _File:
    """The one file: locked, read, set aside when it cannot be used, replaced."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.folder, self.name = os.path.split(path)
        self._written: tuple[int, int, int] | None = None
        if not os.path.isdir(self.folder):
            raise FileNotFoundError(
                errno.ENOENT, "the folder for the embedding cache does not exist; make it first", self.folder
            )

    def load(self) -> _Found | None:
        """What the file holds, or None; does without the lock where none can be made, as in a read-only folder."""
        try:
            with self.locked():
                return self._read(may_move=True)
        except TimeoutError:
            raise
        except PermissionError:
            return self._read(may_move=False)
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            return self._read(may_move=False)

    def read_changed(self) -> _Found | None:
        """As load, with the lock held; None also when the file is the one that this object wrote last."""
        with suppress(OSError):
            if self._written is not None and _signature(os.lstat(self.path)) == self._written:
                return None
        return self._read(may_move=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the lock file, which stays: removing it would let two hold it at once."""
        lock = f"{self.path}.lock"
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + LOCK_TIMEOUT_S
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        why = f"another process has held the lock for {LOCK_TIMEOUT_S:g} s; end it or try again"
                        raise TimeoutError(errno.ETIMEDOUT, why, lock) from None
                    time.sleep(0.01)
            try:
                yield
            finally:
                # Closing would not do if another thread forked meanwhile: the child holds the same open file.
                fcntl.flock(handle, fcntl.LOCK_UN)
        finally:
            os.close(handle)

    def _read(self, may_move: bool) -> _Found | None:
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                why = "the embedding cache's file is a symbolic link; give the file itself"
            else:
                why = f"cannot read the embedding cache: {error.strerror}"
            raise OSError(error.errno, why, self.path) from None
        try:
            size = self._size(handle)
            stream = FileIO(handle, "rb")
        except BaseException:
            os.close(handle)
            raise
        with stream:
            try:
                data = _checked(stream, size)
                return _Found(data, VectorStore.inspect(data)[2])
            except ValueError as error:
                reason = str(error)
        self._set_aside(reason, may_move)
        return None

    def _size(self, handle: int) -> int:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, "the embedding cache's path is a directory; name a file", self.path)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "the embedding cache's path is not a regular file; name one", self.path)
        return status.st_size

    def _set_aside(self, reason: str, may_move: bool) -> None:
        if not may_move:
            warnings.warn(f"{self.path}: {reason}; it cannot be moved (the folder is read-only) and is not used",
                          RuntimeWarning, 5)  # fmt: skip
            return
        base = f"{self.path}.damaged-{time.strftime('%Y%m%d_%H%M%S')}"
        target, counter = base, 1
        while os.path.lexists(target):
            target, counter = f"{base}-{counter}", counter + 1
        os.rename(self.path, target)
        warnings.warn(f"{self.path}: {reason}; it was set aside as {target} and is not used", RuntimeWarning, 5)

    def write(self, data: bytes, whole: bool) -> None:
        """Replaces the file, the lock being held.  ``whole``: memory holds all of it, so it need not be read again."""
        temporary = os.path.join(self.folder, f".{self.name}.tmp")
        try:
            with suppress(FileNotFoundError):
                os.unlink(temporary)  # of a process that was killed: whoever writes holds the lock
            status = atomic.replace(self.path, data, temporary, 0o600)
        except OSError as error:
            why = f"cannot save the embedding cache ({error.strerror}); it goes on in memory, save() may be tried again"
            raise OSError(error.errno, why, self.path) from error
        self._written = _signature(status) if whole else None


def _checked(stream: FileIO, size: int) -> bytes:
    """All bytes of a file that begins as one of ours; ValueError before more is read than its header promises."""
    header = stream.read(HEADER) or b""
    expected = VectorStore.file_size(header)
    if expected != size:
        raise ValueError(
            f"the embedding file has {size} bytes where its header says {expected}: it was cut or added to"
        )
    pieces, left = [header], size - len(header)
    while left > 0 and (piece := stream.read(left)):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _signature(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_mtime_ns, status.st_size
