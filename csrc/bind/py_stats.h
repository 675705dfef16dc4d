/* What the two binding files of the statistics share: arguments in, and the second file's methods.
 */
#ifndef PFS_PY_STATS_H
#define PFS_PY_STATS_H

#include "py_numbers.h"

/* Means, tests and series: py_stats_sample.c. */
extern PyMethodDef pfs_stats_sample_methods[];

#define PFS_STATS_FAST(name)                                                                       \
    {                                                                                              \
#name, PFS_METHOD(stats_##name), METH_FASTCALL, name##_doc                                 \
    }

/* 0, or -1 with TypeError. */
static inline int pfs_stats_expect(const char *name, Py_ssize_t given, Py_ssize_t wanted)
{
    if (given != wanted) {
        PyErr_Format(PyExc_TypeError, "%s takes %zd arguments, %zd were given", name, wanted,
                     given);
        return -1;
    }
    return 0;
}

/* Reads `count` floats; -1 with an exception. */
static inline int pfs_stats_read_floats(PyObject *const *args, Py_ssize_t count, double *values)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        values[i] = PyFloat_AsDouble(args[i]);
        if (values[i] == -1.0 && PyErr_Occurred()) {
            return -1;
        }
    }
    return 0;
}

static inline int pfs_stats_read_some(PyObject *source, const char *what, double **data, size_t *n)
{
    if (pfs_numbers_read(source, what, data, n) < 0) {
        return -1;
    }
    if (*n == 0) {
        PyMem_RawFree(*data);
        PyErr_Format(PyExc_ValueError, "%s is empty: there is nothing to answer from", what);
        return -1;
    }
    return 0;
}

static inline int pfs_stats_check_confidence(double confidence)
{
    if (confidence > 0.0 && confidence < 1.0) {
        return 0;
    }
    PyErr_SetString(PyExc_ValueError, "confidence must lie between 0 and 1, as in 0.95");
    return -1;
}

#endif
