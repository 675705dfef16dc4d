/* What ResponseParser needs of StreamParser. */
#ifndef PFS_PY_STREAM_H
#define PFS_PY_STREAM_H

#include "py_pieces.h"

#include "pfs_stream.h"

typedef struct {
    PyObject_HEAD pfs_stream stream;
    pfs_pieces events;
    PyObject *chunk;        /* bytes that `stream` borrows, or NULL */
    PyObject *unnamed;      /* str: the name of an event without one */
    PyObject *last_name;    /* str or NULL: most streams repeat a few names */
    PyObject *cut;          /* bytes or NULL: what there was of an event that was cut */
    pfs_stream_event event; /* while `pulled`: taken from the stream, not queued yet */
    bool pulled;
} StreamParser;

/* Gives the stream `length` bytes of `chunk` and queues the events that they complete; the number
 * of them.  -1 with MemoryError (the bytes stay: call pfs_py_stream_drain) or OverflowError (an
 * event is too large).  Runs no Python code; the caller holds the lock. */
Py_ssize_t pfs_py_stream_give(StreamParser *self, PyObject *chunk, const char *bytes, size_t length,
                              int64_t at_ns);
Py_ssize_t pfs_py_stream_drain(StreamParser *self);
void pfs_py_stream_reset(StreamParser *self);

#endif
