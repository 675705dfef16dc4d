/* Row: one request under way.  A handle into its Events' slab, which it keeps alive. */
#include "py_events.h"
#include "py_whole.h"

typedef struct {
    PyObject_HEAD Events *events;
    pfs_events_row row;     /* 0: ended */
    pfs_events_so_far last; /* what it held when it ended, */
    int64_t end_ns;         /* and when that was */
} Row;

#define MOST_TOKENS INT64_C(1000000000)

int pfs_py_arguments(const char *function, const char *const *names, PyObject *const *args,
                     Py_ssize_t nargs, PyObject *kwnames, PyObject **values)
{
    Py_ssize_t known = 0, keywords = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    while (names[known] != NULL) {
        known++;
    }
    if (nargs > known) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %zd arguments (%zd given)", function,
                     known, nargs);
        return -1;
    }
    for (Py_ssize_t i = 0; i < nargs; i++) {
        values[i] = args[i];
    }
    for (Py_ssize_t k = 0; k < keywords; k++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, k);
        Py_ssize_t i = 0;
        while (i < known && PyUnicode_CompareWithASCIIString(name, names[i]) != 0) {
            i++;
        }
        if (i == known || i < nargs) {
            PyErr_Format(PyExc_TypeError,
                         i == known ? "%s() has no argument named '%U'"
                                    : "%s() got argument '%U' twice",
                         function, name);
            return -1;
        }
        values[i] = args[nargs + k];
    }
    return 0;
}

static PyObject *finished(pfs_status status)
{
    if (status == PFS_OK) {
        Py_RETURN_NONE;
    }
    if (status == PFS_EINVAL) {
        PyErr_SetString(PyExc_RuntimeError, "this row has ended: begin a new one for each request");
        return NULL;
    }
    return pfs_raise(status, "the row");
}

PyObject *pfs_py_row_new(pfs_state *state, Events *events, pfs_events_row row)
{
    PyTypeObject *type = state->types[PFS_TYPE_ROW];
    Row *self = (Row *)type->tp_alloc(type, 0);
    if (self == NULL) {
        static const pfs_events_outcome CANCELLED = {PFS_EVENTS_CANCELLED, -1, -1, 0, false};
        PFS_LOCK((PyObject *)events);
        (void)pfs_events_end(events->events, row, &CANCELLED, pfs_clock_ns());
        PFS_UNLOCK();
        Py_DECREF(events);
        return NULL;
    }
    self->events = events;
    self->row = row;
    return (PyObject *)self;
}

/* Ends the row if nobody did.  PFS_ENOMEM is dropped with the row: counts.unrecorded has it. */
static void cancel(Row *self)
{
    static const pfs_events_outcome CANCELLED = {PFS_EVENTS_CANCELLED, -1, -1, 0, false};
    if (self->row != 0) {
        PFS_LOCK((PyObject *)self->events);
        (void)pfs_events_end(self->events->events, self->row, &CANCELLED, pfs_clock_ns());
        self->row = 0;
        PFS_UNLOCK();
    }
}

static int Row_traverse(PyObject *object, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((Row *)object)->events);
    return 0;
}

/* There is no tp_clear: Events holds no Python objects, so a row is in no cycle that is not also
 * one of its type, which the type's own tp_clear breaks. */
