/* Events: the recorder of a load: how it is made, and the constants that belong to it.  Its methods
 * are in py_events_methods.c, its properties in py_events_counts.c, its rows in py_row.c. */
#include "py_events.h"
#include "py_whole.h"

#include <math.h>

/* ---- making ---------------------------------------------------------------------------------- */

static int read_objectives(PyObject *objectives, double limits[PFS_EVENTS_METRICS])
{
    PyObject *items = PyMapping_Items(objectives);
    if (items == NULL) {
        return -1;
    }
    int result = 0;
    for (Py_ssize_t i = 0; result == 0 && i < PyList_GET_SIZE(items); i++) {
        PyObject *name, *limit;
        double value = 0.0;
        int metric = -1;
        if (PyArg_ParseTuple(PyList_GET_ITEM(items, i), "OO", &name, &limit)) {
            metric = pfs_py_metric_named(name);
        }
        if (metric >= 0) {
            value = PyFloat_AsDouble(limit);
        }
        if (PyErr_Occurred()) {
            result = -1;
        } else if (!(value >= 0.0)) {
            PyErr_Format(PyExc_ValueError, "the objective for %U is %R; it needs to be 0 or more",
                         name, limit);
            result = -1;
        } else {
            limits[metric] = value;
        }
    }
    Py_DECREF(items);
    return result;
}

static PyObject *Events_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"precision", "warmup_ns", "limit_ms", "objectives", "blocks",
                            "raw",       "start_ns",  "stamps",   NULL};
    PyObject *objectives = Py_None, *start = Py_None;
    PyObject *precision = NULL, *warmup = NULL, *blocks = NULL;
    int64_t wanted_precision = PFS_EVENTS_PRECISION, wanted_blocks = 64;
    int raw = 0, stamps = 0;
    pfs_events_spec spec = {.windows = PFS_EVENTS_MOST_WINDOWS, .limit_ms = 5000.0};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OOdOOpOp:Events", names, &precision, &warmup,
                                     &spec.limit_ms, &objectives, &blocks, &raw, &start, &stamps)) {
        return NULL;
    }
    for (int m = 0; m < PFS_EVENTS_METRICS; m++) {
        spec.objectives[m] = NAN;
    }
    if ((precision != NULL && pfs_whole_read(precision, "precision", PFS_HISTOGRAM_MIN_PRECISION,
                                             PFS_HISTOGRAM_MAX_PRECISION, &wanted_precision) < 0) ||
        (blocks != NULL && pfs_whole_read(blocks, "blocks", 2, 4096, &wanted_blocks) < 0) ||
        (warmup != NULL &&
         pfs_whole_read(warmup, "warmup_ns", 0, INT64_MAX, &spec.warmup_ns) < 0)) {
        return NULL;
    }
    if (pfs_whole_or(start, "start_ns", pfs_clock_ns(), &spec.start_ns) < 0 ||
        (objectives != Py_None && read_objectives(objectives, spec.objectives) < 0)) {
        return NULL;
    }
    spec.precision = (unsigned)wanted_precision;
    spec.blocks = (unsigned)wanted_blocks;
    spec.raw = raw != 0;
    spec.stamps = stamps != 0;
    Events *self = (Events *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    pfs_status status = pfs_events_new(&self->events, &spec, pfs_py_alloc());
    if (status != PFS_OK) {
        Py_DECREF(self);
        if (status == PFS_EINVAL) {
            PyErr_Format(PyExc_ValueError,
                         "Events needs a precision of 1 to 12, an even number of blocks of 2 to "
                         "4096, warmup_ns of 0 or more and a limit_ms that is a number; not "
                         "precision %u, blocks %u, warmup_ns %lld",
                         spec.precision, spec.blocks, (long long)spec.warmup_ns);
            return NULL;
        }
        return pfs_raise(status, "Events");
    }
    return (PyObject *)self;
}

static void Events_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    pfs_events_free(((Events *)object)->events);
    type->tp_free(object);
    Py_DECREF(type);
}

PyDoc_STRVAR(
    Events_doc,
    "Events(precision=10, warmup_ns=0, limit_ms=5000.0, objectives=None, blocks=64, raw=False, "
    "start_ns=None, stamps=False)\n--\n\n"
    "The recorder of a load: what requests leave behind, in bounded memory.\n\n"
    "Requests due before start_ns [now] + warmup_ns are counted apart.  limit_ms: the response\n"
    "time above which an answer is over_limit.  objectives: EVENT_METRICS name -> limit, for "
    "good.\n"
    "blocks: at most so many slices of time per metric.  raw: keep rows for drain_rows.\n"
    "stamps: keep the time of every chunk for drain_stamps.\n"
    "All stamps are those of time.monotonic_ns.");

static PyType_Slot Events_slots[] = {
    {Py_tp_doc, PFS_SLOT(Events_doc)},
    {Py_tp_new, PFS_SLOT(Events_new)},
    {Py_tp_dealloc, PFS_SLOT(Events_dealloc)},
    {Py_tp_methods, PFS_SLOT(pfs_py_events_methods)},
    {Py_tp_getset, PFS_SLOT(pfs_py_events_getset)},
    {0, NULL},
};

static PyType_Spec Events_spec = {
    .name = "perfsuite._core.Events",
    .basicsize = sizeof(Events),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = Events_slots,
};

/* ---- the module's constants ------------------------------------------------------------------ */

static int add_names(PyObject *module, const char *constant, const char *(*name)(int), int count)
{
    PyObject *tuple = PyTuple_New(count);
    for (int i = 0; tuple != NULL && i < count; i++) {
        PyObject *text = PyUnicode_InternFromString(name(i));
        if (text == NULL) {
            Py_CLEAR(tuple);
        } else {
            PyTuple_SET_ITEM(tuple, i, text);
        }
    }
    int result = tuple == NULL ? -1 : PyModule_AddObjectRef(module, constant, tuple);
    Py_XDECREF(tuple);
    return result;
}

static int add_raw_columns(PyObject *module)
{
    PyObject *columns = Py_BuildValue(
        "((ss)(ss)(ss)(ss)(ss)(ss)(ss)(ss)(ss)(ss)(ss)(ss)(ss)(ss)(ss)(ss))", "tag", "q", "due_ns",
        "q", "sent_ns", "q", "first_ns", "q", "answer_ns", "q", "last_ns", "q", "end_ns", "q",
        "max_gap_ns", "q", "prompt_tokens", "q", "completion_tokens", "q", "bytes", "Q", "chunks",
        "I", "tokens", "I", "status", "B", "flags", "B", "padding", "6s");
    int result = columns == NULL ? -1 : PyModule_AddObjectRef(module, "RAW_COLUMNS", columns);
    Py_XDECREF(columns);
    return result;
}

int pfs_exec_events(PyObject *module)
{
    if (pfs_add_type(module, PFS_TYPE_EVENTS, &Events_spec) < 0 ||
        pfs_add_type(module, PFS_TYPE_ROW, &pfs_py_row_spec) < 0 ||
        add_names(module, "ERROR_KINDS", pfs_events_status_name, PFS_EVENTS_STATUSES) < 0 ||
        add_names(module, "EVENT_METRICS", pfs_events_metric_name, PFS_EVENTS_METRICS) < 0) {
        return -1;
    }
    return add_raw_columns(module);
}
