/* RateLimiter: a bucket for each key.  A key's __eq__ and __hash__ may run anything. */
#include "py_limits.h"

#include "pfs_bucket_keyed.h"

#include <math.h>
#include <stdbool.h>

typedef struct {
    PyObject_HEAD pfs_keyed *keyed;
    PyObject *clock;
    int64_t cost_of_one; /* of pfs_rate_cost: what nearly every call takes */
    bool containers; /* whether a key may refer to other objects, so that the collector must look */
} RateLimiter;

static PyObject *RateLimiter_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"rate", "capacity", "max_keys", "clock", NULL};
    double rate = 0.0, capacity = 0.0;
    PyObject *number = NULL, *clock = NULL;
    int64_t now_ns = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "ddO|$O:RateLimiter", keywords, &rate, &capacity,
                                     &number, &clock) ||
        pfs_limit_check_rate(rate, capacity) < 0 || pfs_limit_check_clock(&clock) < 0) {
        return NULL;
    }
    Py_ssize_t max_keys = PyNumber_AsSsize_t(number, NULL); /* clips instead of overflowing */
    if (max_keys == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (max_keys < 1 || max_keys > ((Py_ssize_t)1 << 31)) {
        PyErr_Format(PyExc_ValueError, "max_keys is %R; it must be 1 ... 2**31", number);
        return NULL;
    }
    if (pfs_limit_clock(clock, &now_ns) < 0) {
        return NULL;
    }
    RateLimiter *self = (RateLimiter *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->clock = Py_XNewRef(clock);
    uint64_t seed = (uint64_t)pfs_clock_ns() * UINT64_C(0x9e3779b97f4a7c15) ^ (uintptr_t)self;
    pfs_status status = pfs_keyed_create(pfs_py_alloc(), rate, capacity, (size_t)max_keys, seed,
                                         now_ns, &self->keyed);
    if (status != PFS_OK) {
        Py_DECREF(self);
        return pfs_raise(status, "rate, capacity or max_keys");
    }
    self->cost_of_one = pfs_rate_cost(pfs_keyed_rate(self->keyed), 1.0);
    return (PyObject *)self;
}

static int RateLimiter_traverse(RateLimiter *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->clock);
    if (self->containers && self->keyed != NULL) {
        size_t cursor = 0;
        for (PyObject *key; (key = pfs_keyed_next(self->keyed, &cursor)) != NULL;) {
            Py_VISIT(key);
        }
    }
    return 0;
}

/* Takes the table away before the first key is let go: its __del__ may call us. */
static void forget(RateLimiter *self)
{
    pfs_keyed *keyed = self->keyed;
    self->keyed = NULL;
    if (keyed != NULL) {
        size_t cursor = 0;
        for (PyObject *key; (key = pfs_keyed_next(keyed, &cursor)) != NULL;) {
            Py_DECREF(key);
        }
        pfs_keyed_destroy(keyed);
    }
}

static int RateLimiter_clear(RateLimiter *self)
{
    Py_CLEAR(self->clock);
    forget(self);
    return 0;
}

