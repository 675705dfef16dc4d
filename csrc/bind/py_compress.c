/* The measuring loop around a Python codec.
 *
 * Between the two clock readings there is one vectorcall and nothing else: results are kept in
 * slots and released, compared and counted outside.  The codec may run any Python: what it is given
 * is ours (bytes that nobody can change), and what it returns is held while it is looked at.
 */
#include "pfs_py.h"
#include "py_whole.h"

#include "pfs_clock.h"
#include "pfs_compress.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

typedef struct {
    PyObject *call[2];     /* compress, decompress */
    PyObject *payloads;    /* a tuple of bytes */
    PyObject **compressed; /* of each payload, in this round */
    PyObject *result;      /* of the step just run; NULL with an exception when it failed */
    Py_ssize_t *sizes;     /* compressed bytes of each payload, of the first round; -1 */
    Py_ssize_t *overheads; /* the same with the object around them */
    PyObject *errors;      /* index -> what went wrong */
    PyObject *mismatches;  /* a set of indices */
    int rounds_to_signal;  /* until the next look for Ctrl-C */
} session;

static bool run(void *context, size_t payload, pfs_compress_step step)
{
    session *s = context;
    PyObject *argument = step == PFS_COMPRESS ? PyTuple_GET_ITEM(s->payloads, (Py_ssize_t)payload)
                                              : s->compressed[payload];
    s->result = PyObject_CallOneArg(s->call[step], argument);
    return s->result != NULL;
}

/* Notes that a payload failed; takes the exception that is set.  False when even that fails, or the
 * exception is not the codec's own (Ctrl-C, exit): then it stays set. */
static bool note_failure(session *s, size_t payload, const char *what)
{
    if (!PyErr_ExceptionMatches(PyExc_Exception)) {
        return false;
    }
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    PyObject *text = PyUnicode_FromFormat("%s raised %s: %S", what, ((PyTypeObject *)type)->tp_name,
                                          value == NULL ? Py_None : value);
    if (text == NULL) { /* an exception whose __str__ raises */
        PyErr_Clear();
        text = PyUnicode_FromFormat("%s raised %s", what, ((PyTypeObject *)type)->tp_name);
    }
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    PyObject *index = PyLong_FromSize_t(payload);
    bool noted = text != NULL && index != NULL && PyDict_SetItem(s->errors, index, text) == 0;
    Py_XDECREF(index);
    Py_XDECREF(text);
    return noted;
}

/* The size of an object as sys.getsizeof gives it, without the collector's header. */
static Py_ssize_t size_with_overhead(PyObject *object)
{
    PyObject *size = PyObject_CallMethod(object, "__sizeof__", NULL);
    Py_ssize_t bytes = size == NULL ? -1 : PyLong_AsSsize_t(size);
    Py_XDECREF(size);
    return bytes;
}

/* 1: bytes-like, and *bytes its length (and *equal whether it is `expected`, if given); 0: noted as
 * a failure; -1: stop. */
static int examine(session *s, size_t payload, const char *what, PyObject *expected,
                   Py_ssize_t *bytes, bool *equal)
{
    Py_buffer view;
    if (PyObject_GetBuffer(s->result, &view, PyBUF_SIMPLE) < 0) {
        PyErr_Format(PyExc_TypeError, "it returned a %s, not bytes", Py_TYPE(s->result)->tp_name);
        return note_failure(s, payload, what) ? 0 : -1;
    }
    *bytes = view.len;
    if (expected != NULL) {
        *equal = view.len == PyBytes_GET_SIZE(expected) &&
                 memcmp(view.buf, PyBytes_AS_STRING(expected), (size_t)view.len) == 0;
    }
    PyBuffer_Release(&view);
    return 1;
}

static bool settle(void *context, size_t payload, pfs_compress_step step, bool ran, bool *stop)
{
    session *s = context;
    const char *what = step == PFS_COMPRESS ? "compress" : "decompress";
    int go_on;
    if (!ran) {
        go_on = note_failure(s, payload, what) ? 0 : -1;
    } else if (step == PFS_COMPRESS) {
        Py_ssize_t bytes = 0;
        go_on = examine(s, payload, what, NULL, &bytes, NULL);
        if (go_on > 0 && s->sizes[payload] < 0) {
            s->sizes[payload] = bytes;
            s->overheads[payload] = size_with_overhead(s->result);
            if (s->overheads[payload] < 0) {
                go_on = note_failure(s, payload, "__sizeof__ of what compress returned") ? 0 : -1;
            }
        }
        if (go_on > 0) {
            PyObject *old = s->compressed[payload];
            s->compressed[payload] = s->result;
            s->result = NULL;
            Py_XDECREF(old);
        }
    } else {
        Py_ssize_t bytes;
        bool equal = false;
        PyObject *original = PyTuple_GET_ITEM(s->payloads, (Py_ssize_t)payload);
        go_on = examine(s, payload, what, original, &bytes, &equal);
        if (go_on > 0 && !equal) {
            PyObject *index = PyLong_FromSize_t(payload);
            if (index == NULL || PySet_Add(s->mismatches, index) < 0) {
                go_on = -1;
            }
            Py_XDECREF(index);
        }
    }
    Py_CLEAR(s->result);
    if (step == PFS_DECOMPRESS) {
        Py_CLEAR(s->compressed[payload]);
    }
    if (go_on >= 0 && --s->rounds_to_signal <= 0) {
        s->rounds_to_signal = 64;
        go_on = PyErr_CheckSignals() < 0 ? -1 : go_on;
    }
    *stop = go_on < 0;
    return go_on > 0;
}

