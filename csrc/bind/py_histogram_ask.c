/* Histogram's answers: quantiles, shares, buckets, moments, what it shows of itself. */
#include "py_histogram.h"

#include <math.h>

#define SELF(object) (&((HistogramObject *)(object))->histogram)

static PyObject *bad_quantile(double q)
{
    PyObject *number = PyFloat_FromDouble(q);
    if (number != NULL) {
        PyErr_Format(PyExc_ValueError, "a quantile is asked for as 0 to 1, got %R", number);
        Py_DECREF(number);
    }
    return NULL;
}

/* 0 with NaN in *out when nothing was recorded, or -1 with an exception. */
static int ask(PyObject *self, double q, double *out)
{
    pfs_status status;
    PFS_LOCK(self);
    status = pfs_histogram_quantile(SELF(self), q, out);
    PFS_UNLOCK();
    if (status == PFS_EINVAL) {
        (void)bad_quantile(q);
        return -1;
    }
    if (status == PFS_EEMPTY) {
        *out = (double)NAN;
    }
    return 0;
}

const char Histogram_quantile_doc[] =
    "quantile($self, q, /)\n--\n\n"
    "The value of rank ceil(q * count), q in 0 to 1; NaN when nothing was recorded.\n\n"
    "It is its bucket's midpoint, clamped to min and max: within 2**-(precision + 1) of "
    "the value, 0.39 % at 7.\nq = 0 and q = 1 are min and max themselves.";

PyObject *Histogram_quantile(PyObject *self, PyObject *q)
{
    double wanted, answer = 0.0;
    if (pfs_py_double(q, &wanted) < 0 || ask(self, wanted, &answer) < 0) {
        return NULL;
    }
    return PyFloat_FromDouble(answer);
}

const char Histogram_quantiles_doc[] =
    "quantiles($self, qs, /)\n--\n\nA list of quantile(q) for each q of an iterable.";

