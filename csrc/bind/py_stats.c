/* Quantiles and distributions as functions of arrays; perfsuite.stats gives them their names. */
#include "py_stats.h"

#include "pfs_stats.h"

#include <math.h>

/* ---- quantiles ---- */

PyDoc_STRVAR(exact_quantiles_doc,
             "exact_quantiles(data, qs, /)\n--\n\n"
             "The nearest-rank quantiles of data, a tuple in the order of qs (each 0 to 1).");

static PyObject *stats_exact_quantiles(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    double *data, *qs;
    size_t n, count;
    if (pfs_stats_expect("exact_quantiles", nargs, 2) < 0 ||
        pfs_stats_read_some(args[0], "data", &data, &n) < 0) {
        return NULL;
    }
    if (pfs_numbers_read(args[1], "qs", &qs, &count) < 0) {
        PyMem_RawFree(data);
        return NULL;
    }
    PyObject *result = NULL;
    for (size_t i = 0; i < count; i++) {
        if (!(qs[i] >= 0.0 && qs[i] <= 1.0)) {
            PyErr_Format(PyExc_ValueError, "qs[%zu] is outside 0 to 1: give 0.99 for p99", i);
            goto done;
        }
    }
    Py_BEGIN_ALLOW_THREADS for (size_t i = 0; i < count; i++)
    {
        size_t rank = pfs_stats_nearest_rank(n, qs[i]) - 1;
        pfs_stats_select(data, n, rank);
        qs[i] = data[rank];
    }
    Py_END_ALLOW_THREADS result = PyTuple_New((Py_ssize_t)count);
    for (size_t i = 0; result != NULL && i < count; i++) {
        PyObject *value = PyFloat_FromDouble(qs[i]);
        if (value == NULL) {
            Py_CLEAR(result);
            break;
        }
        PyTuple_SET_ITEM(result, (Py_ssize_t)i, value);
    }
done:
    PyMem_RawFree(qs);
    PyMem_RawFree(data);
    return result;
}

PyDoc_STRVAR(quantile_interval_doc,
             "quantile_interval(data, q, confidence, /)\n--\n\n"
             "(estimate, low, high) of the q-quantile by order statistics; open sides are "
             "infinite.");

static PyObject *stats_quantile_interval(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    double *data, v[2], low, high; /* v: q, confidence */
    size_t n;
    if (pfs_stats_expect("quantile_interval", nargs, 3) < 0 ||
        pfs_stats_read_floats(args + 1, 2, v) < 0) {
        return NULL;
    }
    if (pfs_stats_check_confidence(v[1]) < 0 ||
        pfs_stats_read_some(args[0], "data", &data, &n) < 0) {
        return NULL;
    }
    if (pfs_stats_quantile_ranks((double)n, v[0], v[1], &low, &high) != PFS_OK) {
        PyMem_RawFree(data);
        return pfs_raise(PFS_EINVAL, "q (0.99 for p99)");
    }
    double estimate;
    Py_BEGIN_ALLOW_THREADS size_t ranks[3], count = 0;
    size_t rank = pfs_stats_nearest_rank(n, v[0]);
    if (low != 0.0) {
        ranks[count++] = (size_t)low - 1;
    }
    ranks[count++] = rank - 1;
    if (high != 0.0) {
        ranks[count++] = (size_t)high - 1;
    }
    pfs_stats_select_many(data, n, ranks, count);
    estimate = data[rank - 1];
    low = low != 0.0 ? data[(size_t)low - 1] : -INFINITY;
    high = high != 0.0 ? data[(size_t)high - 1] : INFINITY;
    Py_END_ALLOW_THREADS PyMem_RawFree(data);
    return Py_BuildValue("(ddd)", estimate, low, high);
}

PyDoc_STRVAR(quantile_ranks_doc, "quantile_ranks(n, q, confidence, /)\n--\n\n"
                                 "1-based (low, high) ranks of that interval; 0 where it is open.");