/* {"sizes": [...], "overheads": [...], "compress_ns": bytes of doubles, ...}. */
static PyObject *report(const session *s, Py_ssize_t n, PyObject *times[2])
{
    PyObject *sizes = PyList_New(n), *overheads = PyList_New(n), *result = NULL;
    bool whole = sizes != NULL && overheads != NULL;
    for (Py_ssize_t i = 0; whole && i < n; i++) {
        PyObject *size = PyLong_FromSsize_t(s->sizes[i]);
        PyObject *overhead = PyLong_FromSsize_t(s->overheads[i]);
        whole = size != NULL && overhead != NULL;
        PyList_SET_ITEM(sizes, i, size);
        PyList_SET_ITEM(overheads, i, overhead);
    }
    if (whole) {
        result = PyTuple_Pack(6, sizes, overheads, times[0], times[1], s->mismatches, s->errors);
    }
    Py_XDECREF(overheads);
    Py_XDECREF(sizes);
    return result;
}

static PyObject *measure(session *s, Py_ssize_t n, Py_ssize_t repeat, Py_ssize_t warmup,
                         uint64_t seed)
{
    if (repeat > PY_SSIZE_T_MAX / (Py_ssize_t)sizeof(double) / n) {
        return PyErr_NoMemory();
    }
    Py_ssize_t bytes = n * repeat * (Py_ssize_t)sizeof(double);
    PyObject *times[2] = {PyBytes_FromStringAndSize(NULL, bytes),
                          PyBytes_FromStringAndSize(NULL, bytes)};
    double *ns[2] = {pfs_alloc_array(pfs_py_alloc(), (size_t)(n * repeat), sizeof(double)),
                     pfs_alloc_array(pfs_py_alloc(), (size_t)(n * repeat), sizeof(double))};
    s->compressed = pfs_alloc_zeroed(pfs_py_alloc(), (size_t)n, sizeof(PyObject *));
    s->sizes = pfs_alloc_array(pfs_py_alloc(), (size_t)n, 2 * sizeof *s->sizes);
    s->errors = PyDict_New();
    s->mismatches = PySet_New(NULL);
    PyObject *result = NULL;
    if (times[0] == NULL || times[1] == NULL || s->errors == NULL || s->mismatches == NULL) {
        goto done;
    }
    if (ns[0] == NULL || ns[1] == NULL || s->compressed == NULL || s->sizes == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    s->overheads = s->sizes + n;
    for (Py_ssize_t i = 0; i < n; i++) {
        s->sizes[i] = s->overheads[i] = -1;
    }
    pfs_compress_codec codec = {run, settle, s};
    pfs_status status = pfs_compress_measure(&codec, (size_t)n, (size_t)repeat, (size_t)warmup,
                                             seed, pfs_py_alloc(), ns[0], ns[1]);
    if (status != PFS_OK) {
        (void)pfs_raise(status, "repeat");
        goto done;
    }
    for (int i = 0; i < 2; i++) {
        memcpy(PyBytes_AS_STRING(times[i]), ns[i], (size_t)bytes);
    }
    result = report(s, n, times);
done:
    for (Py_ssize_t i = 0; s->compressed != NULL && i < n; i++) {
        Py_XDECREF(s->compressed[i]);
    }
    PyMem_RawFree(s->sizes);
    PyMem_RawFree(s->compressed);
    Py_XDECREF(s->mismatches);
    Py_XDECREF(s->errors);
    for (int i = 0; i < 2; i++) {
        PyMem_RawFree(ns[i]);
        Py_XDECREF(times[i]);
    }
    return result;
}

PyDoc_STRVAR(measure_codec_doc,
             "measure_codec(compress, decompress, payloads, repeat, warmup, seed, /)\n--\n\n"
             "(compressed sizes, with object overhead, compress ns, decompress ns, mismatches, "
             "errors).\n\nTimes are bytes of float64, repeat for each payload, -1 where a round "
             "did not take place.");

static PyObject *compress_measure_codec(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    if (nargs != 6) {
        return PyErr_Format(PyExc_TypeError, "measure_codec takes 6 arguments, %zd were given",
                            nargs);
    }
    session s = {.call = {args[0], args[1]}, .payloads = args[2], .rounds_to_signal = 64};
    if (!PyTuple_CheckExact(s.payloads) || PyTuple_GET_SIZE(s.payloads) == 0) {
        PyErr_SetString(PyExc_TypeError, "payloads must be a tuple of bytes, and not empty");
        return NULL;
    }
    Py_ssize_t n = PyTuple_GET_SIZE(s.payloads);
    for (Py_ssize_t i = 0; i < n; i++) {
        if (!PyBytes_CheckExact(PyTuple_GET_ITEM(s.payloads, i))) {
            return PyErr_Format(PyExc_TypeError, "payloads[%zd] is a %s, not bytes", i,
                                Py_TYPE(PyTuple_GET_ITEM(s.payloads, i))->tp_name);
        }
    }
    int64_t repeat, warmup;
    uint64_t seed;
    if (pfs_whole_read(args[3], "repeat", 1, PY_SSIZE_T_MAX, &repeat) < 0 ||
        pfs_whole_read(args[4], "warmup", 0, PY_SSIZE_T_MAX, &warmup) < 0 ||
        pfs_whole_unsigned(args[5], "seed", &seed) < 0) {
        return NULL;
    }
    return measure(&s, n, (Py_ssize_t)repeat, (Py_ssize_t)warmup, seed);
}

PyDoc_STRVAR(byte_entropy_doc, "byte_entropy(payloads, /)\n--\n\n"
                               "Order-0 entropy, in bits per byte, of a tuple of bytes.");

static PyObject *compress_byte_entropy(PyObject *module, PyObject *payloads)
{
    (void)module;
    if (!PyTuple_CheckExact(payloads)) {
        PyErr_SetString(PyExc_TypeError, "payloads must be a tuple of bytes");
        return NULL;
    }
    uint64_t counts[256] = {0};
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(payloads); i++) {
        PyObject *payload = PyTuple_GET_ITEM(payloads, i);
        char *data;
        Py_ssize_t length;
        if (PyBytes_AsStringAndSize(payload, &data, &length) < 0) {
            return NULL;
        }
        Py_BEGIN_ALLOW_THREADS pfs_compress_count((const unsigned char *)data, (size_t)length,
                                                  counts);
        Py_END_ALLOW_THREADS
    }
    return PyFloat_FromDouble(pfs_compress_entropy(counts));
}

