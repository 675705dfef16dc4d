/* TokenBucket.  Waiting (acquire, wait) is perfsuite.limits, over try_acquire. */
#include "py_limits.h"

#include "pfs_bucket.h"

#include <math.h>

typedef struct {
    PyObject_HEAD pfs_bucket bucket;
    PyObject *clock;
} TokenBucket;

static PyObject *TokenBucket_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"rate", "capacity", "clock", NULL};
    double rate = 0.0, capacity = 0.0;
    PyObject *clock = NULL;
    int64_t now_ns = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "dd|$O:TokenBucket", keywords, &rate, &capacity,
                                     &clock) ||
        pfs_limit_check_rate(rate, capacity) < 0 || pfs_limit_check_clock(&clock) < 0 ||
        pfs_limit_clock(clock, &now_ns) < 0) {
        return NULL;
    }
    TokenBucket *self = (TokenBucket *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->clock = Py_XNewRef(clock);
    pfs_status status = pfs_bucket_init(&self->bucket, rate, capacity, now_ns);
    if (status != PFS_OK) {
        Py_DECREF(self);
        return pfs_raise(status, "rate or capacity");
    }
    return (PyObject *)self;
}

static int TokenBucket_traverse(TokenBucket *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->clock);
    return 0;
}

static int TokenBucket_clear(TokenBucket *self)
{
    Py_CLEAR(self->clock);
    return 0;
}

static void TokenBucket_dealloc(TokenBucket *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    (void)TokenBucket_clear(self);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyObject *TokenBucket_try_acquire(TokenBucket *self, PyObject *const *args, Py_ssize_t nargs,
                                         PyObject *names)
{
    double n = 1.0;
    int64_t now_ns = 0;
    if ((nargs != 0 || names != NULL) &&
        pfs_limit_args("try_acquire", args, nargs, names, 0, NULL, &n) < 0) {
        return NULL;
    }
    if (pfs_limit_clock(self->clock, &now_ns) < 0) {
        return NULL;
    }
    bool taken;
    PFS_LOCK(self);
    int64_t cost = pfs_rate_cost(&self->bucket.rate, n);
    taken = cost >= 0 && pfs_bucket_take(&self->bucket, now_ns, cost);
    PFS_UNLOCK();
    return Py_NewRef(taken ? Py_True : Py_False);
}

static PyObject *TokenBucket_retry_after(TokenBucket *self, PyObject *const *args, Py_ssize_t nargs,
                                         PyObject *names)
{
    double n = 1.0, seconds = (double)INFINITY;
    int64_t now_ns = 0;
    if (pfs_limit_args("retry_after", args, nargs, names, 0, NULL, &n) < 0 ||
        pfs_limit_clock(self->clock, &now_ns) < 0) {
        return NULL;
    }
    PFS_LOCK(self);
    int64_t cost = pfs_rate_cost(&self->bucket.rate, n);
    if (cost >= 0) {
        seconds = pfs_bucket_wait(&self->bucket, now_ns, cost);
    }
    PFS_UNLOCK();
    return PyFloat_FromDouble(seconds);
}

static PyObject *TokenBucket_available(TokenBucket *self, void *closure)
{
    (void)closure;
    int64_t now_ns = 0;
    if (pfs_limit_clock(self->clock, &now_ns) < 0) {
        return NULL;
    }
    double tokens;
    PFS_LOCK(self);
    tokens = pfs_bucket_available(&self->bucket, now_ns);
    PFS_UNLOCK();
    return PyFloat_FromDouble(tokens);
}

static PyObject *TokenBucket_rate(TokenBucket *self, void *closure)
{
    (void)closure;
    return PyFloat_FromDouble(self->bucket.rate.rate);
}

static PyObject *TokenBucket_capacity(TokenBucket *self, void *closure)
{
    (void)closure;
    return PyFloat_FromDouble(self->bucket.rate.capacity);
}

PyDoc_STRVAR(try_acquire_doc, "try_acquire($self, /, n=1)\n--\n\n"
                              "Take n tokens if they are there now; whether they were.\n\n"
                              "Never waits; False when n is above the capacity.");
PyDoc_STRVAR(retry_after_doc, "retry_after($self, /, n=1)\n--\n\n"
                              "Seconds until n tokens are there, if nobody else takes any.\n\n"
                              "0.0 when they are there now, inf when they never will be.");

static PyMethodDef TokenBucket_methods[] = {
    {"try_acquire", PFS_METHOD(TokenBucket_try_acquire), METH_FASTCALL | METH_KEYWORDS,
     try_acquire_doc},
    {"retry_after", PFS_METHOD(TokenBucket_retry_after), METH_FASTCALL | METH_KEYWORDS,
     retry_after_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef TokenBucket_getset[] = {
    {"available", (getter)TokenBucket_available, NULL, "Tokens that are there now.", NULL},
    {"rate", (getter)TokenBucket_rate, NULL, "Tokens that come back in a second.", NULL},
    {"capacity", (getter)TokenBucket_capacity, NULL, "The most tokens it holds.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(TokenBucket_doc, "TokenBucket(rate, capacity, *, clock=None)\n--\n\n"
                              "A bucket of `capacity` tokens that gains `rate` a second (GCRA).\n\n"
                              "clock: called for nanoseconds in place of the monotonic clock.");

static PyType_Slot TokenBucket_slots[] = {
    {Py_tp_doc, (void *)TokenBucket_doc},
    {Py_tp_new, PFS_SLOT(TokenBucket_new)},
    {Py_tp_dealloc, PFS_SLOT(TokenBucket_dealloc)},
    {Py_tp_traverse, PFS_SLOT(TokenBucket_traverse)},
    {Py_tp_clear, PFS_SLOT(TokenBucket_clear)},
    {Py_tp_methods, TokenBucket_methods},
    {Py_tp_getset, TokenBucket_getset},
    {0, NULL},
};

static PyType_Spec TokenBucket_spec = {
    .name = "perfsuite._core.TokenBucket",
    .basicsize = sizeof(TokenBucket),
    .flags =
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = TokenBucket_slots,
};

int pfs_exec_bucket(PyObject *module)
{
    return pfs_add_type(module, PFS_TYPE_TOKEN_BUCKET, &TokenBucket_spec);
}
