/* perfsuite.Histogram for the other bindings, and what its own files share. */
#ifndef PY_HISTOGRAM_H
#define PY_HISTOGRAM_H

#include "pfs_py.h"

#include "pfs_histogram.h"

typedef struct {
    PyObject_HEAD pfs_histogram histogram; /* made with pfs_py_alloc(), always initialised */
} HistogramObject;

/* A new perfsuite.Histogram that takes over `take`, which must have been made with pfs_py_alloc().
 * `take` is gone either way: on failure, NULL with an exception, it has been cleared. */
PyObject *pfs_py_histogram_wrap(pfs_state *state, pfs_histogram *take);

/* The histogram inside `object`; NULL with TypeError, naming `what`, if it is no Histogram.  To be
 * used under PFS_LOCK(object). */
pfs_histogram *pfs_py_histogram_get(pfs_state *state, PyObject *object, const char *what);

/* As pfs_py_histogram_wrap, for `type`, a Histogram or a subclass, whose __init__ is not called. */
PyObject *pfs_py_histogram_wrap_as(PyTypeObject *type, pfs_histogram *take);

/* A float out of any number.  -1 with an exception, else 0. */
static inline int pfs_py_double(PyObject *number, double *out)
{
    if (PyFloat_CheckExact(number)) {
        *out = PyFloat_AS_DOUBLE(number);
        return 0;
    }
    *out = PyFloat_AsDouble(number);
    return *out == -1.0 && PyErr_Occurred() != NULL ? -1 : 0;
}

/* Each method's documentation stands beside it, under its name and _doc. */

/* py_histogram_ask.c */
PyObject *Histogram_quantile(PyObject *self, PyObject *q);
PyObject *Histogram_quantiles(PyObject *self, PyObject *qs);
PyObject *Histogram_cdf(PyObject *self, PyObject *value);
PyObject *Histogram_buckets(PyObject *self, PyObject *unused);
PyObject *Histogram_edges(PyObject *self, PyObject *unused);
PyObject *Histogram_sizeof(PyObject *self, PyObject *unused);
PyObject *Histogram_repr(PyObject *self);
extern const char Histogram_quantile_doc[], Histogram_quantiles_doc[], Histogram_cdf_doc[],
    Histogram_buckets_doc[], Histogram_edges_doc[], Histogram_sizeof_doc[];
extern PyGetSetDef pfs_histogram_properties[];

/* py_histogram_many.c */
extern const char Histogram_record_many_doc[];
PyObject *Histogram_record_many(PyObject *self, PyObject *values);

/* py_histogram_bytes.c */
extern const char Histogram_to_bytes_doc[], Histogram_from_bytes_doc[], Histogram_to_hdr_doc[],
    Histogram_from_hdr_doc[], Histogram_reduce_doc[];
PyObject *Histogram_to_bytes(PyObject *self, PyObject *unused);
PyObject *Histogram_from_bytes(PyObject *type, PyObject *data);
PyObject *Histogram_reduce(PyObject *self, PyObject *unused);
PyObject *Histogram_to_hdr(PyObject *self, PyObject *args, PyObject *kwargs);
PyObject *Histogram_from_hdr(PyObject *type, PyObject *args, PyObject *kwargs);
int Histogram_getbuffer(PyObject *self, Py_buffer *view, int flags);
void Histogram_releasebuffer(PyObject *self, Py_buffer *view);

#endif
