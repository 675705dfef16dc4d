/* What Events and Row know of one another. */
#ifndef PFS_PY_EVENTS_H
#define PFS_PY_EVENTS_H

#include "pfs_py.h"
#include "py_whole.h"

#include "pfs_clock.h"
#include "pfs_events.h"

typedef struct {
    PyObject_HEAD pfs_events *events; /* guarded by PFS_LOCK of this object */
} Events;

/* A Row of `events`, whose reference it takes in any case; ends it as cancelled when there is no
 * memory for the object.  NULL with an exception. */
PyObject *pfs_py_row_new(pfs_state *state, Events *events, pfs_events_row row);

extern PyType_Spec pfs_py_row_spec;

extern PyMethodDef pfs_py_events_methods[];
extern PyGetSetDef pfs_py_events_getset[];

/* The index of one of EVENT_METRICS; -1 with ValueError. */
int pfs_py_metric_named(PyObject *name);

/* dict[name] = value, whose reference it takes; NULL is passed on.  0, or -1 with an exception. */
int pfs_py_set_item(PyObject *dict, const char *name, PyObject *value);

/* Sorts the arguments of a METH_FASTCALL | METH_KEYWORDS call into `values`, one for each of
 * `names` (which ends with NULL), borrowed; those not given are left as they are.  0, or -1 with
 * TypeError. */
int pfs_py_arguments(const char *function, const char *const *names, PyObject *const *args,
                     Py_ssize_t nargs, PyObject *kwnames, PyObject **values);

#endif
