/* A histogram as bytes: its own form, pickle, HdrHistogram's, and the zero-copy view of counts. */
#include "py_histogram.h"
#include "py_whole.h"

#include <math.h>

#include "pfs_hdr.h"

#define HDR_COMPRESSED_COOKIE 0x1c849304u
#define HDR_OUTER_HEADER      8
/* No layout of five digits needs more (6.3 million slots of nine bytes). */
#define HDR_MAX_PAYLOAD (64 * 1024 * 1024)

static PyObject *encode(PyObject *self)
{
    pfs_histogram *h = &((HistogramObject *)self)->histogram;
    unsigned char *bytes = NULL;
    size_t length = 0;
    pfs_status status;
    PFS_LOCK(self);
    status = pfs_histogram_encode(h, &bytes, &length);
    PFS_UNLOCK();
    if (status != PFS_OK) {
        return pfs_raise(status, "the histogram");
    }
    PyObject *result = PyBytes_FromStringAndSize((const char *)bytes, (Py_ssize_t)length);
    pfs_alloc_release(pfs_py_alloc(), bytes);
    return result;
}

const char Histogram_to_bytes_doc[] =
    "to_bytes($self, /)\n--\n\n"
    "The histogram in its own compact, versioned form with a CRC-32C.";

PyObject *Histogram_to_bytes(PyObject *self, PyObject *unused)
{
    (void)unused;
    return encode(self);
}

const char Histogram_from_bytes_doc[] =
    "from_bytes($type, data, /)\n--\n\n"
    "The histogram that to_bytes wrote. ValueError for damaged or foreign bytes.\n\n"
    "A subclass's __init__ is not called.";

PyObject *Histogram_from_bytes(PyObject *type, PyObject *data)
{
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    pfs_histogram histogram;
    pfs_status status =
        pfs_histogram_decode(&histogram, view.buf, (size_t)view.len, pfs_py_alloc());
    PyBuffer_Release(&view);
    if (status != PFS_OK) {
        return pfs_raise(status, "from_bytes: the encoded histogram");
    }
    return pfs_py_histogram_wrap_as((PyTypeObject *)type, &histogram);
}

/* With an interned name: the type cache of 3.11 keeps every other string it is asked for. */
static PyObject *attribute(PyObject *object, const char *name)
{
    PyObject *key = PyUnicode_InternFromString(name);
    PyObject *found = key == NULL ? NULL : PyObject_GetAttr(object, key);
    Py_XDECREF(key);
    return found;
}

/* Calls object.name(*args, **kwargs); NULL with an exception, as when object or args is NULL. */
static PyObject *call(PyObject *object, const char *name, PyObject *args, PyObject *kwargs)
{
    PyObject *found = object == NULL || args == NULL ? NULL : attribute(object, name);
    PyObject *result = found == NULL ? NULL : PyObject_Call(found, args, kwargs);
    Py_XDECREF(found);
    return result;
}

/* As call, of a function in a module. */
static PyObject *call_in(const char *module, const char *name, PyObject *args, PyObject *kwargs)
{
    PyObject *imported = args == NULL ? NULL : PyImport_ImportModule(module);
    PyObject *result = call(imported, name, args, kwargs);
    Py_XDECREF(imported);
    return result;
}

const char Histogram_reduce_doc[] = "__reduce__($self, /)\n--\n\nFor pickle and copy.";

PyObject *Histogram_reduce(PyObject *self, PyObject *unused)
{
    (void)unused;
    PyObject *bytes = encode(self);
    if (bytes == NULL) {
        return NULL;
    }
    /* A subclass's attributes, None when there are none. */
    PyObject *none = PyTuple_New(0);
    PyObject *state = call(self, "__getstate__", none, NULL);
    Py_XDECREF(none);
    PyObject *make = state == NULL ? NULL : attribute((PyObject *)Py_TYPE(self), "from_bytes");
    PyObject *result = NULL;
    if (state != NULL && make != NULL) {
        result = state == Py_None ? Py_BuildValue("(O(O))", make, bytes)
                                  : Py_BuildValue("(O(O)O)", make, bytes, state);
    }
    Py_DECREF(bytes);
    Py_XDECREF(state);
    Py_XDECREF(make);
    return result;
}

/* 0, or -1 with ValueError. */
static int check_scale(const char *method, double scale)
{
    if (scale > 0.0 && isfinite(scale)) {
        return 0;
    }
    PyErr_Format(PyExc_ValueError, "%s: scale must be a finite number above 0", method);
    return -1;
}

