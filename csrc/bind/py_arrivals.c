/* Arrivals: an iterator of due times. */
#include "pfs_py.h"
#include "py_whole.h"

#include "pfs_arrivals.h"

typedef struct {
    PyObject_HEAD pfs_arrivals arrivals;
} Arrivals;

static const char *const KINDS[PFS_ARRIVALS_KINDS] = {"constant", "poisson", "ramp", "step"};

static PyObject *Arrivals_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"kind",  "rate",   "start_rate", "duration_s",
                            "steps", "random", "seed",       NULL};
    const char *kind = NULL;
    PyObject *start_rate = Py_None, *duration = Py_None, *steps = NULL, *seed = NULL;
    int64_t count = 5;
    int random = 0;
    pfs_arrivals_spec spec = {.kind = PFS_ARRIVALS_KINDS};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "sd|$OOOpO:Arrivals", names, &kind, &spec.rate,
                                     &start_rate, &duration, &steps, &random, &seed)) {
        return NULL;
    }
    for (int i = 0; i < PFS_ARRIVALS_KINDS; i++) {
        if (strcmp(kind, KINDS[i]) == 0) {
            spec.kind = (pfs_arrivals_kind)i;
        }
    }
    if (spec.kind == PFS_ARRIVALS_KINDS) {
        PyErr_Format(PyExc_ValueError,
                     "unknown kind of arrivals '%.100s'; known: constant, poisson, ramp, step",
                     kind);
        return NULL;
    }
    if ((steps != NULL && pfs_whole_read(steps, "steps", 0, UINT32_MAX, &count) < 0) ||
        (seed != NULL && pfs_whole_unsigned(seed, "seed", &spec.seed) < 0)) {
        return NULL;
    }
    spec.steps = (uint32_t)count;
    spec.random = random != 0;
    if (spec.kind == PFS_ARRIVALS_STEP && count > 0) {
        spec.start_rate = spec.rate / (double)count;
    }
    if (start_rate != Py_None) {
        spec.start_rate = PyFloat_AsDouble(start_rate);
    }
    if (duration != Py_None) {
        spec.duration_s = PyFloat_AsDouble(duration);
    }
    if (PyErr_Occurred()) {
        return NULL;
    }
    pfs_arrivals made;
    if (pfs_arrivals_init(&made, &spec) != PFS_OK) {
        PyErr_SetString(PyExc_ValueError,
                        "arrivals need a rate above 0 and at most 1e9 a second; ramp and step also "
                        "duration_s above 0, start_rate of 0 or more, and steps of 1 or more");
        return NULL;
    }
    Arrivals *self = (Arrivals *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->arrivals = made;
    }
    return (PyObject *)self;
}

static void Arrivals_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyObject *Arrivals_next(PyObject *object)
{
    Arrivals *self = (Arrivals *)object;
    int64_t due = 0;
    pfs_status status;
    PFS_LOCK(object);
    status = pfs_arrivals_next(&self->arrivals, &due);
    PFS_UNLOCK();
    return status == PFS_OK ? PyLong_FromLongLong(due) : NULL; /* NULL alone: StopIteration */
}

PyDoc_STRVAR(Arrivals_take_doc,
             "take($self, n, /)\n--\n\n"
             "The next n due times as a list; shorter when the schedule ends before.");

static PyObject *Arrivals_take(PyObject *object, PyObject *arg)
{
    int64_t n;
    if (pfs_whole_read(arg, "take: n", 0, INT64_MAX, &n) < 0) {
        return NULL;
    }
    PyObject *list = PyList_New(0);
    for (int64_t i = 0; list != NULL && i < n; i++) {
        PyObject *due = Arrivals_next(object);
        if (due == NULL) {
            if (PyErr_Occurred()) {
                Py_CLEAR(list);
            }
            break;
        }
        if (PyList_Append(list, due) < 0) {
            Py_CLEAR(list);
        }
        Py_DECREF(due);
        if ((i & 0xffff) == 0xffff && list != NULL && PyErr_CheckSignals() < 0) {
            Py_CLEAR(list); /* Ctrl-C */
        }
    }
    return list;
}

static PyMethodDef Arrivals_methods[] = {
    {"take", Arrivals_take, METH_O, Arrivals_take_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(
    Arrivals_doc,
    "Arrivals(kind, rate, *, start_rate=None, duration_s=None, steps=5, random=False, seed=0)\n"
    "--\n\n"
    "When the requests of an open loop fall due: an iterator of nanoseconds from the start.\n\n"
    "kind: 'constant' (evenly spaced) or 'poisson' (random) at `rate` a second; 'ramp' (in a line\n"
    "from start_rate [0] to `rate` over duration_s) or 'step' (in `steps` stairs from start_rate\n"
    "[rate / steps] to `rate`), evenly spaced, or with random=True a Poisson process.  The same\n"
    "seed gives the same instants.  Ends when the rate has fallen to 0; otherwise never.");

static PyType_Slot Arrivals_slots[] = {
    {Py_tp_doc, PFS_SLOT(Arrivals_doc)},
    {Py_tp_new, PFS_SLOT(Arrivals_new)},
    {Py_tp_dealloc, PFS_SLOT(Arrivals_dealloc)},
    {Py_tp_iter, PFS_SLOT(PyObject_SelfIter)},
    {Py_tp_iternext, PFS_SLOT(Arrivals_next)},
    {Py_tp_methods, PFS_SLOT(Arrivals_methods)},
    {0, NULL},
};

static PyType_Spec Arrivals_spec = {
    .name = "perfsuite._core.Arrivals",
    .basicsize = sizeof(Arrivals),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = Arrivals_slots,
};

int pfs_exec_arrivals(PyObject *module)
{
    return pfs_add_type(module, PFS_TYPE_ARRIVALS, &Arrivals_spec);
}
