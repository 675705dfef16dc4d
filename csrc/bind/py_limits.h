/* What TokenBucket and RateLimiter share: the caller's clock, and arguments. */
#ifndef PFS_PY_LIMITS_H
#define PFS_PY_LIMITS_H

#include "pfs_py.h"

#include "pfs_clock.h"

/* The caller's clock, or ours when it is NULL.  0, or -1 with an exception. */
static inline int pfs_limit_clock(PyObject *clock, int64_t *now_ns)
{
    if (clock == NULL) {
        *now_ns = pfs_clock_ns();
        return 0;
    }
    PyObject *result = PyObject_CallNoArgs(clock);
    if (result == NULL) {
        return -1;
    }
    long long value = PyLong_AsLongLong(result); /* TypeError for what is no integer */
    Py_DECREF(result);
    *now_ns = value;
    return value == -1 && PyErr_Occurred() ? -1 : 0;
}

/* Reads `fixed` (0 or 1) arguments named key and then n (1.0 when it is not given), each by place
 * or by name.  *key is borrowed; NULL will do when fixed is 0.  0, or -1 with an exception. */
int pfs_limit_args(const char *method, PyObject *const *args, Py_ssize_t nargs, PyObject *names,
                   Py_ssize_t fixed, PyObject **key, double *n);

/* Whether pfs_rate_init will take them.  0, or -1 with a ValueError that says which one is wrong.
 */
int pfs_limit_check_rate(double rate, double capacity);

/* Makes None NULL.  0, or -1 with a TypeError for what cannot be called. */
int pfs_limit_check_clock(PyObject **clock);

#endif