static void put_big32(unsigned char *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        to[i] = (unsigned char)(value >> (24 - 8 * i));
    }
}

/* The outer form: cookie, length of the deflated payload, payload; then base64. */
static PyObject *wrap_hdr(const unsigned char *payload, size_t length)
{
    PyObject *args = Py_BuildValue("(y#)", (const char *)payload, (Py_ssize_t)length);
    PyObject *deflated = call_in("zlib", "compress", args, NULL);
    Py_XDECREF(args);
    if (deflated == NULL) {
        return NULL;
    }
    Py_ssize_t size = PyBytes_GET_SIZE(deflated);
    PyObject *outer = PyBytes_FromStringAndSize(NULL, HDR_OUTER_HEADER + size);
    if (outer != NULL) {
        unsigned char *to = (unsigned char *)PyBytes_AS_STRING(outer);
        put_big32(to, HDR_COMPRESSED_COOKIE | 0x10);
        put_big32(to + 4, (uint32_t)size);
        memcpy(to + HDR_OUTER_HEADER, PyBytes_AS_STRING(deflated), (size_t)size);
    }
    Py_DECREF(deflated);
    args = outer == NULL ? NULL : Py_BuildValue("(N)", outer);
    PyObject *kwargs = args == NULL ? NULL : Py_BuildValue("{s:O}", "newline", Py_False);
    PyObject *text = kwargs == NULL ? NULL : call_in("binascii", "b2a_base64", args, kwargs);
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    PyObject *result = text == NULL ? NULL
                                    : PyUnicode_DecodeASCII(PyBytes_AS_STRING(text),
                                                            PyBytes_GET_SIZE(text), "strict");
    Py_XDECREF(text);
    return result;
}

const char Histogram_to_hdr_doc[] =
    "to_hdr($self, /, scale=1000)\n--\n\n"
    "HdrHistogram's compressed V2 form in base64, of the integers round(value * scale).\n\n"
    "Three significant digits (four from a precision of 11); rejected counts are left out. "
    "OverflowError when\na scaled value is 2**63 or more.";

PyObject *Histogram_to_hdr(PyObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"scale", NULL};
    double scale = 1000.0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|d:to_hdr", names, &scale) ||
        check_scale("to_hdr", scale) < 0) {
        return NULL;
    }
    unsigned char *payload = NULL;
    size_t length = 0;
    pfs_status status;
    PFS_LOCK(self);
    status = pfs_hdr_encode(&((HistogramObject *)self)->histogram, scale, &payload, &length);
    PFS_UNLOCK();
    if (status != PFS_OK) {
        return pfs_raise(status, "to_hdr: the largest value times scale");
    }
    PyObject *result = wrap_hdr(payload, length);
    pfs_alloc_release(pfs_py_alloc(), payload);
    return result;
}

static PyObject *not_hdr(void)
{
    /* What the standard library said is kept as the context of a better message. */
    if (PyErr_Occurred() == NULL || PyErr_ExceptionMatches(PyExc_Exception)) {
        if (!PyErr_ExceptionMatches(PyExc_MemoryError)) {
            PyErr_SetString(PyExc_ValueError, "from_hdr: the text is not a compressed HdrHistogram "
                                              "(V2) in base64, or is cut short");
        }
    }
    return NULL;
}

/* The payload, as bytes, or NULL with an exception. */
static PyObject *unwrap_hdr(PyObject *text)
{
    PyObject *none = PyTuple_New(0);
    PyObject *stripped = call(text, "strip", none, NULL);
    PyObject *args = stripped == NULL ? NULL : Py_BuildValue("(N)", stripped);
    PyObject *kwargs = args == NULL ? NULL : Py_BuildValue("{s:O}", "strict_mode", Py_True);
    PyObject *outer = kwargs == NULL ? NULL : call_in("binascii", "a2b_base64", args, kwargs);
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    if (outer == NULL) {
        Py_XDECREF(none);
        return not_hdr();
    }
    const unsigned char *bytes = (const unsigned char *)PyBytes_AS_STRING(outer);
    Py_ssize_t size = PyBytes_GET_SIZE(outer) - HDR_OUTER_HEADER;
    unsigned char cookie[4];
    uint32_t stated = 0;
    put_big32(cookie, HDR_COMPRESSED_COOKIE);
    for (int i = 4; size >= 0 && i < 8; i++) {
        stated = stated << 8 | bytes[i];
    }
    if (size < 0 || memcmp(bytes, cookie, 3) != 0 || (bytes[3] & 0x0f) != (cookie[3] & 0x0f) ||
        stated != (uint64_t)size) {
        Py_XDECREF(none);
        Py_DECREF(outer);
        return not_hdr();
    }
    PyObject *inflater = call_in("zlib", "decompressobj", none, NULL);
    Py_XDECREF(none);
    PyObject *payload = NULL, *whole = NULL;
    if (inflater != NULL) {
        args = Py_BuildValue("(y#i)", bytes + HDR_OUTER_HEADER, size, HDR_MAX_PAYLOAD);
        payload = call(inflater, "decompress", args, NULL);
        Py_XDECREF(args);
        whole = payload == NULL ? NULL : attribute(inflater, "eof");
    }
    Py_XDECREF(inflater);
    Py_DECREF(outer);
    if (whole != Py_True) { /* eof is a bool */
        Py_CLEAR(payload);
    }
    Py_XDECREF(whole);
    return payload == NULL ? not_hdr() : payload;
}

