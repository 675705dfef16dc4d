/* perfsuite.Histogram: making, recording, operators, the type.  Recording many values, answers and
 * the byte forms are in py_histogram_many.c, py_histogram_ask.c and py_histogram_bytes.c. */
#include "py_histogram.h"
#include "py_whole.h"

#include <structmember.h>

#define SELF(object) (&((HistogramObject *)(object))->histogram)

/* ── making ── */

PyObject *pfs_py_histogram_wrap_as(PyTypeObject *type, pfs_histogram *take)
{
    PyObject *self = type->tp_alloc(type, 0);
    if (self == NULL) {
        pfs_histogram_clear(take);
        return NULL;
    }
    *SELF(self) = *take;
    return self;
}

PyObject *pfs_py_histogram_wrap(pfs_state *state, pfs_histogram *take)
{
    return pfs_py_histogram_wrap_as(state->types[PFS_TYPE_HISTOGRAM], take);
}

pfs_histogram *pfs_py_histogram_get(pfs_state *state, PyObject *object, const char *what)
{
    if (!PyObject_TypeCheck(object, state->types[PFS_TYPE_HISTOGRAM])) {
        PyErr_Format(PyExc_TypeError, "%s must be a Histogram, not '%.100s'", what,
                     Py_TYPE(object)->tp_name);
        return NULL;
    }
    return SELF(object);
}

static PyObject *Histogram_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"precision", NULL};
    PyObject *number = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:Histogram", names, &number)) {
        return NULL;
    }
    int64_t precision = 7;
    if (number != NULL && pfs_whole_read(number, "precision", PFS_HISTOGRAM_MIN_PRECISION,
                                         PFS_HISTOGRAM_MAX_PRECISION, &precision) < 0) {
        return NULL;
    }
    pfs_histogram histogram;
    (void)pfs_histogram_init(&histogram, (unsigned)precision, pfs_py_alloc());
    return pfs_py_histogram_wrap_as(type, &histogram);
}

static void Histogram_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    pfs_histogram_clear(SELF(self));
    type->tp_free(self);
    Py_DECREF(type);
}

/* A Histogram (not of a subclass) with the same contents; NULL with an exception. */
static PyObject *copy_of(pfs_state *state, PyObject *self)
{
    pfs_histogram copy;
    pfs_status status;
    PFS_LOCK(self);
    status = pfs_histogram_copy(&copy, SELF(self), pfs_py_alloc());
    PFS_UNLOCK();
    return status == PFS_OK ? pfs_py_histogram_wrap(state, &copy) : pfs_raise(status, "copy");
}

static PyObject *Histogram_copy(PyObject *self, PyTypeObject *defining, PyObject *const *args,
                                Py_ssize_t count, PyObject *keywords)
{
    (void)args;
    if (count != 0 || keywords != NULL) {
        return PyErr_Format(PyExc_TypeError, "copy() takes no arguments");
    }
    return copy_of(PyType_GetModuleState(defining), self);
}

/* ── recording ── */

/* Out of line, so that Histogram_record needs no stack frame. */
__attribute__((noinline)) static PyObject *record_slow(PyObject *self, PyObject *value)
{
    double x;
    if (pfs_py_double(value, &x) < 0) {
        return NULL;
    }
    pfs_status status;
    PFS_LOCK(self);
    status = pfs_histogram_record(SELF(self), x);
    PFS_UNLOCK();
    return status == PFS_OK ? Py_NewRef(Py_None) : pfs_raise(status, "record");
}

static PyObject *Histogram_record(PyObject *self, PyObject *value)
{
    if (__builtin_expect(PyFloat_CheckExact(value), 1)) {
        bool recorded;
        PFS_LOCK(self);
        recorded = pfs_histogram_record_fast(SELF(self), PyFloat_AS_DOUBLE(value));
        PFS_UNLOCK();
        if (__builtin_expect(recorded, 1)) {
            Py_RETURN_NONE;
        }
    }
    return record_slow(self, value);
}

static PyObject *Histogram_record_n(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2) {
        return PyErr_Format(PyExc_TypeError, "record_n() takes a value and a count, got %zd",
                            count);
    }
    double x;
    if (pfs_py_double(args[0], &x) < 0) {
        return NULL;
    }
    int64_t n;
    if (pfs_whole_read(args[1], "record_n: the count", 0, INT64_MAX, &n) < 0) {
        return NULL;
    }
    pfs_status status;
    PFS_LOCK(self);
    status = pfs_histogram_record_n(SELF(self), x, (uint64_t)n);
    PFS_UNLOCK();
    return status == PFS_OK ? Py_NewRef(Py_None) : pfs_raise(status, "record_n: the total count");
}

