"""What was stored since the database was last synced: records in a file that never changes its size.

To be durable on its own, a memory in SQLite takes some twelve pages of the write-ahead log (rows, indexes, full text)
and a sync of them; in a log that grows, the file system writes the new size as well, in a journal of its own.  Here it
takes a part of one page that is there already, and a sync of that.  The database gets the memories later, many in one
transaction and without waiting for the disk; the records of what it had not got, or has lost with the machine's power,
are stored again when it is opened.

One sync is of all records that were added before it: threads that wait at the same time wait for one or two syncs,
however many they are, and go on together.

A record is the epoch of the file's present use, its number in it, its length, a CRC-32 of all that, and its bytes.
Where that is not what comes next, the records end: what was torn, or is of an earlier use, is not read.

One process at a time: the file is locked while it is open.  Only ``sync`` may be called by several threads at once, and
while another method runs.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from zlib import crc32

BYTES = 1 << 20
"""Of the file."""
_HEAD = struct.Struct("<QIII")
_UNSUMMED = struct.Struct("<QII")


class Journal:
    """The file.  OSError: it cannot be read or written."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self._lock()
            missing = BYTES - os.fstat(self._file).st_size
            if missing > 0:
                _write(self._file, bytes(missing), BYTES - missing)
                os.fsync(self._file)
                _sync_folder(self.path)
        except BaseException:
            os.close(self._file)
            raise
        self._epoch = int.from_bytes(os.urandom(8), "little")
        self._number = 0
        self._position = 0
        self._added = 0
        self._synced = 0
        self._broken = False
        self._turn = threading.Condition(threading.Lock())
        self._syncing = False

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            why = "another process has it open; end that one, or name another file"
            raise BlockingIOError(errno.EWOULDBLOCK, why, self.path) from None

    def records(self) -> Iterator[bytes]:
        """What is there, in order.  To be read before anything is added."""
        data = os.pread(self._file, BYTES, 0)
        position, epoch, number = 0, None, 0
        while position + _HEAD.size <= len(data):
            found, at, length, total = _HEAD.unpack_from(data, position)
            begin = position + _HEAD.size
            payload = data[begin : begin + length]
            epoch = found if epoch is None else epoch
            if found != epoch or at != number or total != _sum(found, at, payload) or len(payload) < length:
                return
            yield payload
            position, number = begin + length, number + 1

    def takes(self, size: int) -> bool:
        """Whether a record of so many bytes is worth adding: many fit."""
        return size <= BYTES // 4

    def add(self, payload: bytes) -> int | None:
        """Adds a record; ``sync`` with the number that this returns waits until it is on the disk.  None: there is no
        room before a ``clear``, or a sync failed, after which the disk may have lost what was before it."""
        end = self._position + _HEAD.size + len(payload)
        if end > BYTES or self._broken:
            return None
        head = _HEAD.pack(self._epoch, self._number, len(payload), _sum(self._epoch, self._number, payload))
        _write(self._file, head + payload, self._position)
        self._position, self._number = end, self._number + 1
        self._added += 1
        return self._added

    def sync(self, number: int) -> None:
        """Returns when the record of that number is on the disk.  OSError: it may not be, now or later."""
        if self._has(number):
            return
        with self._alone(number) as needed:
            if not needed:
                return  # the sync of another, which this one waited for, was of this record too
            if self._broken:  # the kernel says it once: a second sync would claim what the first has lost
                raise OSError(errno.EIO, "an earlier sync failed", self.path)
            added = self._added
            try:
                os.fdatasync(self._file)
            except BaseException:
                self._broken = True
                raise
            self._synced = added

    def clear(self) -> None:
        """Forgets all records: the database has them, on the disk."""
        with self._alone():
            _write(self._file, bytes(_HEAD.size), 0)
            os.fdatasync(self._file)
            self._epoch = int.from_bytes(os.urandom(8), "little")
            self._number = self._position = 0
            self._synced, self._broken = self._added, False

    @contextmanager
    def _alone(self, number: int | None = None) -> Iterator[bool]:
        """While nobody else syncs.  False, without waiting further, once the record of that number is on the disk.

        All whose records a sync was of go on together when it is over.  In a queue for a lock those behind the next one
        to sync would wait for its sync too, and add nothing that it could be of."""
        leads = False
        try:
            with self._turn:
                while not self._has(number) and self._syncing:
                    self._turn.wait()
                if not self._has(number):
                    leads = self._syncing = True
            yield leads
        finally:
            if leads:
                with self._turn:
                    self._syncing = False
                    self._turn.notify_all()

    def _has(self, number: int | None) -> bool:
        return number is not None and self._synced >= number

    def close(self, *, remove: bool) -> None:
        """Closes the file, and removes it where all is in the database."""
        os.close(self._file)
        if remove:
            with suppress(FileNotFoundError):  # its folder may be gone already
                os.unlink(self.path)


def _sum(epoch: int, number: int, payload: bytes) -> int:
    return crc32(payload, crc32(_UNSUMMED.pack(epoch, number, len(payload))))


def _write(file: int, data: bytes, position: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, position)
        position, view = position + written, view[written:]


def _sync_folder(path: str) -> None:
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
