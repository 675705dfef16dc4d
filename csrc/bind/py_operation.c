/* perfsuite.Operation: what is known of one operation of a service, and perfsuite.OperationTimer,
 * which times one run of it.  Together they are the hot path of PerformanceMonitor.operation. */
#include "py_histogram.h"

#include "pfs_clock.h"
#include "pfs_minute.h"

typedef struct {
    PyObject_HEAD PyObject *name; /* a str, from __new__ to clear, as are the next three */
    PyObject *histogram;          /* of the milliseconds of every run */
    PyObject *report;             /* called as report(name, ms, exception type or None), or None */
    PyObject *always;             /* called: whether every run is to be reported; or None */
    double report_above_ms;
    double last_ms;   /* of the run that ended last; NaN before the first */
    int64_t ended_ns; /* when that was; meaningless before the first */
    uint64_t failed, cancelled;
    int64_t running;
    pfs_minute minute;
} OperationObject;

typedef struct {
    PyObject_HEAD PyObject *operation; /* an Operation, from __new__ to clear */
    int64_t start;                     /* ns; meaningful while running */
    double elapsed_ms;                 /* NaN before the first end */
    bool running;
} TimerObject;

/* ── Operation ── */

static PyObject *Operation_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"name", "histogram", "report", "report_above_ms", "always", NULL};
    PyObject *name, *histogram, *report = Py_None, *always = Py_None;
    double above = Py_HUGE_VAL;
    pfs_state *state = pfs_state_of_type(type);
    if (state == NULL ||
        !PyArg_ParseTupleAndKeywords(args, kwargs, "UO|OdO:Operation", names, &name, &histogram,
                                     &report, &above, &always) ||
        pfs_py_histogram_get(state, histogram, "histogram") == NULL) {
        return NULL;
    }
    if (report != Py_None && !PyCallable_Check(report)) {
        return PyErr_Format(PyExc_TypeError, "report must be callable or None, not '%.100s'",
                            Py_TYPE(report)->tp_name);
    }
    if (always != Py_None && !PyCallable_Check(always)) {
        return PyErr_Format(PyExc_TypeError, "always must be callable or None, not '%.100s'",
                            Py_TYPE(always)->tp_name);
    }
    if (above != above) {
        return PyErr_Format(PyExc_ValueError, "report_above_ms must be a number, not NaN");
    }
    OperationObject *self = (OperationObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->name = Py_NewRef(name);
        self->histogram = Py_NewRef(histogram);
        self->report = Py_NewRef(report);
        self->always = Py_NewRef(always);
        self->report_above_ms = above;
        self->last_ms = Py_NAN;
        pfs_minute_init(&self->minute);
    }
    return (PyObject *)self;
}

static int Operation_traverse(PyObject *object, visitproc visit, void *arg)
{
    OperationObject *self = (OperationObject *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->name);
    Py_VISIT(self->histogram);
    Py_VISIT(self->report);
    Py_VISIT(self->always);
    return 0;
}

static int Operation_clear(PyObject *object)
{
    OperationObject *self = (OperationObject *)object;
    Py_CLEAR(self->name);
    Py_CLEAR(self->histogram);
    Py_CLEAR(self->report);
    Py_CLEAR(self->always);
    return 0;
}

static void Operation_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    (void)Operation_clear(object);
    type->tp_free(object);
    Py_DECREF(type);
}

/* Tells `report` of a run, if it is a long one or all are to be told of.  0, or -1 with an
 * exception. */
