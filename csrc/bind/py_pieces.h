/* Pieces of what has arrived, waiting to be taken: each a part of a bytes object that it keeps
 * alive, so that queueing one neither copies nor makes a Python object. */
#ifndef PFS_PY_PIECES_H
#define PFS_PY_PIECES_H

#include "pfs_py.h"
#include "py_whole.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    int64_t at_ns;
    PyObject *owner; /* bytes; NULL for an empty piece */
    PyObject *name;  /* str, or NULL for none */
    Py_ssize_t offset, length;
} pfs_piece;

typedef struct {
    pfs_piece *items;
    size_t count, room;
} pfs_pieces;

/* Adds a piece; `bytes` may lie in `chunk` (then that is kept), else it is copied.  `name` may be
 * NULL.  Runs no Python code.  0, or -1 with MemoryError and nothing changed. */
int pfs_pieces_add(pfs_pieces *pieces, PyObject *chunk, const char *bytes, size_t length,
                   PyObject *name, int64_t at_ns);

/* Takes all pieces out, as a list of (at_ns, bytes) when `unnamed` is NULL, else of (at_ns, name,
 * bytes), where `unnamed` is the name of those without one.  `object` is locked while the queue
 * changes hands.  NULL with an exception. */
PyObject *pfs_pieces_take(pfs_pieces *pieces, PyObject *object, PyObject *unnamed);

/* Adds a part of `chunk`, without a name, where the queue has room; takes over the reference. */
static inline void pfs_pieces_push(pfs_pieces *pieces, PyObject *chunk, Py_ssize_t offset,
                                   Py_ssize_t length, int64_t at_ns)
{
    pieces->items[pieces->count++] =
        (pfs_piece){.at_ns = at_ns, .owner = chunk, .offset = offset, .length = length};
}

void pfs_pieces_clear(pfs_pieces *pieces);

/* As pfs_pieces_read, for all that is not bytes and an int. */
int pfs_pieces_read_any(const char *method, PyObject *const *args, Py_ssize_t nargs,
                        PyObject **chunk, int64_t *at_ns);

/* Reads (data, at_ns=None): *chunk is a new reference to bytes.  0, or -1 with an exception. */
static inline int pfs_pieces_read(const char *method, PyObject *const *args, Py_ssize_t nargs,
                                  PyObject **chunk, int64_t *at_ns)
{
    if (nargs == 2 && PyBytes_CheckExact(args[0]) && PyLong_CheckExact(args[1])) {
        if (pfs_whole_read(args[1], "at_ns", INT64_MIN, INT64_MAX, at_ns) < 0) {
            return -1;
        }
        *chunk = Py_NewRef(args[0]);
        return 0;
    }
    return pfs_pieces_read_any(method, args, nargs, chunk, at_ns);
}

#endif
