/* Methods of Events: beginning rows, and what has been recorded. */
#include "py_events.h"
#include "py_whole.h"

#include "py_histogram.h"

int pfs_py_metric_named(PyObject *name)
{
    if (PyUnicode_Check(name)) {
        for (int m = 0; m < PFS_EVENTS_METRICS; m++) {
            if (PyUnicode_CompareWithASCIIString(name, pfs_events_metric_name(m)) == 0) {
                return m;
            }
        }
    }
    PyErr_Format(PyExc_ValueError, "Events has no metric %R; it has those of EVENT_METRICS", name);
    return -1;
}

int pfs_py_set_item(PyObject *dict, const char *name, PyObject *list)
{
    int result = list == NULL ? -1 : PyDict_SetItemString(dict, name, list);
    Py_XDECREF(list);
    return result;
}

/* ---- rows ------------------------------------------------------------------------------------ */

PyDoc_STRVAR(
    Events_begin_doc,
    "begin($self, due_ns=None, tag=0)\n--\n\n"
    "A Row for a request that is due at a stamp of time.monotonic_ns, or now.  tag is any\n"
    "64-bit number; it comes back in the raw row.");

static PyObject *Events_begin(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames)
{
    static const char *const names[] = {"due_ns", "tag", NULL};
    Events *self = (Events *)object;
    PyObject *values[2] = {NULL, NULL};
    int64_t now = pfs_clock_ns(), due = now, tag = 0;
    pfs_events_row row = 0;
    pfs_state *state = pfs_state_of_type(Py_TYPE(object));
    if (state == NULL || pfs_py_arguments("begin", names, args, nargs, kwnames, values) < 0 ||
        pfs_whole_or(values[0], "due_ns", now, &due) < 0 ||
        pfs_whole_or(values[1], "tag", 0, &tag) < 0) {
        return NULL;
    }
    pfs_status status;
    PFS_LOCK(object);
    status = pfs_events_begin(self->events, due, now, tag, &row);
    PFS_UNLOCK();
    if (status != PFS_OK) {
        return pfs_raise(status, "Events");
    }
    Py_INCREF(object);
    return pfs_py_row_new(state, self, row);
}

/* ---- reading --------------------------------------------------------------------------------- */

PyDoc_STRVAR(Events_histogram_doc,
             "histogram($self, name, /)\n--\n\n"
             "A copy of the whole run's Histogram of one of EVENT_METRICS, warm-up left out:\n"
             "milliseconds, but 1/s for output_tokens_per_s, and tokens.");

static PyObject *Events_histogram(PyObject *object, PyObject *name)
{
    Events *self = (Events *)object;
    pfs_state *state = pfs_state_of_type(Py_TYPE(object));
    int metric = state == NULL ? -1 : pfs_py_metric_named(name);
    if (metric < 0) {
        return NULL;
    }
    pfs_histogram copy;
    pfs_status status;
    PFS_LOCK(object);
    status = pfs_histogram_copy(
        &copy, pfs_events_histogram(self->events, (pfs_events_metric)metric), pfs_py_alloc());
    PFS_UNLOCK();
    return status == PFS_OK ? pfs_py_histogram_wrap(state, &copy) : pfs_raise(status, "histogram");
}

PyDoc_STRVAR(
    Events_blocks_doc,
    "blocks($self, name, /)\n--\n\n"
    "Histograms (precision 7) of one of EVENT_METRICS by consecutive slices of time, block_s\n"
    "long, by when requests were due, oldest first; those without a value are left out.\n"
    "block_times says where each begins.");

