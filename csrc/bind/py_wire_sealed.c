/* Wire.take and Wire.give: the exchange of parcels with who opens and seals in Python. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "py_wire.h"

#include "pfs_wire_sealed.h"

const char pfs_wire_take_doc[] =
    "take($self, timeout_s=1.0)\n--\n\n"
    "What a sealed engine has to say, in order: a list of (kind, connection, stamp, bytes), kinds "
    "as\n"
    "in WIRE_PARCELS; None once the engine has stopped.  Waits up to timeout_s, without the GIL.\n"
    "What was given since the last time goes to the engine first.";

const char pfs_wire_give_doc[] =
    "give($self, kind, connection, stamp, bytes, /)\n--\n\n"
    "Gives a sealed engine a parcel.  It is heard with the next take().";

static PyObject *parcel_new(const pfs_wire_parcel *parcel)
{
    PyObject *items[] = {
        PyLong_FromLong(parcel->what),
        PyLong_FromUnsignedLongLong(parcel->id),
        PyLong_FromLongLong(parcel->at_ns),
        PyBytes_FromStringAndSize(parcel->bytes, (Py_ssize_t)parcel->length),
    };
    enum { COUNT = sizeof items / sizeof items[0] };
    PyObject *tuple = PyTuple_New(COUNT);
    bool whole = tuple != NULL;
    for (Py_ssize_t i = 0; i < COUNT; i++) {
        whole = whole && items[i] != NULL;
        if (tuple != NULL) {
            PyTuple_SET_ITEM(tuple, i, items[i]);
        } else {
            Py_XDECREF(items[i]);
        }
    }
    if (!whole) {
        Py_CLEAR(tuple);
    }
    return tuple;
}

static PyObject *take(Wire *self, double timeout)
{
    bool more;
    PyThreadState *thread = PyEval_SaveThread();
    more = pfs_wire_take(self->wire, (int)(timeout * 1000.0 + 0.5));
    PyEval_RestoreThread(thread);
    if (!more) {
        Py_RETURN_NONE;
    }
    PyObject *list = PyList_New(0);
    pfs_wire_parcel parcel;
    while (list != NULL && pfs_wire_taken(self->wire, &parcel)) {
        PyObject *tuple = parcel_new(&parcel);
        if (tuple == NULL || PyList_Append(list, tuple) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(tuple);
    }
    return list;
}

PyObject *pfs_wire_take_parcels(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    static const char *const names[] = {"timeout_s", NULL};
    Wire *self = (Wire *)object;
    PyObject *values[1] = {NULL};
    double timeout = 1.0;
    if (pfs_py_arguments("take", names, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    if (values[0] != NULL) {
        timeout = PyFloat_AsDouble(values[0]);
        if (timeout == -1.0 && PyErr_Occurred()) {
            return NULL;
        }
    }
    if (!(timeout >= 0.0 && timeout <= 3600.0)) {
        PyErr_SetString(PyExc_ValueError, "timeout_s must be 0 to 3600 seconds");
        return NULL;
    }
    if (!pfs_wire_is_sealed(self->wire)) {
        PyErr_SetString(PyExc_RuntimeError, "this engine is not sealed: it does without");
        return NULL;
    }
    bool mine;
    PFS_LOCK(object);
    mine = !self->taking;
    self->taking = true;
    PFS_UNLOCK();
    if (!mine) {
        PyErr_SetString(PyExc_RuntimeError, "another thread is taking");
        return NULL;
    }
    PyObject *list = take(self, timeout);
    PFS_LOCK(object);
    self->taking = false;
    PFS_UNLOCK();
    return list;
}

PyObject *pfs_wire_give_parcel(PyObject *object, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 4 || !PyBytes_Check(args[3])) {
        PyErr_SetString(PyExc_TypeError, "give() takes a kind, a connection, a stamp and bytes");
        return NULL;
    }
    long kind = PyLong_AsLong(args[0]);
    unsigned long long id = PyLong_AsUnsignedLongLong(args[1]);
    long long at = PyLong_AsLongLong(args[2]);
    if (PyErr_Occurred()) {
        return NULL;
    }
    if (kind < 0 || kind >= PFS_WIRE_PARCEL_KINDS ||
        pfs_wire_give(((Wire *)object)->wire, id, (pfs_wire_parcel_kind)kind, at,
                      PyBytes_AS_STRING(args[3]), (size_t)PyBytes_GET_SIZE(args[3])) != PFS_OK) {
        PyErr_SetString(PyExc_ValueError, "no such parcel is given, or this engine is not sealed");
        return NULL;
    }
    Py_RETURN_NONE;
}

int pfs_wire_add_kinds(PyObject *module)
{
    static const char *const names[] = {"opened", "arrived", "to_seal", "shut",   "gone",
                                        "ready",  "plain",   "send",    "sealed", "over",
                                        "torn",   "broken",  "lost"};
    _Static_assert(sizeof names / sizeof names[0] == (size_t)PFS_WIRE_PARCEL_KINDS,
                   "a name for each kind");
    PyObject *all = PyTuple_New(PFS_WIRE_PARCEL_KINDS);
    for (Py_ssize_t i = 0; all != NULL && i < PFS_WIRE_PARCEL_KINDS; i++) {
        PyObject *name = PyUnicode_FromString(names[i]);
        if (name == NULL) {
            Py_CLEAR(all);
        } else {
            PyTuple_SET_ITEM(all, i, name);
        }
    }
    int status = all == NULL ? -1 : PyModule_AddObjectRef(module, "WIRE_PARCELS", all);
    Py_XDECREF(all);
    return status;
}