PyDoc_STRVAR(calls_in_a_row_doc,
             "_calls_in_a_row(function, argument, times, /)\n--\n\n"
             "Nanoseconds of that many calls, made as measure_codec makes them but without a clock "
             "between: what its figures are held against.  Results are let go of afterwards.");

static PyObject *compress_calls_in_a_row(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    int64_t times;
    if (nargs != 3) {
        return PyErr_Format(PyExc_TypeError, "_calls_in_a_row takes 3 arguments, %zd were given",
                            nargs);
    }
    if (pfs_whole_read(args[2], "times", 1, 1000000, &times) < 0) {
        return NULL;
    }
    PyObject **results = pfs_alloc_array(pfs_py_alloc(), (size_t)times, sizeof(PyObject *));
    if (results == NULL) {
        return PyErr_NoMemory();
    }
    int64_t made = 0, began = pfs_clock_ns();
    while (made < times && (results[made] = PyObject_CallOneArg(args[0], args[1])) != NULL) {
        made++;
    }
    int64_t taken = pfs_clock_ns() - began;
    PyObject *answer = made < times ? NULL : PyLong_FromLongLong(taken);
    while (made > 0) {
        Py_DECREF(results[--made]);
    }
    PyMem_RawFree(results);
    return answer;
}

static PyMethodDef compress_methods[] = {
    {"_calls_in_a_row", PFS_METHOD(compress_calls_in_a_row), METH_FASTCALL, calls_in_a_row_doc},
    {"measure_codec", PFS_METHOD(compress_measure_codec), METH_FASTCALL, measure_codec_doc},
    {"byte_entropy", PFS_METHOD(compress_byte_entropy), METH_O, byte_entropy_doc},
    {NULL, NULL, 0, NULL},
};

int pfs_exec_compress(PyObject *module)
{
    return PyModule_AddFunctions(module, compress_methods);
}
