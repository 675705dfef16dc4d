/* perfsuite.Stopwatch: milliseconds into a Histogram, one clock reading per call. */
#include "py_histogram.h"

#include "pfs_clock.h"

typedef struct {
    PyObject_HEAD PyObject *histogram; /* a Histogram, from __new__ to clear */
    int64_t last;                      /* ns of the last start or lap */
    bool running;
} StopwatchObject;

static PyObject *Stopwatch_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"histogram", NULL};
    PyObject *histogram;
    pfs_state *state = pfs_state_of_type(type);
    if (state == NULL ||
        !PyArg_ParseTupleAndKeywords(args, kwargs, "O:Stopwatch", names, &histogram) ||
        pfs_py_histogram_get(state, histogram, "histogram") == NULL) {
        return NULL;
    }
    StopwatchObject *self = (StopwatchObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->histogram = Py_NewRef(histogram);
    }
    return (PyObject *)self;
}

static int Stopwatch_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((StopwatchObject *)object)->histogram);
    return 0;
}

static int Stopwatch_clear(PyObject *object)
{
    Py_CLEAR(((StopwatchObject *)object)->histogram);
    return 0;
}

static void Stopwatch_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    (void)Stopwatch_clear(object);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyObject *Stopwatch_start(PyObject *object, PyObject *unused)
{
    (void)unused;
    StopwatchObject *self = (StopwatchObject *)object;
    PFS_LOCK(object);
    self->running = true;
    self->last = pfs_clock_ns();
    PFS_UNLOCK();
    Py_RETURN_NONE;
}

/* Records the time since the last start or lap; the watch goes on if `on`. */
static PyObject *take(PyObject *object, bool on, const char *name)
{
    StopwatchObject *self = (StopwatchObject *)object;
    int64_t now = pfs_clock_ns(), elapsed = 0;
    bool running;
    PFS_LOCK(object);
    running = self->running;
    elapsed = now - self->last;
    self->last = now;
    self->running = running && on;
    PFS_UNLOCK();
    if (!running) {
        return PyErr_Format(PyExc_RuntimeError,
                            "%s() of a stopwatch that is not running: call start() first", name);
    }
    if (self->histogram == NULL) { /* only while a cycle is being collected */
        return PyErr_Format(PyExc_RuntimeError, "%s(): the stopwatch's histogram is gone", name);
    }
    /* Another thread's later lap can be first at the lock. */
    double ms = elapsed > 0 ? (double)elapsed / 1e6 : 0.0;
    pfs_status status;
    PFS_LOCK(self->histogram);
    status = pfs_histogram_record(&((HistogramObject *)self->histogram)->histogram, ms);
    PFS_UNLOCK();
    return status == PFS_OK ? PyFloat_FromDouble(ms) : pfs_raise(status, "record");
}

static PyObject *Stopwatch_lap(PyObject *object, PyObject *unused)
{
    (void)unused;
    return take(object, true, "lap");
}

static PyObject *Stopwatch_stop(PyObject *object, PyObject *unused)
{
    (void)unused;
    return take(object, false, "stop");
}

static PyObject *Stopwatch_get_histogram(PyObject *object, void *closure)
{
    (void)closure;
    PyObject *histogram = ((StopwatchObject *)object)->histogram;
    return Py_NewRef(histogram == NULL ? Py_None : histogram);
}

static PyObject *Stopwatch_get_running(PyObject *object, void *closure)
{
    (void)closure;
    return PyBool_FromLong(((StopwatchObject *)object)->running);
}

PyDoc_STRVAR(start_doc, "start($self, /)\n--\n\nStart, or start again from now.");
PyDoc_STRVAR(lap_doc, "lap($self, /)\n--\n\n"
                      "Record the milliseconds since start() or the last lap(), return them and go "
                      "on.\n\nRuntimeError when not running.");
PyDoc_STRVAR(stop_doc, "stop($self, /)\n--\n\n"
                       "As lap(), and stop.\n\nRuntimeError when not running.");
PyDoc_STRVAR(stopwatch_doc, "Stopwatch(histogram)\n--\n\n"
                            "Times what happens between its calls into a Histogram, in "
                            "milliseconds, with one clock reading per call.");

static PyMethodDef stopwatch_methods[] = {
    {"start", Stopwatch_start, METH_NOARGS, start_doc},
    {"lap", Stopwatch_lap, METH_NOARGS, lap_doc},
    {"stop", Stopwatch_stop, METH_NOARGS, stop_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef stopwatch_properties[] = {
    {"histogram", Stopwatch_get_histogram, NULL, "Where the laps go.", NULL},
    {"running", Stopwatch_get_running, NULL, "Whether start() has been called, and not stop().",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot stopwatch_slots[] = {
    {Py_tp_doc, (void *)stopwatch_doc},           {Py_tp_new, PFS_SLOT(Stopwatch_new)},
    {Py_tp_dealloc, PFS_SLOT(Stopwatch_dealloc)}, {Py_tp_traverse, PFS_SLOT(Stopwatch_traverse)},
    {Py_tp_clear, PFS_SLOT(Stopwatch_clear)},     {Py_tp_methods, stopwatch_methods},
    {Py_tp_getset, stopwatch_properties},         {0, NULL},
};

static PyType_Spec stopwatch_spec = {
    .name = "perfsuite.Stopwatch",
    .basicsize = sizeof(StopwatchObject),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = stopwatch_slots,
};

int pfs_exec_stopwatch(PyObject *module)
{
    return pfs_add_type(module, PFS_TYPE_STOPWATCH, &stopwatch_spec);
}
