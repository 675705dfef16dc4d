#include "py_whole.h"

/* "3", or "an integer beyond 64 bits": Python refuses to write out the longest. */
static PyObject *shown(PyObject *number)
{
    PyObject *whole = PyNumber_Index(number);
    if (whole == NULL) {
        return NULL;
    }
    int overflow;
    (void)PyLong_AsLongLongAndOverflow(whole, &overflow);
    PyObject *text =
        overflow == 0 ? PyObject_Str(whole) : PyUnicode_FromString("an integer beyond 64 bits");
    Py_DECREF(whole);
    return text;
}

static int refuse(PyObject *number, const char *what, const char *wanted)
{
    PyObject *text = shown(number);
    if (text != NULL) {
        PyErr_Format(PyExc_ValueError, "%s must be %s, got %U", what, wanted, text);
        Py_DECREF(text);
    }
    return -1;
}

int pfs_whole_read(PyObject *number, const char *what, int64_t least, int64_t most, int64_t *out)
{
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (value == -1 && overflow == 0 && PyErr_Occurred()) {
        return -1;
    }
    if (overflow == 0 && value >= least && value <= most) {
        *out = value;
        return 0;
    }
    char wanted[64];
    if (most < INT64_MAX) {
        (void)PyOS_snprintf(wanted, sizeof wanted, "%lld to %lld", (long long)least,
                            (long long)most);
    } else if (least > INT64_MIN) {
        (void)PyOS_snprintf(wanted, sizeof wanted, "%lld or more", (long long)least);
    } else {
        (void)PyOS_snprintf(wanted, sizeof wanted, "a whole number of 64 bits");
    }
    return refuse(number, what, wanted);
}

int pfs_whole_or(PyObject *number, const char *what, int64_t otherwise, int64_t *out)
{
    if (number == NULL || number == Py_None) {
        *out = otherwise;
        return 0;
    }
    return pfs_whole_read(number, what, INT64_MIN, INT64_MAX, out);
}

int pfs_whole_unsigned(PyObject *number, const char *what, uint64_t *out)
{
    PyObject *whole = PyNumber_Index(number);
    if (whole == NULL) {
        return -1;
    }
    unsigned long long value = PyLong_AsUnsignedLongLong(whole);
    Py_DECREF(whole);
    if (value == (unsigned long long)-1 && PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_OverflowError)) {
            return -1;
        }
        PyErr_Clear();
        return refuse(number, what, "0 to 2**64 - 1");
    }
    *out = value;
    return 0;
}
