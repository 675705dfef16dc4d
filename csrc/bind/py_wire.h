/* What the binding's files of the load engine share. */
#ifndef PFS_PY_WIRE_H
#define PFS_PY_WIRE_H

#include "py_events.h"

#include "pfs_wire.h"

typedef struct {
    PyObject_HEAD pfs_wire *wire;
    PyObject *events;
    bool polling, stopping, taking; /* by one thread at a time */
} Wire;

/* py_wire_new.c: tp_new, which makes the engine of its arguments. */
PyObject *pfs_wire_type_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);

/* py_wire_reply.c: WireReply's type, and one of a request that has ended; NULL with an exception.
 */
PyTypeObject *pfs_wire_reply_type(void);
PyObject *pfs_wire_reply_new(pfs_state *state, const pfs_wire_reply *reply);

/* py_wire_sealed.c */
PyObject *pfs_wire_take_parcels(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames);
PyObject *pfs_wire_give_parcel(PyObject *object, PyObject *const *args, Py_ssize_t nargs);
extern const char pfs_wire_take_doc[], pfs_wire_give_doc[];

/* Adds the kinds of parcels to the module; 0, or -1 with an exception. */
int pfs_wire_add_kinds(PyObject *module);

#endif