static int merge(PyObject *self, PyObject *other)
{
    pfs_status status;
    PFS_LOCK2(self, other);
    status = pfs_histogram_merge(SELF(self), SELF(other));
    PFS_UNLOCK2();
    if (status == PFS_EMISMATCH) {
        PyErr_Format(PyExc_ValueError,
                     "cannot merge a histogram of precision %u into one of precision %u: record "
                     "both with the same precision",
                     SELF(other)->precision, SELF(self)->precision);
        return -1;
    }
    if (status != PFS_OK) {
        (void)pfs_raise(status, "merge: the total count");
        return -1;
    }
    return 0;
}

static PyObject *Histogram_merge(PyObject *self, PyObject *other)
{
    pfs_state *state = pfs_state_of_type(Py_TYPE(self));
    if (state == NULL || pfs_py_histogram_get(state, other, "merge: other") == NULL ||
        merge(self, other) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *Histogram_clear(PyObject *self, PyObject *unused)
{
    (void)unused;
    PFS_LOCK(self);
    pfs_histogram_reset(SELF(self));
    PFS_UNLOCK();
    Py_RETURN_NONE;
}

/* ── operators ── */

/* The state, if both are histograms; else NULL, with an exception only if there was a real one. */
static pfs_state *both(PyObject *a, PyObject *b)
{
    pfs_state *state = NULL;
    PyObject *operands[] = {a, b};
    for (int i = 0; i < 2 && state == NULL; i++) {
        PyObject *module = PyType_GetModuleByDef(Py_TYPE(operands[i]), &pfs_module);
        if (module == NULL) {
            if (!PyErr_ExceptionMatches(PyExc_TypeError)) {
                return NULL;
            }
            PyErr_Clear();
        } else {
            state = pfs_state_of_module(module);
        }
    }
    if (state == NULL || !PyObject_TypeCheck(a, state->types[PFS_TYPE_HISTOGRAM]) ||
        !PyObject_TypeCheck(b, state->types[PFS_TYPE_HISTOGRAM])) {
        return NULL;
    }
    return state;
}

static PyObject *not_both(void)
{
    return PyErr_Occurred() != NULL ? NULL : Py_NewRef(Py_NotImplemented);
}

static PyObject *Histogram_add(PyObject *a, PyObject *b)
{
    pfs_state *state = both(a, b);
    if (state == NULL) {
        return not_both();
    }
    PyObject *sum = copy_of(state, a);
    if (sum != NULL && merge(sum, b) < 0) {
        Py_CLEAR(sum);
    }
    return sum;
}

static PyObject *Histogram_inplace_add(PyObject *self, PyObject *other)
{
    if (both(self, other) == NULL) {
        return not_both();
    }
    return merge(self, other) < 0 ? NULL : Py_NewRef(self);
}

static PyObject *Histogram_richcompare(PyObject *a, PyObject *b, int op)
{
    if (op != Py_EQ && op != Py_NE) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    if (both(a, b) == NULL) {
        return not_both();
    }
    bool equal;
    PFS_LOCK2(a, b);
    equal = pfs_histogram_equal(SELF(a), SELF(b));
    PFS_UNLOCK2();
    return PyBool_FromLong(equal == (op == Py_EQ));
}

/* ── the type ── */

PyDoc_STRVAR(record_doc, "record($self, x, /)\n--\n\n"
                         "Record one number: an int or float >= 0.\n\n"
                         "NaN, infinities and negative numbers are counted in `rejected` and touch "
                         "nothing else.");
PyDoc_STRVAR(record_n_doc,
             "record_n($self, x, n, /)\n--\n\n"
             "Record the same number n times. OverflowError beyond 2**63 - 1 values.");
PyDoc_STRVAR(merge_doc, "merge($self, other, /)\n--\n\n"
                        "Add the counts of another histogram of the same precision; exact.");
PyDoc_STRVAR(clear_doc, "clear($self, /)\n--\n\nForget everything recorded and rejected.");
PyDoc_STRVAR(copy_doc, "copy($self, /)\n--\n\nAn independent Histogram with the same contents.");

static PyMethodDef histogram_methods[] = {
    {"record", Histogram_record, METH_O, record_doc},
    {"record_n", PFS_METHOD(Histogram_record_n), METH_FASTCALL, record_n_doc},
    {"record_many", Histogram_record_many, METH_O, Histogram_record_many_doc},
    {"merge", Histogram_merge, METH_O, merge_doc},
    {"clear", Histogram_clear, METH_NOARGS, clear_doc},
    {"copy", PFS_METHOD(Histogram_copy), METH_METHOD | METH_FASTCALL | METH_KEYWORDS, copy_doc},
    {"quantile", Histogram_quantile, METH_O, Histogram_quantile_doc},
    {"quantiles", Histogram_quantiles, METH_O, Histogram_quantiles_doc},
    {"cdf", Histogram_cdf, METH_O, Histogram_cdf_doc},
    {"buckets", Histogram_buckets, METH_NOARGS, Histogram_buckets_doc},
    {"edges", Histogram_edges, METH_NOARGS, Histogram_edges_doc},
    {"to_bytes", Histogram_to_bytes, METH_NOARGS, Histogram_to_bytes_doc},
    {"from_bytes", Histogram_from_bytes, METH_O | METH_CLASS, Histogram_from_bytes_doc},
    {"to_hdr", PFS_METHOD(Histogram_to_hdr), METH_VARARGS | METH_KEYWORDS, Histogram_to_hdr_doc},
    {"from_hdr", PFS_METHOD(Histogram_from_hdr), METH_VARARGS | METH_KEYWORDS | METH_CLASS,
     Histogram_from_hdr_doc},
    {"__sizeof__", Histogram_sizeof, METH_NOARGS, Histogram_sizeof_doc},
    {"__reduce__", Histogram_reduce, METH_NOARGS, Histogram_reduce_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(histogram_doc,
             "Histogram(precision=7)\n--\n\n"
             "A log-linear histogram of numbers >= 0 of any size, with 2**precision buckets to the "
             "octave.\n\n"
             "Quantiles are within 0.39 % at the default precision, 0.05 % at 10 (1 to 12 can be "
             "chosen); count, sum,\nmean, stdev, min and max are of the values themselves. Merging "
             "is exact. == compares precision, counts,\nrejected counts, min and max. "
             "memoryview(histogram) is a zero-copy, read-only view of the counts (uint64,\nfor "
             "numpy.asarray), live until the histogram has to grow. Safe to use from several "
             "threads.");

static PyType_Slot histogram_slots[] = {
    {Py_tp_doc, (void *)histogram_doc},
    {Py_tp_new, PFS_SLOT(Histogram_new)},
    {Py_tp_dealloc, PFS_SLOT(Histogram_dealloc)},
    {Py_tp_methods, histogram_methods},
    {Py_tp_getset, pfs_histogram_properties},
    {Py_tp_repr, PFS_SLOT(Histogram_repr)},
    {Py_tp_richcompare, PFS_SLOT(Histogram_richcompare)},
    {Py_tp_hash, PFS_SLOT(PyObject_HashNotImplemented)},
    {Py_nb_add, PFS_SLOT(Histogram_add)},
    {Py_nb_inplace_add, PFS_SLOT(Histogram_inplace_add)},
    {Py_bf_getbuffer, PFS_SLOT(Histogram_getbuffer)},
    {Py_bf_releasebuffer, PFS_SLOT(Histogram_releasebuffer)},
    {0, NULL},
};

static PyType_Spec histogram_spec = {
    .name = "perfsuite.Histogram",
    .basicsize = sizeof(HistogramObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = histogram_slots,
};

/* What calling anything costs: the yardstick of benchmarks/. */
static PyObject *noop(PyObject *module, PyObject *x)
{
    (void)module;
    (void)x;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"_noop", noop, METH_O,
     "_noop($module, x, /)\n--\n\nDoes nothing: the cost of a call, for benchmarks."},
    {NULL, NULL, 0, NULL},
};

int pfs_exec_histogram(PyObject *module)
{
    if (PyModule_AddFunctions(module, functions) < 0) {
        return -1;
    }
    return pfs_add_type(module, PFS_TYPE_HISTOGRAM, &histogram_spec);
}