static int tell(OperationObject *self, double ms, PyObject *kind)
{
    if (self->report == Py_None) {
        return 0;
    }
    if (ms < self->report_above_ms) {
        if (self->always == Py_None) {
            return 0;
        }
        PyObject *answer = PyObject_CallNoArgs(self->always);
        int all = answer == NULL ? -1 : PyObject_IsTrue(answer);
        Py_XDECREF(answer);
        if (all <= 0) {
            return all;
        }
    }
    PyObject *took = PyFloat_FromDouble(ms);
    if (took == NULL) {
        return -1;
    }
    PyObject *answer = PyObject_CallFunctionObjArgs(self->report, self->name, took,
                                                    kind == NULL ? Py_None : kind, NULL);
    Py_DECREF(took);
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

/* One run more that took `ms` and ended at `now`, with `kind`, a type of exception or NULL.  0, or
 * -1 with an exception: MemoryError with the run uncounted, or that of a callable, with it. */
static int take(OperationObject *self, int64_t now, double ms, PyObject *kind)
{
    if (self->histogram == NULL) { /* only while a cycle is being collected */
        PyErr_SetString(PyExc_RuntimeError, "the operation is being taken down");
        return -1;
    }
    pfs_status status;
    PFS_LOCK(self->histogram);
    status = pfs_histogram_record(&((HistogramObject *)self->histogram)->histogram, ms);
    PFS_UNLOCK();
    if (status != PFS_OK) {
        (void)pfs_raise(status, "the operation's time");
        return -1;
    }
    /* What ends with CancelledError, GeneratorExit, KeyboardInterrupt or SystemExit was given up.
     */
    bool failed = kind != NULL && PyErr_GivenExceptionMatches(kind, PyExc_Exception);
    PFS_LOCK((PyObject *)self);
    self->last_ms = ms;
    self->ended_ns = now;
    self->failed += failed;
    self->cancelled += kind != NULL && !failed;
    pfs_minute_add(&self->minute, now);
    PFS_UNLOCK();
    Py_INCREF(self); /* what is called may be the last to let go of it */
    int told = tell(self, ms, kind);
    Py_DECREF(self);
    return told;
}

static PyObject *Operation_record(PyObject *object, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"ms", "error", NULL};
    double ms;
    PyObject *kind = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "d|O:record", names, &ms, &kind)) {
        return NULL;
    }
    if (!(ms >= 0.0 && ms < Py_HUGE_VAL)) {
        return PyErr_Format(PyExc_ValueError, "record: ms must be 0 or more, and finite");
    }
    if (kind != Py_None && !PyExceptionClass_Check(kind)) {
        return PyErr_Format(PyExc_TypeError,
                            "record: error must be a type of exception or None, not '%.100s'",
                            Py_TYPE(kind)->tp_name);
    }
    if (take((OperationObject *)object, pfs_clock_ns(), ms, kind == Py_None ? NULL : kind) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *Operation_get_name(PyObject *object, void *closure)
{
    (void)closure;
    PyObject *name = ((OperationObject *)object)->name;
    return Py_NewRef(name == NULL ? Py_None : name);
}

static PyObject *Operation_get_histogram(PyObject *object, void *closure)
{
    (void)closure;
    PyObject *histogram = ((OperationObject *)object)->histogram;
    return Py_NewRef(histogram == NULL ? Py_None : histogram);
}

static PyObject *Operation_get_last_ms(PyObject *object, void *closure)
{
    (void)closure;
    double ms = ((OperationObject *)object)->last_ms;
    return ms != ms ? Py_NewRef(Py_None) : PyFloat_FromDouble(ms);
}

static PyObject *Operation_get_ended_ns(PyObject *object, void *closure)
{
    (void)closure;
    OperationObject *self = (OperationObject *)object;
    return self->last_ms != self->last_ms ? Py_NewRef(Py_None)
                                          : PyLong_FromLongLong(self->ended_ns);
}

static PyObject *Operation_get_failed(PyObject *object, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLongLong(((OperationObject *)object)->failed);
}

static PyObject *Operation_get_cancelled(PyObject *object, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLongLong(((OperationObject *)object)->cancelled);
}

static PyObject *Operation_get_running(PyObject *object, void *closure)
{
    (void)closure;
    return PyLong_FromLongLong(((OperationObject *)object)->running);
}

static PyObject *Operation_get_last_minute(PyObject *object, void *closure)
{
    (void)closure;
    uint64_t count;
    PFS_LOCK(object);
    count = pfs_minute_count(&((OperationObject *)object)->minute, pfs_clock_ns());
    PFS_UNLOCK();
    return PyLong_FromUnsignedLongLong(count);
}

static PyObject *Operation_get_above(PyObject *object, void *closure)
{
    (void)closure;
    return PyFloat_FromDouble(((OperationObject *)object)->report_above_ms);
}

static int Operation_set_above(PyObject *object, PyObject *value, void *closure)
{
    (void)closure;
    double ms;
    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "report_above_ms cannot be deleted");
        return -1;
    }
    if (pfs_py_double(value, &ms) < 0) {
        return -1;
    }
    if (ms != ms) {
        PyErr_SetString(PyExc_ValueError, "report_above_ms must be a number, not NaN");
        return -1;
    }
    ((OperationObject *)object)->report_above_ms = ms;
    return 0;
}