PyObject *Histogram_quantiles(PyObject *self, PyObject *qs)
{
    PyObject *items = PySequence_Tuple(qs);
    if (items == NULL) {
        return NULL;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(items);
    PyObject *answers = PyList_New(count);
    for (Py_ssize_t i = 0; answers != NULL && i < count; i++) {
        PyObject *answer = Histogram_quantile(self, PyTuple_GET_ITEM(items, i));
        if (answer == NULL) {
            Py_CLEAR(answers);
            break;
        }
        PyList_SET_ITEM(answers, i, answer);
    }
    Py_DECREF(items);
    return answers;
}

const char Histogram_cdf_doc[] =
    "cdf($self, x, /)\n--\n\n"
    "The share of values in the buckets up to and including that of x; NaN when "
    "nothing was recorded.";

PyObject *Histogram_cdf(PyObject *self, PyObject *value)
{
    double x, share;
    if (pfs_py_double(value, &x) < 0) {
        return NULL;
    }
    PFS_LOCK(self);
    uint64_t count = pfs_histogram_count(SELF(self));
    share = count == 0 || isnan(x) ? (double)NAN
                                   : (double)pfs_histogram_rank(SELF(self), x) / (double)count;
    PFS_UNLOCK();
    return PyFloat_FromDouble(share);
}

/* Making Python objects can run anything, so a list is made from a copy. */
static PyObject *list_of(PyObject *self, PyObject *(*make)(pfs_histogram *))
{
    pfs_histogram copy;
    pfs_status status;
    PFS_LOCK(self);
    status = pfs_histogram_copy(&copy, SELF(self), pfs_py_alloc());
    PFS_UNLOCK();
    if (status != PFS_OK) {
        return pfs_raise(status, "a copy of the counts");
    }
    PyObject *list = make(&copy);
    pfs_histogram_clear(&copy);
    return list;
}

static PyObject *make_buckets(pfs_histogram *h)
{
    PyObject *list = PyList_New(0);
    size_t cursor = 0;
    pfs_histogram_bucket bucket;
    while (list != NULL && pfs_histogram_next(h, &cursor, &bucket)) {
        PyObject *row =
            Py_BuildValue("(ddK)", bucket.low, bucket.high, (unsigned long long)bucket.count);
        if (row == NULL || PyList_Append(list, row) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(row);
    }
    return list;
}

static PyObject *make_edges(pfs_histogram *h)
{
    size_t length = h->table == NULL ? 0 : h->table->length;
    PyObject *list = PyList_New(length == 0 ? 0 : (Py_ssize_t)length + 1);
    for (size_t i = 0; list != NULL && length != 0 && i <= length; i++) {
        PyObject *edge = PyFloat_FromDouble(pfs_histogram_edge(h, i));
        if (edge == NULL) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, (Py_ssize_t)i, edge);
    }
    return list;
}

const char Histogram_buckets_doc[] =
    "buckets($self, /)\n--\n\n"
    "A list of (low, high, count) of the buckets that are not empty, lowest first.\n\n"
    "A bucket holds low <= x < high; zeros are the bucket (0.0, 0.0, count).";

PyObject *Histogram_buckets(PyObject *self, PyObject *unused)
{
    (void)unused;
    return list_of(self, make_buckets);
}

const char Histogram_edges_doc[] =
    "edges($self, /)\n--\n\n"
    "The edges of the cells that memoryview(histogram) shows: one more than cells, or "
    "none.\n\nIts items count values with edges[i] <= x < edges[i + 1]; zeros are not "
    "among them.";

PyObject *Histogram_edges(PyObject *self, PyObject *unused)
{
    (void)unused;
    return list_of(self, make_edges);
}

const char Histogram_sizeof_doc[] = "__sizeof__($self, /)\n--\n\nBytes held.";

PyObject *Histogram_sizeof(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyLong_FromSize_t((size_t)Py_TYPE(self)->tp_basicsize +
                             pfs_histogram_footprint(SELF(self)));
}

/* The closure of a property is one of these. */
typedef struct {
    double (*ask)(pfs_histogram *);
} question;

static question MEAN = {pfs_histogram_mean}, SUM = {pfs_histogram_sum},
                STDEV = {pfs_histogram_stdev}, MIN = {pfs_histogram_min}, MAX = {pfs_histogram_max};

static PyObject *Histogram_get_double(PyObject *self, void *closure)
{
    double answer;
    PFS_LOCK(self);
    answer = ((const question *)closure)->ask(SELF(self));
    PFS_UNLOCK();
    return PyFloat_FromDouble(answer);
}

static PyObject *Histogram_get_count(PyObject *self, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLongLong(pfs_histogram_count(SELF(self)));
}

static PyObject *Histogram_get_zeros(PyObject *self, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLongLong(SELF(self)->zeros);
}

static PyObject *Histogram_get_precision(PyObject *self, void *closure)
{
    (void)closure;
    return PyLong_FromLong((long)SELF(self)->precision);
}

static PyObject *Histogram_get_rejected(PyObject *self, void *closure)
{
    (void)closure;
    const pfs_histogram *h = SELF(self);
    return Py_BuildValue("{s:K,s:K,s:K}", "nan", (unsigned long long)h->rejected_nan, "inf",
                         (unsigned long long)h->rejected_inf, "negative",
                         (unsigned long long)h->rejected_negative);
}

PyObject *Histogram_repr(PyObject *self)
{
    static const double qs[] = {0.0, 0.5, 0.99, 1.0};
    char *texts[4] = {NULL};
    PyObject *result = NULL;
    for (int i = 0; i < 4; i++) {
        double value = 0.0;
        if (ask(self, qs[i], &value) < 0) {
            goto done;
        }
        texts[i] = PyOS_double_to_string(value, 'g', 5, 0, NULL);
        if (texts[i] == NULL) {
            goto done;
        }
    }
    const char *name = strrchr(Py_TYPE(self)->tp_name, '.');
    result = PyUnicode_FromFormat("<%s precision=%u count=%llu min=%s p50=%s p99=%s max=%s>",
                                  name == NULL ? Py_TYPE(self)->tp_name : name + 1,
                                  SELF(self)->precision,
                                  (unsigned long long)pfs_histogram_count(SELF(self)), texts[0],
                                  texts[1], texts[2], texts[3]);
done:
    for (int i = 0; i < 4; i++) {
        PyMem_Free(texts[i]);
    }
    return result;
}

PyGetSetDef pfs_histogram_properties[] = {
    {"count", Histogram_get_count, NULL, "Values recorded, rejected ones left out.", NULL},
    {"sum", Histogram_get_double, NULL, "Their sum; 0 when there are none.", &SUM},
    {"mean", Histogram_get_double, NULL, "Their mean, exact; NaN when there are none.", &MEAN},
    {"stdev", Histogram_get_double, NULL,
     "Their sample standard deviation (n - 1); NaN for fewer than two.", &STDEV},
    {"min", Histogram_get_double, NULL, "The least, exact; NaN when there are none.", &MIN},
    {"max", Histogram_get_double, NULL, "The greatest, exact; NaN when there are none.", &MAX},
    {"zeros", Histogram_get_zeros, NULL, "How many of them were 0.", NULL},
    {"rejected", Histogram_get_rejected, NULL,
     "Values refused, as a mapping of nan, inf (of either sign) and negative.", NULL},
    {"precision", Histogram_get_precision, NULL,
     "Buckets per octave, as a power of two: a midpoint is within 2**-(precision + 1).", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