static void RateLimiter_dealloc(RateLimiter *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    (void)RateLimiter_clear(self);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

/* The equality of a dict, less what need not call out.  The stored key is held meanwhile. */
static int equal_keys(void *context, void *stored, void *wanted)
{
    (void)context;
    PyObject *a = stored, *b = wanted;
    if (PyUnicode_CheckExact(a) && PyUnicode_CheckExact(b)) {
        return PyUnicode_Compare(a, b) == 0;
    }
    Py_INCREF(a);
    int same = PyObject_RichCompareBool(a, b, Py_EQ);
    Py_DECREF(a);
    return same;
}

/* Whether the collector has taken the limiter apart (it can still be called from a __del__). */
static bool taken_apart(const RateLimiter *self)
{
    if (self->keyed != NULL) {
        return false;
    }
    PyErr_SetString(PyExc_RuntimeError, "this RateLimiter has been collected");
    return true;
}

static int64_t machine_clock(bool exact)
{
    return exact ? pfs_clock_ns() : pfs_clock_behind_ns();
}

static PyObject *RateLimiter_allow(RateLimiter *self, PyObject *const *args, Py_ssize_t nargs,
                                   PyObject *names)
{
    double n = 1.0;
    int64_t now_ns = 0;
    PyObject *key = nargs == 0 ? NULL : args[0];
    if ((nargs != 1 || names != NULL) &&
        pfs_limit_args("allow", args, nargs, names, 1, &key, &n) < 0) {
        return NULL;
    }
    Py_hash_t hash = pfs_hash_of(key);
    if (hash == -1 || (self->clock != NULL && pfs_limit_clock(self->clock, &now_ns) < 0) ||
        taken_apart(self)) {
        return NULL;
    }
    int64_t cost = n == 1.0 ? self->cost_of_one : pfs_rate_cost(pfs_keyed_rate(self->keyed), n);
    if (cost < 0) {
        Py_RETURN_FALSE;
    }
    pfs_keyed_taken taken;
    pfs_status status;
    PFS_LOCK(self);
    if (self->clock == NULL) {
        status = pfs_keyed_take_by(self->keyed, (uint64_t)hash, key, machine_clock, cost,
                                   equal_keys, NULL, &taken);
    } else {
        status = pfs_keyed_take(self->keyed, (uint64_t)hash, key, now_ns, cost, equal_keys, NULL,
                                &taken);
    }
    if (taken.stored) {
        Py_INCREF(key);
        self->containers |= PyObject_IS_GC(key) != 0;
    }
    PFS_UNLOCK();
    for (unsigned i = 0; i < taken.drops; i++) {
        Py_DECREF((PyObject *)taken.dropped[i]);
    }
    if (status != PFS_OK) {
        return pfs_raise(status, "key");
    }
    return Py_NewRef(taken.allowed ? Py_True : Py_False);
}

static PyObject *RateLimiter_retry_after(RateLimiter *self, PyObject *const *args, Py_ssize_t nargs,
                                         PyObject *names)
{
    double n = 1.0, seconds = (double)INFINITY;
    int64_t now_ns = 0;
    PyObject *key = NULL;
    if (pfs_limit_args("retry_after", args, nargs, names, 1, &key, &n) < 0) {
        return NULL;
    }
    Py_hash_t hash = pfs_hash_of(key);
    if (hash == -1 || pfs_limit_clock(self->clock, &now_ns) < 0 || taken_apart(self)) {
        return NULL;
    }
    int64_t cost = pfs_rate_cost(pfs_keyed_rate(self->keyed), n);
    pfs_status status = PFS_OK;
    if (cost >= 0) {
        PFS_LOCK(self);
        status = pfs_keyed_wait(self->keyed, (uint64_t)hash, key, now_ns, cost, equal_keys, NULL,
                                &seconds);
        PFS_UNLOCK();
    }
    return status == PFS_OK ? PyFloat_FromDouble(seconds) : pfs_raise(status, "key");
}

static Py_ssize_t RateLimiter_length(RateLimiter *self)
{
    int64_t now_ns = 0;
    if (pfs_limit_clock(self->clock, &now_ns) < 0 || taken_apart(self)) {
        return -1;
    }
    size_t live;
    PFS_LOCK(self);
    live = pfs_keyed_live(self->keyed, now_ns);
    PFS_UNLOCK();
    return (Py_ssize_t)live;
}

static PyObject *RateLimiter_sizeof(RateLimiter *self, PyObject *ignored)
{
    (void)ignored;
    return PyLong_FromSize_t(sizeof *self +
                             (self->keyed == NULL ? 0 : pfs_keyed_bytes(self->keyed)));
}

static PyObject *RateLimiter_rate(RateLimiter *self, void *closure)
{
    (void)closure;
    return taken_apart(self) ? NULL : PyFloat_FromDouble(pfs_keyed_rate(self->keyed)->rate);
}

static PyObject *RateLimiter_capacity(RateLimiter *self, void *closure)
{
    (void)closure;
    return taken_apart(self) ? NULL : PyFloat_FromDouble(pfs_keyed_rate(self->keyed)->capacity);
}

static PyObject *RateLimiter_max_keys(RateLimiter *self, void *closure)
{
    (void)closure;
    return taken_apart(self) ? NULL : PyLong_FromSize_t(pfs_keyed_max_keys(self->keyed));
}

static PyObject *RateLimiter_refused_keys(RateLimiter *self, void *closure)
{
    (void)closure;
    return taken_apart(self) ? NULL : PyLong_FromUnsignedLongLong(pfs_keyed_refused(self->keyed));
}

PyDoc_STRVAR(allow_doc,
             "allow($self, /, key, n=1)\n--\n\n"
             "Take n tokens from the bucket of key if they are there now; whether they were.\n\n"
             "False too for n above the capacity, and for a new key when max_keys are live\n"
             "(refused_keys counts these).  key: anything hashable, compared as in a dict.");
PyDoc_STRVAR(limiter_retry_after_doc,
             "retry_after($self, /, key, n=1)\n--\n\n"
             "Seconds until allow(key, n) is True, if nobody else asks for key; inf: never.\n\n"
             "For a new key when max_keys are live: until one of them can go.");
PyDoc_STRVAR(sizeof_doc, "__sizeof__($self, /)\n--\n\nBytes used, less the keys themselves.");

static PyMethodDef RateLimiter_methods[] = {
    {"allow", PFS_METHOD(RateLimiter_allow), METH_FASTCALL | METH_KEYWORDS, allow_doc},
    {"retry_after", PFS_METHOD(RateLimiter_retry_after), METH_FASTCALL | METH_KEYWORDS,
     limiter_retry_after_doc},
    {"__sizeof__", PFS_METHOD(RateLimiter_sizeof), METH_NOARGS, sizeof_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef RateLimiter_getset[] = {
    {"rate", (getter)RateLimiter_rate, NULL, "Tokens that come back to a key in a second.", NULL},
    {"capacity", (getter)RateLimiter_capacity, NULL, "The most tokens that a key has.", NULL},
    {"max_keys", (getter)RateLimiter_max_keys, NULL, "The most keys held at a time.", NULL},
    {"refused_keys", (getter)RateLimiter_refused_keys, NULL,
     "How often a new key was refused because max_keys were live.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(RateLimiter_doc,
             "RateLimiter(rate, capacity, max_keys, *, clock=None)\n--\n\n"
             "A token bucket for each key; keys whose bucket is full again are let go.\n\n"
             "len() is the number of keys whose bucket is not full.  max_keys: 1 ... 2**31.\n"
             "clock: called for nanoseconds in place of the monotonic clock.");

static PyType_Slot RateLimiter_slots[] = {
    {Py_tp_doc, (void *)RateLimiter_doc},
    {Py_tp_new, PFS_SLOT(RateLimiter_new)},
    {Py_tp_dealloc, PFS_SLOT(RateLimiter_dealloc)},
    {Py_tp_traverse, PFS_SLOT(RateLimiter_traverse)},
    {Py_tp_clear, PFS_SLOT(RateLimiter_clear)},
    {Py_tp_methods, RateLimiter_methods},
    {Py_tp_getset, RateLimiter_getset},
    {Py_sq_length, PFS_SLOT(RateLimiter_length)},
    {0, NULL},
};

static PyType_Spec RateLimiter_spec = {
    .name = "perfsuite._core.RateLimiter",
    .basicsize = sizeof(RateLimiter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = RateLimiter_slots,
};

int pfs_exec_limiter(PyObject *module)
{
    return pfs_add_type(module, PFS_TYPE_RATE_LIMITER, &RateLimiter_spec);
}