/* ── OperationTimer ── */

static PyObject *Timer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    pfs_state *state = pfs_state_of_type(type);
    if (state == NULL) {
        return NULL;
    }
    if (PyTuple_GET_SIZE(args) != 1 || (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0)) {
        return PyErr_Format(PyExc_TypeError, "OperationTimer takes an Operation");
    }
    PyObject *operation = PyTuple_GET_ITEM(args, 0);
    if (!Py_IS_TYPE(operation, state->types[PFS_TYPE_OPERATION])) {
        return PyErr_Format(PyExc_TypeError, "operation must be an Operation, not '%.100s'",
                            Py_TYPE(operation)->tp_name);
    }
    TimerObject *self = (TimerObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->operation = Py_NewRef(operation);
        self->elapsed_ms = Py_NAN;
    }
    return (PyObject *)self;
}

static int Timer_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((TimerObject *)object)->operation);
    return 0;
}

/* A timer that goes without an end is no longer running. */
static void abandon(TimerObject *self)
{
    OperationObject *operation = (OperationObject *)self->operation;
    if (self->running && operation != NULL) {
        PFS_LOCK((PyObject *)operation);
        operation->running--;
        PFS_UNLOCK();
    }
    self->running = false;
}

static int Timer_clear(PyObject *object)
{
    abandon((TimerObject *)object);
    Py_CLEAR(((TimerObject *)object)->operation);
    return 0;
}

static void Timer_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    (void)Timer_clear(object);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyObject *Timer_enter(PyObject *object, PyObject *unused)
{
    (void)unused;
    TimerObject *self = (TimerObject *)object;
    OperationObject *operation = (OperationObject *)self->operation;
    bool busy;
    PFS_LOCK(object);
    busy = self->running || operation == NULL;
    self->running = true;
    PFS_UNLOCK();
    if (busy) {
        return PyErr_Format(PyExc_RuntimeError, "this timer is running already: call operation() "
                                                "again for each run that overlaps another");
    }
    PFS_LOCK((PyObject *)operation);
    operation->running++;
    PFS_UNLOCK();
    self->start = pfs_clock_ns();
    return Py_NewRef(object);
}

static PyObject *Timer_exit(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    int64_t now = pfs_clock_ns(), start = 0;
    TimerObject *self = (TimerObject *)object;
    if (count != 3) {
        return PyErr_Format(PyExc_TypeError, "__exit__ takes 3 arguments, got %zd", count);
    }
    bool running;
    PFS_LOCK(object);
    running = self->running;
    start = self->start;
    abandon(self);
    PFS_UNLOCK();
    if (!running) {
        return PyErr_Format(PyExc_RuntimeError,
                            "this timer is not running: use it in a with statement");
    }
    double ms = now > start ? (double)(now - start) / 1e6 : 0.0;
    self->elapsed_ms = ms;
    PyObject *kind = args[0] == Py_None ? NULL : args[0];
    if (take((OperationObject *)self->operation, now, ms, kind) < 0) {
        return NULL;
    }
    Py_RETURN_FALSE;
}

static PyObject *Timer_get_elapsed(PyObject *object, void *closure)
{
    (void)closure;
    double ms = ((TimerObject *)object)->elapsed_ms;
    return ms != ms ? Py_NewRef(Py_None) : PyFloat_FromDouble(ms);
}

static PyObject *Timer_get_operation(PyObject *object, void *closure)
{
    (void)closure;
    PyObject *operation = ((TimerObject *)object)->operation;
    return Py_NewRef(operation == NULL ? Py_None : operation);
}

/* ── the types ── */