const char Histogram_from_hdr_doc[] =
    "from_hdr($type, text, scale=1000, precision=7)\n--\n\n"
    "A histogram from HdrHistogram's compressed V2 form in base64 (str or bytes).\n\n"
    "Each slot's count is recorded at the slot's middle, divided by scale.";

PyObject *Histogram_from_hdr(PyObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"text", "scale", "precision", NULL};
    PyObject *text;
    double scale = 1000.0;
    PyObject *number = NULL;
    int64_t precision = 7;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|dO:from_hdr", names, &text, &scale,
                                     &number) ||
        (number != NULL &&
         pfs_whole_read(number, "from_hdr: precision", PFS_HISTOGRAM_MIN_PRECISION,
                        PFS_HISTOGRAM_MAX_PRECISION, &precision) < 0) ||
        check_scale("from_hdr", scale) < 0) {
        return NULL;
    }
    if (!PyUnicode_Check(text) && !PyBytes_Check(text)) {
        return PyErr_Format(PyExc_TypeError, "from_hdr: text must be str or bytes, not '%.100s'",
                            Py_TYPE(text)->tp_name);
    }
    PyObject *payload = unwrap_hdr(text);
    if (payload == NULL) {
        return NULL;
    }
    pfs_histogram histogram;
    pfs_status status = pfs_hdr_decode(&histogram, (unsigned)precision, scale,
                                       (const unsigned char *)PyBytes_AS_STRING(payload),
                                       (size_t)PyBytes_GET_SIZE(payload), pfs_py_alloc());
    Py_DECREF(payload);
    if (status != PFS_OK) {
        return pfs_raise(status, "from_hdr: the encoded histogram");
    }
    return pfs_py_histogram_wrap_as((PyTypeObject *)type, &histogram);
}

static Py_ssize_t no_items[1] = {0};

/* The window of counts, unsigned 64-bit, read-only and live; a histogram that grows moves on to a
 * larger table and leaves a viewed one behind as it was. */
int Histogram_getbuffer(PyObject *self, Py_buffer *view, int flags)
{
    if ((flags & PyBUF_WRITABLE) == PyBUF_WRITABLE) {
        view->obj = NULL;
        PyErr_SetString(PyExc_BufferError, "the counts of a Histogram are read-only");
        return -1;
    }
    pfs_histogram_table *table;
    PFS_LOCK(self);
    table = pfs_histogram_hold(&((HistogramObject *)self)->histogram);
    PFS_UNLOCK();
    view->obj = Py_NewRef(self);
    view->itemsize = sizeof(uint64_t);
    view->readonly = 1;
    view->ndim = 1;
    view->format = flags & PyBUF_FORMAT ? "Q" : NULL;
    if (table == NULL) {
        view->buf = no_items; /* of which there are none */
        view->len = 0;
        view->shape = no_items;
    } else {
        view->buf = table->counts;
        view->len = (Py_ssize_t)(table->length * sizeof(uint64_t));
        view->shape = (Py_ssize_t *)&table->length;
    }
    if (!(flags & PyBUF_ND)) {
        view->shape = NULL;
    }
    view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? &view->itemsize : NULL;
    view->suboffsets = NULL;
    view->internal = table;
    return 0;
}

void Histogram_releasebuffer(PyObject *self, Py_buffer *view)
{
    PFS_LOCK(self);
    pfs_histogram_let_go(&((HistogramObject *)self)->histogram, view->internal);
    PFS_UNLOCK();
}