static PyObject *stats_quantile_ranks(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    double v[3], low, high;
    if (pfs_stats_expect("quantile_ranks", nargs, 3) < 0 || pfs_stats_read_floats(args, 3, v) < 0) {
        return NULL;
    }
    pfs_status status = pfs_stats_quantile_ranks(v[0], v[1], v[2], &low, &high);
    if (status != PFS_OK) {
        return pfs_raise(status, "n, q or confidence");
    }
    return Py_BuildValue("(dd)", low, high);
}

/* ---- distributions: one shape of function, NaN means an argument outside the domain ---- */

static PyObject *value_or_error(double value, const char *what)
{
    return isnan(value) ? pfs_raise(PFS_EINVAL, what) : PyFloat_FromDouble(value);
}

#define DISTRIBUTION(name, count, call, signature, meaning)                                        \
    PyDoc_STRVAR(name##_doc, #name signature "\n--\n\n" meaning);                                  \
    static PyObject *stats_##name(PyObject *module, PyObject *const *args, Py_ssize_t nargs)       \
    {                                                                                              \
        (void)module;                                                                              \
        double v[3] = {0};                                                                         \
        if (pfs_stats_expect(#name, nargs, count) < 0 ||                                           \
            pfs_stats_read_floats(args, count, v) < 0) {                                           \
            return NULL;                                                                           \
        }                                                                                          \
        return value_or_error(call, "an argument of " #name);                                      \
    }

DISTRIBUTION(beta_cdf, 3, pfs_stats_beta_cdf(v[0], v[1], v[2]), "(a, b, x, /)",
             "The regularised incomplete beta function I_x(a, b).")
DISTRIBUTION(beta_quantile, 3, pfs_stats_beta_quantile(v[0], v[1], v[2]), "(a, b, p, /)",
             "The x of I_x(a, b) = p.")
DISTRIBUTION(t_tail, 2, pfs_stats_t_tail(v[0], v[1]), "(t, df, /)",
             "P(T > t) of Student's t with df degrees of freedom.")
DISTRIBUTION(t_quantile, 2, pfs_stats_t_quantile(v[0], v[1]), "(p, df, /)",
             "The t of P(T <= t) = p.")
DISTRIBUTION(normal_tail, 1, pfs_stats_normal_tail(v[0]), "(z, /)", "P(Z > z).")
DISTRIBUTION(normal_quantile, 1, pfs_stats_normal_quantile(v[0]), "(p, /)",
             "The z of P(Z <= z) = p.")

static PyObject *stats_samples_needed(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    double v[2];
    if (pfs_stats_expect("samples_needed", nargs, 2) < 0 || pfs_stats_read_floats(args, 2, v) < 0) {
        return NULL;
    }
    double n = pfs_stats_samples_needed(v[0], v[1]);
    return n == 0.0 ? pfs_raise(PFS_EINVAL, "q or confidence") : PyLong_FromDouble(n);
}

PyDoc_STRVAR(samples_needed_doc, "samples_needed(q, confidence, /)\n--\n\n"
                                 "The least n whose interval of the q-quantile has both bounds.");

static PyMethodDef stats_methods[] = {
    PFS_STATS_FAST(exact_quantiles), PFS_STATS_FAST(quantile_interval),
    PFS_STATS_FAST(quantile_ranks),  PFS_STATS_FAST(samples_needed),
    PFS_STATS_FAST(beta_cdf),        PFS_STATS_FAST(beta_quantile),
    PFS_STATS_FAST(t_tail),          PFS_STATS_FAST(t_quantile),
    PFS_STATS_FAST(normal_tail),     PFS_STATS_FAST(normal_quantile),
    {NULL, NULL, 0, NULL},
};

int pfs_exec_stats(PyObject *module)
{
    return PyModule_AddFunctions(module, stats_methods) < 0
               ? -1
               : PyModule_AddFunctions(module, pfs_stats_sample_methods);
}