/* The slices of a metric that hold something, as Histograms or as their beginnings in seconds. */
static PyObject *slices(PyObject *object, PyObject *name, int times)
{
    Events *self = (Events *)object;
    pfs_state *state = pfs_state_of_type(Py_TYPE(object));
    int metric = state == NULL ? -1 : pfs_py_metric_named(name);
    PyObject *list = metric < 0 ? NULL : PyList_New(0);
    for (unsigned i = 0; list != NULL; i++) {
        pfs_histogram copy;
        pfs_status status = PFS_EEMPTY;
        bool last;
        double at;
        PFS_LOCK(object);
        pfs_histogram *slice = pfs_events_slice(self->events, (pfs_events_metric)metric, i);
        at = (double)pfs_events_slice_ns(self->events) * 1e-9 * (double)i;
        last = slice == NULL;
        if (!last && pfs_histogram_count(slice) > 0) {
            status = times ? PFS_OK : pfs_histogram_copy(&copy, slice, pfs_py_alloc());
        }
        PFS_UNLOCK();
        if (last) {
            break;
        }
        if (status == PFS_EEMPTY) {
            continue;
        }
        PyObject *item = NULL;
        if (status != PFS_OK) {
            (void)pfs_raise(status, "histogram");
        } else {
            item = times ? PyFloat_FromDouble(at) : pfs_py_histogram_wrap(state, &copy);
        }
        if (item == NULL || PyList_Append(list, item) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(item);
    }
    return list;
}

static PyObject *Events_blocks(PyObject *object, PyObject *name)
{
    return slices(object, name, 0);
}

PyDoc_STRVAR(Events_block_times_doc,
             "block_times($self, name, /)\n--\n\n"
             "Where each of blocks(name) begins, in seconds from the start.");

static PyObject *Events_block_times(PyObject *object, PyObject *name)
{
    return slices(object, name, 1);
}

typedef struct {
    const char *name;
    size_t offset;
    bool real;
} column;

static const column COLUMNS[] = {
    {"due", offsetof(pfs_events_window, due), false},
    {"warmup", offsetof(pfs_events_window, warmup), false},
    {"ok", offsetof(pfs_events_window, ok), false},
    {"failed", offsetof(pfs_events_window, failed), false},
    {"over_limit", offsetof(pfs_events_window, over_limit), false},
    {"sum_ms", offsetof(pfs_events_window, sum_ms), true},
    {"max_ms", offsetof(pfs_events_window, max_ms), true},
    {"good", offsetof(pfs_events_window, good), false},
    {"visible_tokens", offsetof(pfs_events_window, visible_tokens), false},
    {"visible_chunks", offsetof(pfs_events_window, visible_chunks), false},
    {"finished", offsetof(pfs_events_window, finished), false},
    {"tokens", offsetof(pfs_events_window, tokens), false},
    {"in_flight_max", offsetof(pfs_events_window, in_flight_max), false},
    {"waiting", offsetof(pfs_events_window, waiting), false},
};

PyDoc_STRVAR(
    Events_windows_doc,
    "windows($self, last=None)\n--\n\n"
    "What happened in each second of the run (window_s seconds, once it is longer than four and\n"
    "a half hours), as equally long lists: t_s, where the window begins; by the second in which a\n"
    "request was due: due, warmup, ok, failed, over_limit, sum_ms and max_ms of response times, "
    "and\n"
    "without the warm-up good, visible_tokens and visible_chunks; by the second in which it\n"
    "happened: finished, tokens, in_flight_max; and waiting, requests that were due before and "
    "had\n"
    "not ended.  last: only so many, the latest ones, which costs the same however long the run\n"
    "is.");

/* The last windows, `most` of them at most, as they are now, copied so that no Python runs while
 * the lock is held; *first is the number of the first of the *used. */
static pfs_events_window *windows_copied(PyObject *object, size_t most, size_t *first, size_t *used,
                                         double *width_s)
{
    const pfs_events_windows *seconds;
    pfs_events_window *windows;
    PFS_LOCK(object);
    seconds = pfs_events_seconds(((Events *)object)->events);
    *used = seconds->used < most ? seconds->used : most;
    *first = seconds->used - *used;
    *width_s = (double)seconds->width_ns * 1e-9;
    windows = pfs_alloc_array(pfs_py_alloc(), *used, sizeof *windows);
    if (windows != NULL) {
        memcpy(windows, seconds->windows + *first, *used * sizeof *windows);
    }
    PFS_UNLOCK();
    return windows;
}

/* A column of windows; their beginnings, of which the first is number `first`, for no column. */
static PyObject *column_list(const pfs_events_window *windows, size_t first, size_t used,
                             const column *c, double width_s)
{
    PyObject *list = PyList_New((Py_ssize_t)used);
    for (size_t i = 0; list != NULL && i < used; i++) {
        PyObject *value;
        if (c == NULL) {
            value = PyFloat_FromDouble((double)(first + i) * width_s);
        } else {
            const char *at = (const char *)&windows[i] + c->offset;
            value = c->real ? PyFloat_FromDouble(*(const double *)(const void *)at)
                            : PyLong_FromLongLong(*(const int64_t *)(const void *)at);
        }
        if (value == NULL) {
            Py_CLEAR(list);
        } else {
            PyList_SET_ITEM(list, (Py_ssize_t)i, value);
        }
    }
    return list;
}

static PyObject *Events_windows(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames)
{
    static const char *const names[] = {"last", NULL};
    PyObject *values[1] = {NULL};
    int64_t last;
    if (pfs_py_arguments("windows", names, args, nargs, kwnames, values) < 0 ||
        pfs_whole_or(values[0], "last", INT64_MAX, &last) < 0) {
        return NULL;
    }
    if (last < 1) {
        PyErr_SetString(PyExc_ValueError, "last must be 1 or more: the latest windows, so many");
        return NULL;
    }
    size_t first, used;
    double width_s;
    pfs_events_window *windows = windows_copied(object, (size_t)last, &first, &used, &width_s);
    if (windows == NULL) {
        return PyErr_NoMemory();
    }
    PyObject *dict = PyDict_New();
    if (dict != NULL &&
        pfs_py_set_item(dict, "t_s", column_list(windows, first, used, NULL, width_s)) < 0) {
        Py_CLEAR(dict);
    }
    for (size_t c = 0; dict != NULL && c < sizeof COLUMNS / sizeof COLUMNS[0]; c++) {
        PyObject *list = column_list(windows, first, used, &COLUMNS[c], width_s);
        if (pfs_py_set_item(dict, COLUMNS[c].name, list) < 0) {
            Py_CLEAR(dict);
        }
    }
    pfs_alloc_release(pfs_py_alloc(), windows);
    return dict;
}

PyDoc_STRVAR(
    Events_drain_rows_doc,
    "drain_rows($self, /)\n--\n\n"
    "The raw rows that ended since the last call, as packed records; their columns are\n"
    "RAW_COLUMNS, (name, struct format) each, little-endian without padding.  Nanoseconds\n"
    "from the start; the smallest 64-bit integer where there is no stamp.");

static PyObject *Events_drain_rows(PyObject *object, PyObject *ignored)
{
    (void)ignored;
    Events *self = (Events *)object;
    PyObject *bytes;
    PFS_LOCK(object);
    size_t length;
    const unsigned char *raw = pfs_events_raw(self->events, &length);
    bytes = PyBytes_FromStringAndSize((const char *)raw, (Py_ssize_t)length);
    if (bytes != NULL) {
        pfs_events_raw_discard(self->events);
    }
    PFS_UNLOCK();
    return bytes;
}

PyDoc_STRVAR(Events_drain_stamps_doc,
             "drain_stamps($self, /)\n--\n\n"
             "The stamps of the chunks that came since the last call: pairs of 64-bit integers of\n"
             "this machine, the row's tag and the nanoseconds of time.monotonic_ns.");

static PyObject *Events_drain_stamps(PyObject *object, PyObject *ignored)
{
    (void)ignored;
    Events *self = (Events *)object;
    PyObject *bytes;
    PFS_LOCK(object);
    size_t count;
    const int64_t *stamps = pfs_events_stamps(self->events, &count);
    bytes =
        PyBytes_FromStringAndSize((const char *)stamps, (Py_ssize_t)(count * 2 * sizeof stamps[0]));
    if (bytes != NULL) {
        pfs_events_stamps_discard(self->events);
    }
    PFS_UNLOCK();
    return bytes;
}

PyDoc_STRVAR(Events_forget_blocks_doc,
             "forget_blocks($self, /)\n--\n\n"
             "Gives back the memory of all blocks, which are most of it: for a load that is over\n"
             "and is kept for its histograms, windows and counts.");

static PyObject *Events_forget_blocks(PyObject *object, PyObject *ignored)
{
    (void)ignored;
    PFS_LOCK(object);
    pfs_events_forget_slices(((Events *)object)->events);
    PFS_UNLOCK();
    Py_RETURN_NONE;
}

PyMethodDef pfs_py_events_methods[] = {
    {"begin", PFS_METHOD(Events_begin), METH_FASTCALL | METH_KEYWORDS, Events_begin_doc},
    {"histogram", Events_histogram, METH_O, Events_histogram_doc},
    {"blocks", Events_blocks, METH_O, Events_blocks_doc},
    {"block_times", Events_block_times, METH_O, Events_block_times_doc},
    {"windows", PFS_METHOD(Events_windows), METH_FASTCALL | METH_KEYWORDS, Events_windows_doc},
    {"forget_blocks", PFS_METHOD(Events_forget_blocks), METH_NOARGS, Events_forget_blocks_doc},
    {"drain_rows", Events_drain_rows, METH_NOARGS, Events_drain_rows_doc},
    {"drain_stamps", PFS_METHOD(Events_drain_stamps), METH_NOARGS, Events_drain_stamps_doc},
    {NULL, NULL, 0, NULL},
};
