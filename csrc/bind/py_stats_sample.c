/* Means, tests and series as functions of arrays; perfsuite.stats gives them their names. */
#include "py_stats.h"
#include "py_whole.h"

#include "pfs_stats.h"
#include "py_patience.h"

#include <math.h>

/* ---- means and tests ---- */

PyDoc_STRVAR(median_doc, "median(data, /)\n--\n\nThe middle value, or the mean of the middle two.");

static PyObject *stats_median(PyObject *module, PyObject *source)
{
    (void)module;
    double *data, median;
    size_t n;
    if (pfs_stats_read_some(source, "data", &data, &n) < 0) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS size_t ranks[2] = {(n - 1) / 2, n / 2};
    pfs_stats_select_many(data, n, ranks, 2);
    median = 0.5 * data[ranks[0]] + 0.5 * data[ranks[1]];
    Py_END_ALLOW_THREADS PyMem_RawFree(data);
    return PyFloat_FromDouble(median);
}

PyDoc_STRVAR(moments_doc, "moments(data, /)\n--\n\n(n, mean, sample standard deviation).");

static PyObject *stats_moments(PyObject *module, PyObject *source)
{
    (void)module;
    double *data, mean, squares, cubes;
    size_t n;
    if (pfs_stats_read_some(source, "data", &data, &n) < 0) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS pfs_stats_moments(data, n, &mean, &squares, &cubes);
    Py_END_ALLOW_THREADS PyMem_RawFree(data);
    if (!isfinite(mean) || !isfinite(squares)) {
        return pfs_raise(PFS_ERANGE, "the sum of data, or of its squares,");
    }
    return Py_BuildValue("(ndd)", (Py_ssize_t)n, mean,
                         n > 1 ? sqrt(squares / (double)(n - 1)) : 0.0);
}

PyDoc_STRVAR(bootstrap_mean_doc,
             "bootstrap_mean(data, confidence, resamples, seed, /)\n--\n\n"
             "(estimate, low, high) of the mean: seeded BCa bootstrap.  Without the GIL.");

static PyObject *stats_bootstrap_mean(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    if (pfs_stats_expect("bootstrap_mean", nargs, 4) < 0) {
        return NULL;
    }
    double confidence, *data;
    size_t n;
    int64_t resamples;
    uint64_t seed;
    if (pfs_whole_read(args[2], "resamples", INT64_MIN, INT64_MAX, &resamples) < 0 ||
        pfs_whole_unsigned(args[3], "seed", &seed) < 0) {
        return NULL;
    }
    if (pfs_stats_read_floats(args + 1, 1, &confidence) < 0 ||
        pfs_stats_check_confidence(confidence) < 0) {
        return NULL;
    }
    if (resamples < 2) {
        PyErr_SetString(PyExc_ValueError, "resamples must be 2 or more; 10,000 is usual");
        return NULL;
    }
    if (pfs_stats_read_some(args[0], "data", &data, &n) < 0) {
        return NULL;
    }
    size_t count = (size_t)resamples;
    double *means = pfs_alloc_array(pfs_py_alloc(), count, sizeof *means);
    if (means == NULL) {
        PyMem_RawFree(data);
        return PyErr_NoMemory();
    }
    double mean, squares, cubes, low = 0.0, high = 0.0;
    bool stopped = false;
    pfs_rng rng;
    pfs_rng_seed(&rng, seed);
    pfs_patience waiting = pfs_patience_begin();
    size_t piece = n < (1u << 20) ? (1u << 20) / n : 1;
    for (size_t at = 0; at < count && !stopped; at += piece) {
        size_t size = count - at < piece ? count - at : piece;
        pfs_stats_bootstrap_means(data, n, &rng, means + at, size);
        stopped = pfs_patience_over(&waiting);
    }
    pfs_stats_moments(data, n, &mean, &squares, &cubes);
    if (!stopped) {
        pfs_stats_bca(data, n, means, count, confidence, &low, &high);
    }
    pfs_patience_end(&waiting);
    PyMem_RawFree(means);
    PyMem_RawFree(data);
    if (stopped) {
        return NULL;
    }
    if (!isfinite(mean) || !isfinite(low) || !isfinite(high)) {
        return pfs_raise(PFS_ERANGE, "the sum of data");
    }
    return Py_BuildValue("(ddd)", mean, low, high);
}

PyDoc_STRVAR(mann_whitney_doc, "mann_whitney(x, y, alternative, /)\n--\n\n"
                               "(U of x, p value); alternative: 0 two-sided, 1 less, 2 greater.");

static PyObject *stats_mann_whitney(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    if (pfs_stats_expect("mann_whitney", nargs, 3) < 0) {
        return NULL;
    }
    int64_t alternative;
    if (pfs_whole_read(args[2], "alternative", PFS_STATS_TWO_SIDED, PFS_STATS_GREATER,
                       &alternative) < 0) {
        return NULL;
    }
    double *x, *y, u = 0.0, p = 0.0;
    size_t nx, ny;
    if (pfs_stats_read_some(args[0], "x", &x, &nx) < 0) {
        return NULL;
    }
    if (pfs_stats_read_some(args[1], "y", &y, &ny) < 0) {
        PyMem_RawFree(x);
        return NULL;
    }
    pfs_status status;
    Py_BEGIN_ALLOW_THREADS status = pfs_stats_mann_whitney(
        x, nx, y, ny, (pfs_stats_alternative)alternative, pfs_py_alloc(), &u, &p);
    Py_END_ALLOW_THREADS PyMem_RawFree(y);
    PyMem_RawFree(x);
    return status == PFS_OK ? Py_BuildValue("(dd)", u, p) : pfs_raise(status, "x or y");
}

