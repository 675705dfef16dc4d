#include "py_limits.h"

#include "pfs_bucket.h"

#include <stdbool.h>

/* A number of tokens: 0, or -1 with an exception. */
static int read_tokens(PyObject *arg, double *n)
{
    double value = PyFloat_AsDouble(arg);
    if (value == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (!(value > 0.0)) {
        PyErr_Format(PyExc_ValueError, "n is %R; it must be a number of tokens above 0", arg);
        return -1;
    }
    *n = value;
    return 0;
}

/* Whether a keyword is this name. */
static bool is_named(PyObject *keyword, const char *name)
{
    return PyUnicode_CompareWithASCIIString(keyword, name) == 0;
}

int pfs_limit_args(const char *method, PyObject *const *args, Py_ssize_t nargs, PyObject *names,
                   Py_ssize_t fixed, PyObject **key, double *n)
{
    PyObject *values[2] = {NULL, NULL}; /* key, n */
    Py_ssize_t named = names == NULL ? 0 : PyTuple_GET_SIZE(names), skip = 1 - fixed;
    *n = 1.0;
    if (nargs > fixed + 1) {
        PyErr_Format(PyExc_TypeError, "%s() takes %s, not %zd arguments", method,
                     fixed == 0 ? "n=1 at most" : "a key and n=1", nargs);
        return -1;
    }
    for (Py_ssize_t i = 0; i < nargs; i++) {
        values[skip + i] = args[i];
    }
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *name = PyTuple_GET_ITEM(names, i);
        Py_ssize_t place = is_named(name, "n") ? 1 : fixed == 1 && is_named(name, "key") ? 0 : -1;
        if (place < 0) {
            PyErr_Format(PyExc_TypeError, "%s() has no keyword argument %R; it takes %s", method,
                         name, fixed == 0 ? "n" : "key and n");
            return -1;
        }
        if (values[place] != NULL) {
            PyErr_Format(PyExc_TypeError, "%s() was given %R by place and by name", method, name);
            return -1;
        }
        values[place] = args[nargs + i];
    }
    if (fixed == 1) {
        if (values[0] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s() needs a key", method);
            return -1;
        }
        *key = values[0];
    }
    return values[1] == NULL ? 0 : read_tokens(values[1], n);
}

/* The rate and the capacity, with the messages that pfs_rate_init cannot give. */
int pfs_limit_check_rate(double rate, double capacity)
{
    const char *wrong = NULL;
    double value = 0.0;
    if (!(rate >= 0.0)) {
        wrong = "rate is %R; it must be 0 or more tokens a second (infinity for no limit)";
        value = rate;
    } else if (!(capacity > 0.0) || capacity > PFS_RATE_MAX_CAPACITY) {
        wrong = "capacity is %R; it must be above 0 and at most 2**50 tokens";
        value = capacity;
    }
    if (wrong == NULL) {
        return 0;
    }
    PyObject *number = PyFloat_FromDouble(value);
    if (number != NULL) {
        PyErr_Format(PyExc_ValueError, wrong, number);
        Py_DECREF(number);
    }
    return -1;
}

int pfs_limit_check_clock(PyObject **clock)
{
    if (*clock == Py_None) {
        *clock = NULL;
    }
    if (*clock != NULL && !PyCallable_Check(*clock)) {
        PyErr_Format(PyExc_TypeError, "clock is %R; it must be callable and return nanoseconds",
                     *clock);
        return -1;
    }
    return 0;
}
