#include "py_numbers.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define CONVERT(type)                                                                              \
    do {                                                                                           \
        for (Py_ssize_t i = 0; i < n; i++) {                                                       \
            type value;                                                                            \
            memcpy(&value, from + i * stride, sizeof value);                                       \
            to[i] = (double)value;                                                                 \
        }                                                                                          \
    } while (0)

/* Copies a buffer of a native number type; 0 when its format is another one. */
static int convert(char kind, Py_ssize_t size, const char *from, Py_ssize_t stride, Py_ssize_t n,
                   double *to)
{
    if (kind == 'd' && size == sizeof(double)) {
        if (stride == (Py_ssize_t)sizeof(double)) {
            memcpy(to, from, (size_t)n * sizeof *to);
        } else {
            CONVERT(double);
        }
        return 1;
    }
    if (kind == 'f' && size == sizeof(float)) {
        CONVERT(float);
        return 1;
    }
    int is_signed = strchr("bhilqn", kind) != NULL;
    if (!is_signed && strchr("BHILQN?", kind) == NULL) {
        return 0;
    }
    switch (is_signed ? -size : size) {
    case -1:
        CONVERT(int8_t);
        return 1;
    case -2:
        CONVERT(int16_t);
        return 1;
    case -4:
        CONVERT(int32_t);
        return 1;
    case -8:
        CONVERT(int64_t);
        return 1;
    case 1:
        CONVERT(uint8_t);
        return 1;
    case 2:
        CONVERT(uint16_t);
        return 1;
    case 4:
        CONVERT(uint32_t);
        return 1;
    case 8:
        CONVERT(uint64_t);
        return 1;
    default:
        return 0;
    }
}

/* 1: copied, 0: not a buffer that this reads, -1: error. */
static int read_buffer(PyObject *source, const char *what, double **data, size_t *n)
{
    Py_buffer view;
    if (!PyObject_CheckBuffer(source)) {
        return 0;
    }
    if (PyObject_GetBuffer(source, &view, PyBUF_FORMAT | PyBUF_STRIDES) < 0) {
        if (!PyErr_ExceptionMatches(PyExc_BufferError) &&
            !PyErr_ExceptionMatches(PyExc_ValueError)) {
            return -1;
        }
        PyErr_Clear(); /* an array of a type without a format (numpy's dates): try it as a sequence
                        */
        return 0;
    }
    int done = 0;
    const char *format = view.format == NULL ? "B" : view.format;
    if (format[0] == '@' || format[0] == '=' || (PY_LITTLE_ENDIAN && format[0] == '<') ||
        (PY_BIG_ENDIAN && format[0] == '>')) {
        format++;
    }
    if (view.ndim != 1) {
        PyErr_Format(PyExc_ValueError, "%s has %d dimensions: give one row of numbers", what,
                     view.ndim);
        done = -1;
    } else if (format[0] != '\0' && format[1] == '\0') {
        Py_ssize_t count = view.shape[0];
        double *copy = PyMem_RawMalloc((size_t)(count > 0 ? count : 1) * sizeof *copy);
        if (copy == NULL) {
            PyErr_NoMemory();
            done = -1;
        } else {
            done = convert(format[0], view.itemsize, view.buf, view.strides[0], count, copy);
            if (done) {
                *data = copy;
                *n = (size_t)count;
            } else {
                PyMem_RawFree(copy);
            }
        }
    }
    PyBuffer_Release(&view);
    return done;
}