static void Row_dealloc(PyObject *object)
{
    Row *self = (Row *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    cancel(self);
    Py_XDECREF(self->events);
    type->tp_free(object);
    Py_DECREF(type);
}

PyDoc_STRVAR(Row_sent_doc, "sent($self, at_ns=None)\n--\n\n"
                           "The request leaves, now or at a stamp (time.monotonic_ns).");

static PyObject *Row_sent(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames)
{
    static const char *const names[] = {"at_ns", NULL};
    Row *self = (Row *)object;
    PyObject *values[1] = {NULL};
    int64_t at = pfs_clock_ns();
    if ((nargs > 0 || kwnames != NULL) &&
        (pfs_py_arguments("sent", names, args, nargs, kwnames, values) < 0 ||
         pfs_whole_or(values[0], "at_ns", at, &at) < 0)) {
        return NULL;
    }
    pfs_status status;
    PFS_LOCK((PyObject *)self->events);
    status = pfs_events_sent(self->events->events, self->row, at);
    PFS_UNLOCK();
    return finished(status);
}

PyDoc_STRVAR(Row_token_doc,
             "token($self, n=1, visible=True, at_ns=None)\n--\n\n"
             "A chunk of content with n tokens arrived, now or at a stamp.  visible: part of the\n"
             "answer, not of reasoning or a tool call.  n = 0 (a role-only or empty delta) is no\n"
             "content and leaves no mark.");

static PyObject *Row_token(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames)
{
    static const char *const names[] = {"n", "visible", "at_ns", NULL};
    Row *self = (Row *)object;
    int64_t at = pfs_clock_ns(), n = 1;
    int visible = 1;
    if (nargs > 0 || kwnames != NULL) {
        PyObject *values[3] = {NULL, NULL, NULL};
        if (pfs_py_arguments("token", names, args, nargs, kwnames, values) < 0 ||
            pfs_whole_or(values[0], "n", 1, &n) < 0 ||
            pfs_whole_or(values[2], "at_ns", at, &at) < 0) {
            return NULL;
        }
        if (values[1] != NULL && (visible = PyObject_IsTrue(values[1])) < 0) {
            return NULL;
        }
        if (n < 0 || n > MOST_TOKENS) {
            return PyErr_Format(PyExc_ValueError,
                                "token(n): n is the tokens of one chunk, 0 or more, not %lld",
                                (long long)n);
        }
    }
    pfs_status status;
    PFS_LOCK((PyObject *)self->events);
    status = pfs_events_token(self->events->events, self->row, (uint64_t)n, visible != 0, at);
    PFS_UNLOCK();
    return finished(status);
}

static int tokens_told(PyObject *value, const char *name, int64_t *out)
{
    if (pfs_whole_or(value, name, -1, out) < 0) {
        return -1;
    }
    if (*out < -1 || *out > MOST_TOKENS) {
        PyErr_Format(PyExc_ValueError, "end(): %s is a count of tokens, or None, not %lld", name,
                     (long long)*out);
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(
    Row_end_doc,
    "end($self, status=0, prompt_tokens=None, completion_tokens=None, bytes=0, at_ns=None, "
    "counted=False)\n"
    "--\n\n"
    "The request ended, now or at a stamp: its last byte, or the moment it failed.\n\n"
    "status is an index of ERROR_KINDS, 0 a success.  Token counts are those that the server\n"
    "told; None or -1 where it did not; counted: the completion tokens are the client's own\n"
    "count, because it did not.  A row ends once; one that is dropped before is ended as\n"
    "cancelled.");

static PyObject *Row_end(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                         PyObject *kwnames)
{
    static const char *const names[] = {
        "status", "prompt_tokens", "completion_tokens", "bytes", "at_ns", "counted", NULL};
    Row *self = (Row *)object;
    int64_t at = pfs_clock_ns(), status = 0, bytes = 0;
    PyObject *values[6] = {NULL, NULL, NULL, NULL, NULL, NULL};
    pfs_events_outcome outcome;
    if (pfs_py_arguments("end", names, args, nargs, kwnames, values) < 0 ||
        pfs_whole_or(values[0], "status", 0, &status) < 0 ||
        tokens_told(values[1], "prompt_tokens", &outcome.prompt_tokens) < 0 ||
        tokens_told(values[2], "completion_tokens", &outcome.completion_tokens) < 0 ||
        pfs_whole_or(values[3], "bytes", 0, &bytes) < 0 ||
        pfs_whole_or(values[4], "at_ns", at, &at) < 0) {
        return NULL;
    }
    if (status < 0 || status >= PFS_EVENTS_STATUSES || bytes < 0) {
        return PyErr_Format(PyExc_ValueError,
                            "end(): status is an index of ERROR_KINDS (0 to %d) and bytes are 0 or "
                            "more, not %lld and %lld",
                            PFS_EVENTS_STATUSES - 1, (long long)status, (long long)bytes);
    }
    outcome.status = (pfs_events_status)status;
    outcome.bytes = (uint64_t)bytes;
    int counted = values[5] == NULL ? 0 : PyObject_IsTrue(values[5]);
    if (counted < 0) {
        return NULL;
    }
    outcome.counted = counted != 0;
    pfs_status ended;
    PFS_LOCK((PyObject *)self->events);
    if (self->row != 0) {
        (void)pfs_events_look(self->events->events, self->row, &self->last);
        self->end_ns = at;
    }
    ended = pfs_events_end(self->events->events, self->row, &outcome, at);
    self->row = 0;
    PFS_UNLOCK();
    return finished(ended);
}

/* What the row holds now, or held when it ended. */
static pfs_events_so_far so_far(PyObject *object)
{
    Row *self = (Row *)object;
    pfs_events_so_far found;
    PFS_LOCK((PyObject *)self->events);
    found = self->last;
    if (self->row != 0) {
        (void)pfs_events_look(self->events->events, self->row, &found); /* live: cannot fail */
    }
    PFS_UNLOCK();
    return found;
}

static PyObject *Row_get_tokens(PyObject *object, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLongLong(so_far(object).tokens);
}

/* later - earlier in milliseconds, None when one was not stamped. */
static PyObject *between(int64_t later, int64_t earlier)
{
    if (later == PFS_EVENTS_NONE || earlier == PFS_EVENTS_NONE) {
        Py_RETURN_NONE;
    }
    return PyFloat_FromDouble(
        later <= earlier ? 0.0 : (double)((uint64_t)later - (uint64_t)earlier) * 1e-6);
}

static PyObject *Row_get_due(PyObject *object, void *closure)
{
    (void)closure;
    return PyLong_FromLongLong(so_far(object).due);
}

static PyObject *Row_get_ttft(PyObject *object, void *closure)
{
    (void)closure;
    pfs_events_so_far found = so_far(object);
    return between(found.first, found.due);
}

static PyObject *Row_get_response_time(PyObject *object, void *closure)
{
    (void)closure;
    pfs_events_so_far found = so_far(object);
    int64_t end;
    PFS_LOCK((PyObject *)((Row *)object)->events);
    end = ((Row *)object)->row == 0 ? ((Row *)object)->end_ns : PFS_EVENTS_NONE;
    PFS_UNLOCK();
    return between(end, found.due);
}

static PyObject *Row_get_ended(PyObject *object, void *closure)
{
    (void)closure;
    bool ended;
    PFS_LOCK((PyObject *)((Row *)object)->events);
    ended = ((Row *)object)->row == 0;
    PFS_UNLOCK();
    return PyBool_FromLong(ended);
}

static PyMethodDef Row_methods[] = {
    {"sent", PFS_METHOD(Row_sent), METH_FASTCALL | METH_KEYWORDS, Row_sent_doc},
    {"token", PFS_METHOD(Row_token), METH_FASTCALL | METH_KEYWORDS, Row_token_doc},
    {"end", PFS_METHOD(Row_end), METH_FASTCALL | METH_KEYWORDS, Row_end_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef Row_getset[] = {
    {"tokens", Row_get_tokens, NULL, "Tokens that came in chunks so far.", NULL},
    {"due_ns", Row_get_due, NULL, "When it fell due, on the monotonic clock.", NULL},
    {"ttft_ms", Row_get_ttft, NULL, "From due to the first token; None without one.", NULL},
    {"response_time_ms", Row_get_response_time, NULL, "From due to the end; None before it.", NULL},
    {"ended", Row_get_ended, NULL, "Whether end() was called.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(Row_doc, "One request under way; made by Events.begin.");

static PyType_Slot Row_slots[] = {
    {Py_tp_doc, PFS_SLOT(Row_doc)},         {Py_tp_dealloc, PFS_SLOT(Row_dealloc)},
    {Py_tp_methods, PFS_SLOT(Row_methods)}, {Py_tp_traverse, PFS_SLOT(Row_traverse)},
    {Py_tp_getset, PFS_SLOT(Row_getset)},   {0, NULL},
};

PyType_Spec pfs_py_row_spec = {
    .name = "perfsuite._core.Row",
    .basicsize = sizeof(Row),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
             Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = Row_slots,
};