PyDoc_STRVAR(
    operation_doc,
    "Operation(name, histogram, report=None, report_above_ms=1e999, always=None)\n--\n\n"
    "What is known of one operation: the milliseconds of its runs, how many failed or were "
    "cancelled.\n\nreport(name, ms, error) is called at the end of a run of "
    "report_above_ms or more, in its thread;\nerror is the type of exception that ended "
    "it, or None. always() says whether shorter runs are\nreported too.");
PyDoc_STRVAR(record_doc, "record($self, /, ms, error=None)\n--\n\n"
                         "A run that took so many milliseconds, and the type of exception that "
                         "ended it.");
PyDoc_STRVAR(timer_doc, "OperationTimer(operation, /)\n--\n\n"
                        "Times one run of an Operation after another, as a context manager.");
PyDoc_STRVAR(enter_doc, "__enter__($self, /)\n--\n\nStart. RuntimeError when it is running.");
PyDoc_STRVAR(exit_doc, "__exit__($self, error, value, traceback, /)\n--\n\n"
                       "End, and count; the exception goes on.");

static PyMethodDef operation_methods[] = {
    {"record", PFS_METHOD(Operation_record), METH_VARARGS | METH_KEYWORDS, record_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef operation_properties[] = {
    {"name", Operation_get_name, NULL, "Its name.", NULL},
    {"histogram", Operation_get_histogram, NULL, "The milliseconds of its runs.", NULL},
    {"failed", Operation_get_failed, NULL, "Runs that ended with an Exception.", NULL},
    {"cancelled", Operation_get_cancelled, NULL,
     "Runs that were given up: ended with a BaseException that is no Exception.", NULL},
    {"running", Operation_get_running, NULL, "Runs under way.", NULL},
    {"last_ms", Operation_get_last_ms, NULL, "Of the run that ended last, or None.", NULL},
    {"ended_ns", Operation_get_ended_ns, NULL,
     "When that run ended, on the clock of time.monotonic_ns, or None.", NULL},
    {"last_minute", Operation_get_last_minute, NULL, "Runs that ended in the last minute.", NULL},
    {"report_above_ms", Operation_get_above, Operation_set_above,
     "Runs of so many milliseconds or more are reported.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot operation_slots[] = {
    {Py_tp_doc, (void *)operation_doc},           {Py_tp_new, PFS_SLOT(Operation_new)},
    {Py_tp_dealloc, PFS_SLOT(Operation_dealloc)}, {Py_tp_traverse, PFS_SLOT(Operation_traverse)},
    {Py_tp_clear, PFS_SLOT(Operation_clear)},     {Py_tp_methods, operation_methods},
    {Py_tp_getset, operation_properties},         {0, NULL},
};

static PyType_Spec operation_spec = {
    .name = "perfsuite.Operation",
    .basicsize = sizeof(OperationObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = operation_slots,
};

static PyMethodDef timer_methods[] = {
    {"__enter__", Timer_enter, METH_NOARGS, enter_doc},
    {"__exit__", PFS_METHOD(Timer_exit), METH_FASTCALL, exit_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef timer_properties[] = {
    {"operation", Timer_get_operation, NULL, "What it times.", NULL},
    {"elapsed_ms", Timer_get_elapsed, NULL, "Of the run that ended last, or None.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot timer_slots[] = {
    {Py_tp_doc, (void *)timer_doc},           {Py_tp_new, PFS_SLOT(Timer_new)},
    {Py_tp_dealloc, PFS_SLOT(Timer_dealloc)}, {Py_tp_traverse, PFS_SLOT(Timer_traverse)},
    {Py_tp_clear, PFS_SLOT(Timer_clear)},     {Py_tp_methods, timer_methods},
    {Py_tp_getset, timer_properties},         {0, NULL},
};

static PyType_Spec timer_spec = {
    .name = "perfsuite.OperationTimer",
    .basicsize = sizeof(TimerObject),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = timer_slots,
};

int pfs_exec_operation(PyObject *module)
{
    if (pfs_add_type(module, PFS_TYPE_OPERATION, &operation_spec) < 0) {
        return -1;
    }
    return pfs_add_type(module, PFS_TYPE_OPERATION_TIMER, &timer_spec);
}
