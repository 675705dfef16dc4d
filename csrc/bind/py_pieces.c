#include "py_pieces.h"
#include "py_whole.h"

#include "pfs_clock.h"

#define KEPT_ROOM 64 /* an emptied queue of at most so many places is used again */

static int reserve(pfs_pieces *pieces)
{
    if (pieces->count < pieces->room) {
        return 0;
    }
    size_t room = pieces->room == 0 ? 4 : 2 * pieces->room;
    pfs_piece *items = PyMem_RawRealloc(pieces->items, room * sizeof *items);
    if (items == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    pieces->items = items;
    pieces->room = room;
    return 0;
}

int pfs_pieces_add(pfs_pieces *pieces, PyObject *chunk, const char *bytes, size_t length,
                   PyObject *name, int64_t at_ns)
{
    if (reserve(pieces) < 0) {
        return -1;
    }
    pfs_piece piece = {.at_ns = at_ns, .length = (Py_ssize_t)length};
    if (length != 0) {
        const char *start = chunk == NULL ? NULL : PyBytes_AS_STRING(chunk);
        uintptr_t first = (uintptr_t)start, at = (uintptr_t)bytes;
        if (start != NULL && at >= first && at < first + (size_t)PyBytes_GET_SIZE(chunk)) {
            piece.owner = Py_NewRef(chunk);
            piece.offset = (Py_ssize_t)(at - first);
        } else if ((piece.owner = PyBytes_FromStringAndSize(bytes, piece.length)) == NULL) {
            return -1;
        }
    }
    piece.name = Py_XNewRef(name);
    pieces->items[pieces->count++] = piece;
    return 0;
}

void pfs_pieces_clear(pfs_pieces *pieces)
{
    pfs_pieces old = *pieces;
    *pieces = (pfs_pieces){0};
    for (size_t i = 0; i < old.count; i++) {
        Py_XDECREF(old.items[i].owner);
        Py_XDECREF(old.items[i].name);
    }
    PyMem_RawFree(old.items);
}

static PyObject *build(const pfs_piece *piece, PyObject *unnamed)
{
    PyObject *bytes, *at_ns, *result = NULL;
    if (piece->owner == NULL) {
        bytes = PyBytes_FromStringAndSize(NULL, 0);
    } else if (piece->length == PyBytes_GET_SIZE(piece->owner)) {
        bytes = Py_NewRef(piece->owner);
    } else {
        bytes = PyBytes_FromStringAndSize(PyBytes_AS_STRING(piece->owner) + piece->offset,
                                          piece->length);
    }
    at_ns = PyLong_FromLongLong(piece->at_ns);
    if (bytes != NULL && at_ns != NULL) {
        PyObject *name = piece->name == NULL ? unnamed : piece->name;
        result = name == NULL ? PyTuple_Pack(2, at_ns, bytes) : PyTuple_Pack(3, at_ns, name, bytes);
    }
    Py_XDECREF(at_ns);
    Py_XDECREF(bytes);
    return result;
}

/* Making the list may run the collector and with it any Python code, which may add pieces or take
 * them: so the queue is taken away first.  Out of memory, it is put back if none came meanwhile. */
PyObject *pfs_pieces_take(pfs_pieces *pieces, PyObject *object, PyObject *unnamed)
{
    (void)object; /* used by the lock, where there is one */
    pfs_pieces taken;
    PFS_LOCK(object);
    taken = *pieces;
    *pieces = (pfs_pieces){0};
    PFS_UNLOCK();
    PyObject *list = PyList_New((Py_ssize_t)taken.count);
    for (size_t i = 0; list != NULL && i < taken.count; i++) {
        PyObject *item = build(&taken.items[i], unnamed);
        if (item == NULL) {
            Py_CLEAR(list);
        } else {
            PyList_SET_ITEM(list, (Py_ssize_t)i, item);
        }
    }
    if (list != NULL) { /* the references go only now, when everything stands */
        pfs_piece *items = taken.items;
        for (size_t i = 0; i < taken.count; i++) {
            Py_XDECREF(items[i].owner);
            Py_XDECREF(items[i].name);
        }
        taken.count = 0;
    }
    PFS_LOCK(object);
    if (pieces->items == NULL && (taken.count != 0 || taken.room <= KEPT_ROOM)) {
        *pieces = taken;
        taken = (pfs_pieces){0};
    }
    PFS_UNLOCK();
    pfs_pieces_clear(&taken);
    return list;
}

int pfs_pieces_read_any(const char *method, PyObject *const *args, Py_ssize_t nargs,
                        PyObject **chunk, int64_t *at_ns)
{
    if (nargs < 1 || nargs > 2) {
        PyErr_Format(PyExc_TypeError, "%s() takes data and at_ns=None, not %zd arguments", method,
                     nargs);
        return -1;
    }
    if (nargs == 2 && args[1] != Py_None) {
        if (pfs_whole_read(args[1], "at_ns", INT64_MIN, INT64_MAX, at_ns) < 0) {
            return -1;
        }
    } else {
        *at_ns = pfs_clock_ns();
    }
    if (PyBytes_CheckExact(args[0])) {
        *chunk = Py_NewRef(args[0]);
        return 0;
    }
    if (!PyObject_CheckBuffer(args[0])) {
        PyErr_Format(PyExc_TypeError, "%s() takes bytes, not %s", method,
                     Py_TYPE(args[0])->tp_name);
        return -1;
    }
    *chunk = PyBytes_FromObject(args[0]); /* may run Python code */
    return *chunk == NULL ? -1 : 0;
}