static int read_sequence(PyObject *source, const char *what, double **data, size_t *n)
{
    if (PyUnicode_Check(source)) {
        PyErr_Format(PyExc_TypeError, "%s is text: give a sequence of numbers", what);
        return -1;
    }
    PyObject *items = PySequence_Tuple(source);
    if (items == NULL) {
        if (PyErr_ExceptionMatches(PyExc_TypeError) && Py_TYPE(source)->tp_iter == NULL) {
            PyErr_Format(PyExc_TypeError, "%s is a %s: give a sequence of numbers", what,
                         Py_TYPE(source)->tp_name);
        }
        return -1;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(items);
    double *copy = PyMem_RawMalloc((size_t)(count > 0 ? count : 1) * sizeof *copy);
    if (copy == NULL) {
        Py_DECREF(items);
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *item = PyTuple_GET_ITEM(items, i);
        if (PyFloat_CheckExact(item)) {
            copy[i] = PyFloat_AS_DOUBLE(item);
            continue;
        }
        copy[i] = PyFloat_AsDouble(item); /* the tuple is ours: nothing can take `item` away */
        if (copy[i] == -1.0 && PyErr_Occurred()) {
            if (PyErr_ExceptionMatches(PyExc_TypeError)) {
                PyErr_Format(PyExc_TypeError, "%s[%zd] is a %s, not a number", what, i,
                             Py_TYPE(item)->tp_name);
            }
            PyMem_RawFree(copy);
            Py_DECREF(items);
            return -1;
        }
    }
    Py_DECREF(items);
    *data = copy;
    *n = (size_t)count;
    return 0;
}

/* numpy.ma.MaskedArray, a new reference; NULL without an exception while numpy.ma is not loaded:
 * then nobody has an array of it. */
static PyObject *masked_type(void)
{
    PyObject *name = PyUnicode_FromString("numpy.ma");
    PyObject *module = name == NULL ? NULL : PyImport_GetModule(name);
    Py_XDECREF(name);
    PyObject *type = module == NULL ? NULL : PyObject_GetAttrString(module, "MaskedArray");
    Py_XDECREF(module);
    if (type == NULL && PyErr_Occurred() != NULL && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear(); /* half-way through its import */
    }
    return type;
}

PyObject *pfs_numbers_unmasked(PyObject *source)
{
    PyObject *type = PyObject_CheckBuffer(source) ? masked_type() : NULL;
    if (type == NULL) {
        return PyErr_Occurred() != NULL ? NULL : Py_NewRef(source);
    }
    int masked = PyObject_IsInstance(source, type);
    Py_DECREF(type);
    if (masked < 0) {
        return NULL;
    }
    return masked ? PyObject_CallMethod(source, "compressed", NULL) : Py_NewRef(source);
}

/* 0 unless a value is masked: then -1 with ValueError. */
static int refuse_masked(PyObject *source, const char *what)
{
    PyObject *rest = pfs_numbers_unmasked(source);
    if (rest == NULL || rest == source) {
        Py_XDECREF(rest);
        return rest == NULL ? -1 : 0;
    }
    PyObject *size = PyObject_GetAttrString(source, "size");
    Py_ssize_t all = size == NULL ? -1 : PyLong_AsSsize_t(size), kept = PyObject_Size(rest);
    Py_XDECREF(size);
    Py_DECREF(rest);
    if (all < 0 || kept < 0) {
        return -1;
    }
    if (kept < all) {
        PyErr_Format(PyExc_ValueError,
                     "%s has %zd masked values: leave them out with its method compressed()", what,
                     all - kept);
        return -1;
    }
    return 0;
}

int pfs_numbers_read(PyObject *source, const char *what, double **data, size_t *n)
{
    if (refuse_masked(source, what) < 0) {
        return -1;
    }
    int done = read_buffer(source, what, data, n);
    if (done == 0) {
        done = read_sequence(source, what, data, n);
    }
    if (done < 0) {
        return -1;
    }
    for (size_t i = 0; i < *n; i++) {
        if (!isfinite((*data)[i])) {
            PyErr_Format(PyExc_ValueError,
                         "%s[%zu] is %s: leave out what was not measured, or give it a value", what,
                         i, isnan((*data)[i]) ? "nan" : "infinite");
            PyMem_RawFree(*data);
            return -1;
        }
    }
    return 0;
}
