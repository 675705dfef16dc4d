#include "py_vectors_in.h"

void pfs_incoming_close(pfs_incoming *in)
{
    pfs_alloc_release(pfs_py_alloc(), in->owned);
    if (in->held) {
        PyBuffer_Release(&in->buffer);
    }
}

static float *incoming_room(pfs_incoming *in, Py_ssize_t count)
{
    in->owned = pfs_alloc_array(pfs_py_alloc(), (size_t)count + 1, sizeof(float));
    if (in->owned == NULL) {
        PyErr_NoMemory();
    }
    in->floats = in->owned;
    in->count = count;
    return in->owned;
}

static int from_sequence(PyObject *object, pfs_incoming *in)
{
    PyObject *fast =
        PySequence_Fast(object, "the vector must be a sequence or a buffer of numbers");
    if (fast == NULL) {
        return -1;
    }
    Py_ssize_t count = PySequence_Fast_GET_SIZE(fast);
    float *floats = incoming_room(in, count);
    int result = floats == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; result == 0 && i < count; i++) {
        if (i >= PySequence_Fast_GET_SIZE(fast)) {
            PyErr_SetString(PyExc_RuntimeError, "the vector became shorter while it was read");
            result = -1;
            break;
        }
        /* Its __float__ may run anything, which may take the item out of the list. */
        PyObject *item = Py_NewRef(PySequence_Fast_GET_ITEM(fast, i));
        double number = PyFloat_AsDouble(item);
        Py_DECREF(item);
        if (number == -1.0 && PyErr_Occurred()) {
            result = -1;
        } else {
            floats[i] = (float)number;
        }
    }
    Py_DECREF(fast);
    return result;
}

static int from_buffer(PyObject *object, pfs_incoming *in)
{
    const Py_buffer *buffer = &in->buffer;
    if (buffer->ndim != 1) {
        PyErr_Format(PyExc_ValueError, "the vector must have one dimension, not %d", buffer->ndim);
        return -1;
    }
    const char *format = buffer->format == NULL ? "B" : buffer->format;
    format += *format == '@' || *format == '=';
    Py_ssize_t count = buffer->shape[0], stride = buffer->strides[0];
    const char *from = buffer->buf;
    if (strcmp(format, "f") == 0 && stride == (Py_ssize_t)sizeof(float) &&
        (uintptr_t)from % _Alignof(float) == 0) {
        in->floats = buffer->buf;
        in->count = count;
        return 0;
    }
    if (*format == 'Z') {
        PyErr_SetString(PyExc_TypeError, "the vector must be of real numbers, not complex ones");
        return -1;
    }
    if (strcmp(format, "f") != 0 && strcmp(format, "d") != 0) {
        return from_sequence(object, in);
    }
    float *floats = incoming_room(in, count);
    if (floats == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++, from += stride) {
        double number;
        if (*format == 'd') {
            memcpy(&number, from, sizeof number);
            floats[i] = (float)number;
        } else {
            memcpy(&floats[i], from, sizeof *floats);
        }
    }
    return 0;
}

int pfs_incoming_open(PyObject *object, pfs_incoming *in)
{
    *in = (pfs_incoming){.held = false};
    if (PyUnicode_Check(object) || PyBytes_Check(object) || PyByteArray_Check(object)) {
        PyErr_Format(PyExc_TypeError,
                     "the vector must be a sequence or a buffer of numbers, not %.200s; for raw "
                     "float32 bytes give memoryview(data).cast('f')",
                     Py_TYPE(object)->tp_name);
        return -1;
    }
    if (PyObject_CheckBuffer(object)) {
        if (PyObject_GetBuffer(object, &in->buffer, PyBUF_RECORDS_RO) < 0) {
            return -1;
        }
        in->held = true;
        return from_buffer(object, in);
    }
    return from_sequence(object, in);
}