/* ---- series ---- */

PyDoc_STRVAR(theil_sen_doc,
             "theil_sen(y, t, confidence, n_effective, /)\n--\n\n"
             "(slope, intercept, low, high); t None counts 0, 1, 2...; n_effective 0 means all.");

static PyObject *stats_theil_sen(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    double v[2], *y, *t = NULL;
    size_t n, nt;
    if (pfs_stats_expect("theil_sen", nargs, 4) < 0 || pfs_stats_read_floats(args + 2, 2, v) < 0 ||
        pfs_stats_check_confidence(v[0]) < 0 || pfs_stats_read_some(args[0], "y", &y, &n) < 0) {
        return NULL;
    }
    if (Py_IsNone(args[1])) {
        nt = n;
        t = pfs_alloc_array(pfs_py_alloc(), n, sizeof *t);
        for (size_t i = 0; t != NULL && i < n; i++) {
            t[i] = (double)i;
        }
        if (t == NULL) {
            PyErr_NoMemory();
        }
    } else if (pfs_numbers_read(args[1], "t", &t, &nt) < 0) {
        t = NULL;
    }
    if (t == NULL || nt != n || n < 2) {
        if (t != NULL && nt != n) {
            PyErr_Format(PyExc_ValueError, "y has %zu values and t has %zu: give one t for each y",
                         n, nt);
        } else if (t != NULL) {
            PyErr_SetString(PyExc_ValueError, "one point has no trend: give two or more");
        }
        PyMem_RawFree(t);
        PyMem_RawFree(y);
        return NULL;
    }
    pfs_stats_line line = {0};
    pfs_status status;
    Py_BEGIN_ALLOW_THREADS status = pfs_stats_trend(y, t, n, v[0], v[1], pfs_py_alloc(), &line);
    Py_END_ALLOW_THREADS PyMem_RawFree(t);
    PyMem_RawFree(y);
    if (status == PFS_EEMPTY) {
        PyErr_SetString(PyExc_ValueError, "all t are equal: a trend needs two different times");
        return NULL;
    }
    return status == PFS_OK
               ? Py_BuildValue("(dddd)", line.slope, line.intercept, line.low, line.high)
               : pfs_raise(status, "the slope of y over t");
}

PyDoc_STRVAR(effective_size_doc, "effective_size(series, /)\n--\n\n"
                                 "How many independent values the mean of a series is worth.");

static PyObject *stats_effective_size(PyObject *module, PyObject *source)
{
    (void)module;
    double *series, size = 0.0;
    size_t n;
    if (pfs_stats_read_some(source, "series", &series, &n) < 0) {
        return NULL;
    }
    pfs_status status;
    Py_BEGIN_ALLOW_THREADS status = pfs_stats_effective_size(series, n, pfs_py_alloc(), &size);
    Py_END_ALLOW_THREADS PyMem_RawFree(series);
    return status == PFS_OK ? PyFloat_FromDouble(size) : pfs_raise(status, "series");
}

PyDoc_STRVAR(change_points_doc,
             "change_points(series, min_segment, alpha, permutations, seed, /)\n--\n\n"
             "The indices at which E-divisive starts a new segment.  Without the GIL.");

static PyObject *stats_change_points(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    if (pfs_stats_expect("change_points", nargs, 5) < 0) {
        return NULL;
    }
    double alpha, *series;
    size_t n, count = 0;
    int64_t least, permutations;
    uint64_t seed;
    if (pfs_whole_read(args[1], "min_segment", 2, INT64_MAX, &least) < 0 ||
        pfs_stats_read_floats(args + 2, 1, &alpha) < 0 ||
        pfs_whole_read(args[3], "permutations", 1, INT32_MAX, &permutations) < 0 ||
        pfs_whole_unsigned(args[4], "seed", &seed) < 0) {
        return NULL;
    }
    if (!(alpha > 0.0 && alpha < 1.0)) {
        PyErr_SetString(PyExc_ValueError, "alpha must be between 0 and 1");
        return NULL;
    }
    if (pfs_numbers_read(args[0], "series", &series, &n) < 0) {
        return NULL;
    }
    PyObject *result = NULL;
    pfs_status status = PFS_OK;
    size_t *points = pfs_alloc_array(pfs_py_alloc(), n + 1, sizeof *points);
    if (points == NULL) {
        status = PFS_ENOMEM;
    } else {
        pfs_patience waiting = pfs_patience_begin();
        status =
            pfs_stats_change_points(series, n, (size_t)least, alpha, (unsigned)permutations, seed,
                                    pfs_patience_over, &waiting, pfs_py_alloc(), points, &count);
        pfs_patience_end(&waiting);
    }
    result = status == PFS_OK ? PyList_New((Py_ssize_t)count) : pfs_raise(status, "series");
    for (size_t i = 0; result != NULL && i < count; i++) {
        PyObject *point = PyLong_FromSize_t(points[i]);
        if (point == NULL) {
            Py_CLEAR(result);
            break;
        }
        PyList_SET_ITEM(result, (Py_ssize_t)i, point);
    }
    PyMem_RawFree(points);
    PyMem_RawFree(series);
    return result;
}

PyMethodDef pfs_stats_sample_methods[] = {
    {"median", PFS_METHOD(stats_median), METH_O, median_doc},
    {"moments", PFS_METHOD(stats_moments), METH_O, moments_doc},
    {"effective_size", PFS_METHOD(stats_effective_size), METH_O, effective_size_doc},
    PFS_STATS_FAST(bootstrap_mean),
    PFS_STATS_FAST(mann_whitney),
    PFS_STATS_FAST(theil_sen),
    PFS_STATS_FAST(change_points),
    {NULL, NULL, 0, NULL},
};
