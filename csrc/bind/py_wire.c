/* Wire: the load engine.  Its thread never touches Python; its log is replayed into Events, and the
 * replies become objects, in poll(), which runs in the caller's thread. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "py_wire.h"
#include "py_whole.h"

#include <errno.h>
#include <poll.h>

#include "pfs_clock.h"

#define MOST_TOKENS INT64_C(1000000000) /* of an answer: as csrc/wire believes a server */

/* ---- a life ---------------------------------------------------------------------------------- */

static void free_replies(Wire *self, pfs_wire_reply *replies)
{
    while (replies != NULL) {
        pfs_wire_reply *next = replies->next;
        pfs_wire_reply_free(self->wire, replies);
        replies = next;
    }
}

static int Wire_traverse(Wire *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->events);
    return 0;
}

static void Wire_dealloc(Wire *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->wire != NULL) {
        pfs_wire_reply *replies;
        PyThreadState *thread = PyEval_SaveThread();
        pfs_wire_stop(self->wire);
        PyEval_RestoreThread(thread);
        PFS_LOCK(self->events); /* so that no row stays without an end */
        pfs_wire_drain(self->wire, ((Events *)self->events)->events, &replies);
        PFS_UNLOCK();
        free_replies(self, replies);
        pfs_wire_free(self->wire);
    }
    Py_XDECREF(self->events);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

PyDoc_STRVAR(start_doc, "start($self, /)\n--\n\n"
                        "Starts the engine's thread.  RuntimeError when it was started before.");

static PyObject *Wire_start(PyObject *object, PyObject *unused)
{
    Wire *self = (Wire *)object;
    pfs_status status;
    (void)unused;
    PFS_LOCK(object);
    /* A stop under way elsewhere must not meet a thread that has just begun. */
    status = self->stopping ? PFS_EINVAL : pfs_wire_start(self->wire);
    PFS_UNLOCK();
    if (status != PFS_OK) {
        PyErr_SetString(PyExc_RuntimeError,
                        status == PFS_EINVAL
                            ? "this engine was started before, or stopped; make another"
                            : "the system gives no thread to the engine");
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(stop_doc,
             "stop($self, /)\n--\n\n"
             "Ends the engine's thread and closes its sockets.  What is under way or due ends as\n"
             "cancelled, what is queued is discarded; poll() gives the rest.  Again: nothing.");

static PyObject *Wire_stop(PyObject *object, PyObject *unused)
{
    Wire *self = (Wire *)object;
    (void)unused;
    bool mine;
    PFS_LOCK(object);
    mine = !self->stopping;
    self->stopping = true;
    PFS_UNLOCK();
    if (!mine) {
        PyErr_SetString(PyExc_RuntimeError, "another thread is stopping the engine");
        return NULL;
    }
    PyThreadState *thread = PyEval_SaveThread();
    pfs_wire_stop(self->wire);
    PyEval_RestoreThread(thread);
    PFS_LOCK(object);
    self->stopping = false;
    PFS_UNLOCK();
    Py_RETURN_NONE;
}

/* ---- requests in ----------------------------------------------------------------------------- */

PyDoc_STRVAR(
    submit_doc,
    "submit($self, request, due_ns=None, tag=0, keep=False, echo=b'')\n--\n\n"
    "Queues a request: its complete bytes, head and body, without a connection header.\n\n"
    "due_ns: when it is to be sent (time.monotonic_ns); None: when a connection "
    "is\nfree.  tag comes back in the reply.  keep: the reply has the whole body.  echo: the "
    "user's\nown words, which are no part of a cumulative answer.\n"
    "False when the queue is full, or the engine was stopped.  Any thread.");

static PyObject *Wire_submit(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames)
{
    static const char *const names[] = {"request", "due_ns", "tag", "keep", "echo", NULL};
    PyObject *values[5] = {NULL, NULL, NULL, NULL, NULL};
    int64_t due, tag;
    int keep = 0;
    if (pfs_py_arguments("submit", names, args, nargs, kwnames, values) < 0 ||
        pfs_whole_or(values[1], "due_ns", PFS_WIRE_NOW, &due) < 0 ||
        pfs_whole_or(values[2], "tag", 0, &tag) < 0) {
        return NULL;
    }
    if (values[0] == NULL || !PyBytes_Check(values[0]) || PyBytes_GET_SIZE(values[0]) == 0) {
        PyErr_SetString(PyExc_TypeError, "submit() needs a request: bytes, head and body");
        return NULL;
    }
    if (values[3] != NULL && (keep = PyObject_IsTrue(values[3])) < 0) {
        return NULL;
    }
    if (values[4] != NULL && !PyBytes_Check(values[4])) {
        PyErr_Format(PyExc_TypeError, "echo is a %s; it must be bytes",
                     Py_TYPE(values[4])->tp_name);
        return NULL;
    }
    pfs_wire_order order = {.request = PyBytes_AS_STRING(values[0]),
                            .length = (size_t)PyBytes_GET_SIZE(values[0]),
                            .due_ns = due,
                            .tag = tag,
                            .keep = keep != 0};
    if (values[4] != NULL) {
        order.echo = PyBytes_AS_STRING(values[4]);
        order.echo_length = (size_t)PyBytes_GET_SIZE(values[4]);
    }
    pfs_status status = pfs_wire_submit(((Wire *)object)->wire, &order);
    if (status == PFS_ENOMEM) {
        return PyErr_NoMemory();
    }
    return PyBool_FromLong(status == PFS_OK);
}

PyDoc_STRVAR(discard_doc, "discard($self, /)\n--\n\n"
                          "Empties the queue of what no connection has taken and what is not due "
                          "yet; how many.");

static PyObject *Wire_discard(PyObject *object, PyObject *unused)
{
    (void)unused;
    return PyLong_FromSize_t(pfs_wire_discard(((Wire *)object)->wire));
}

PyDoc_STRVAR(
    give_up_doc,
    "give_up($self, late=False)\n--\n\n"
    "Sends nothing more.  What is not due yet is discarded, what is due and waits for a\n"
    "connection ends as cancelled, what is under way goes on.  late: the time is over, and\n"
    "what waits or is under way ends as a time-out.");

static PyObject *Wire_give_up(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames)
{
    static const char *const names[] = {"late", NULL};
    PyObject *values[1] = {NULL};
    int late = 0;
    if (pfs_py_arguments("give_up", names, args, nargs, kwnames, values) < 0 ||
        (values[0] != NULL && (late = PyObject_IsTrue(values[0])) < 0)) {
        return NULL;
    }
    pfs_wire_give_up(((Wire *)object)->wire, late != 0);
    Py_RETURN_NONE;
}

/* ---- replies out ----------------------------------------------------------------------------- */

/* Waits until there is something to drain; 0, or -1 when a signal handler raised. */
static int await(Wire *self, double timeout)
{
    int64_t end = pfs_clock_ns() + (int64_t)(timeout * 1e9);
    for (;;) {
        struct pollfd told = {.fd = pfs_wire_fd(self->wire), .events = POLLIN};
        int64_t left = end - pfs_clock_ns();
        int found, why;
        if (left <= 0) {
            return 0;
        }
        PyThreadState *thread = PyEval_SaveThread();
        found = poll(&told, 1, (int)(left / 1000000) + 1);
        why = errno;
        PyEval_RestoreThread(thread);
        if (found > 0 || (found < 0 && why != EINTR)) {
            return 0;
        }
        if (PyErr_CheckSignals() < 0) {
            return -1;
        }
    }
}

/* A count of tokens that somebody made here; None: nobody knows.  0, or -1 with an exception. */
static int read_count(PyObject *value, int64_t *out)
{
    return value == Py_None ? 0 : pfs_whole_read(value, "tokens", 0, MOST_TOKENS, out);
}

/* Has the tokens counted that no server told; 0, or -1 with the first exception. */
static int count_untold(pfs_state *state, pfs_wire *wire, PyObject *count)
{
    pfs_wire_reply *untold;
    pfs_wire_collect(wire, &untold);
    for (pfs_wire_reply *r = untold; r != NULL; r = r->next) {
        PyObject *reply = pfs_wire_reply_new(state, r);
        PyObject *told = reply == NULL ? NULL : PyObject_CallOneArg(count, reply);
        Py_XDECREF(reply);
        if (told != NULL && (!PyTuple_Check(told) || PyTuple_GET_SIZE(told) != 2)) {
            PyErr_SetString(PyExc_TypeError, "count() must return (prompt, completion)");
            Py_CLEAR(told);
        }
        int failed = told == NULL ||
                     read_count(PyTuple_GET_ITEM(told, 0), &r->counted_prompt) < 0 ||
                     read_count(PyTuple_GET_ITEM(told, 1), &r->counted_completion) < 0;
        Py_XDECREF(told);
        if (failed) {
            return -1;
        }
    }
    return 0;
}

PyDoc_STRVAR(poll_doc,
             "poll($self, timeout_s=0.0, count=None)\n--\n\n"
             "Records in events what has happened since the last poll, and gives the requests that "
             "have\nended, oldest first: a list of WireReply.  Waits up to timeout_s for one.\n"
             "count: called with each that ended well without that the server told both counts of\n"
             "tokens; it returns (prompt, completion) to be recorded instead, None where nobody "
             "knows.\n"
             "Call it at least each second: a full log makes the engine pause (stats: paused).");

static PyObject *Wire_poll(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames)
{
    static const char *const names[] = {"timeout_s", "count", NULL};
    Wire *self = (Wire *)object;
    PyObject *values[2] = {NULL, NULL};
    double timeout = 0.0;
    pfs_state *state = pfs_state_of_type(Py_TYPE(object));
    if (state == NULL || pfs_py_arguments("poll", names, args, nargs, kwnames, values) < 0) {
        return NULL;
    }
    if (values[0] != NULL) {
        timeout = PyFloat_AsDouble(values[0]);
        if (timeout == -1.0 && PyErr_Occurred()) {
            return NULL;
        }
    }
    if (!(timeout >= 0.0 && timeout <= 3600.0)) {
        PyErr_SetString(PyExc_ValueError, "timeout_s must be 0 to 3600 seconds");
        return NULL;
    }
    bool mine;
    PFS_LOCK(object);
    mine = !self->polling;
    self->polling = true;
    PFS_UNLOCK();
    if (!mine) {
        PyErr_SetString(PyExc_RuntimeError, "another thread is polling the engine");
        return NULL;
    }
    pfs_wire_reply *replies = NULL;
    PyObject *list = await(self, timeout) < 0 ? NULL : PyList_New(0);
    if (list != NULL) {
        if (values[1] != NULL && values[1] != Py_None &&
            count_untold(state, self->wire, values[1]) < 0) {
            Py_CLEAR(list); /* recorded is what happened all the same */
        }
        PFS_LOCK(self->events);
        pfs_wire_drain(self->wire, ((Events *)self->events)->events, &replies);
        PFS_UNLOCK();
    }
    for (pfs_wire_reply *r = replies; list != NULL && r != NULL; r = r->next) {
        PyObject *reply = pfs_wire_reply_new(state, r);
        if (reply == NULL || PyList_Append(list, reply) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(reply);
    }
    free_replies(self, replies);
    PFS_LOCK(object);
    self->polling = false;
    PFS_UNLOCK();
    return list;
}

PyDoc_STRVAR(fileno_doc, "fileno($self, /)\n--\n\n"
                         "A descriptor that is readable while poll() has something to give.");

static PyObject *Wire_fileno(PyObject *object, PyObject *unused)
{
    (void)unused;
    return PyLong_FromLong(pfs_wire_fd(((Wire *)object)->wire));
}

PyDoc_STRVAR(tell_after_doc,
             "tell_after($self, replies, /)\n--\n\n"
             "fileno() is readable only when so many requests have ended (1), or the log is half\n"
             "full: for one who polls now and then anyway.  Any thread.");

static PyObject *Wire_tell_after(PyObject *object, PyObject *replies)
{
    int64_t count;
    if (pfs_whole_read(replies, "replies", 1, PFS_WIRE_MOST_QUEUED, &count) < 0) {
        return NULL;
    }
    pfs_wire_tell_after(((Wire *)object)->wire, (size_t)count);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(stats_doc, "stats($self, /)\n--\n\n"
                        "What the engine counted so far, as a dict; csrc/wire/pfs_wire.h says what "
                        "each means.");

static PyObject *Wire_stats(PyObject *object, PyObject *unused)
{
    pfs_wire_counts counts;
    (void)unused;
    pfs_wire_counted(((Wire *)object)->wire, &counts);
    const struct {
        const char *name;
        uint64_t value;
    } all[] = {
#define PFS_ITEM(name) {#name, counts.name},
        PFS_WIRE_COUNTS(PFS_ITEM)
#undef PFS_ITEM
    };
    PyObject *dict = PyDict_New();
    for (size_t i = 0; dict != NULL && i < sizeof all / sizeof all[0]; i++) {
        if (pfs_py_set_item(dict, all[i].name, PyLong_FromUnsignedLongLong(all[i].value)) < 0) {
            Py_CLEAR(dict);
        }
    }
    return dict;
}

static PyMethodDef Wire_methods[] = {
    {"start", Wire_start, METH_NOARGS, start_doc},
    {"stop", Wire_stop, METH_NOARGS, stop_doc},
    {"submit", PFS_METHOD(Wire_submit), METH_FASTCALL | METH_KEYWORDS, submit_doc},
    {"discard", Wire_discard, METH_NOARGS, discard_doc},
    {"give_up", PFS_METHOD(Wire_give_up), METH_FASTCALL | METH_KEYWORDS, give_up_doc},
    {"poll", PFS_METHOD(Wire_poll), METH_FASTCALL | METH_KEYWORDS, poll_doc},
    {"fileno", Wire_fileno, METH_NOARGS, fileno_doc},
    {"tell_after", Wire_tell_after, METH_O, tell_after_doc},
    {"stats", Wire_stats, METH_NOARGS, stats_doc},
    {"take", PFS_METHOD(pfs_wire_take_parcels), METH_FASTCALL | METH_KEYWORDS, pfs_wire_take_doc},
    {"give", PFS_METHOD(pfs_wire_give_parcel), METH_FASTCALL, pfs_wire_give_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(
    Wire_doc,
    "Wire(host, port, events, *, connections=1, queue=4096, timeout_s=60.0, stream='sse', "
    "rules=(), finish=None, marks_end=False, speaks=False, names=(), max_event=1048576, "
    "max_body=268435456, kernel=True, sealed=False, cumulative=False)\n"
    "--\n\n"
    "The load engine: requests over plain HTTP/1.1 on a thread without the GIL, with stamps from\n"
    "the kernel, recorded in events as poll() is called.\n\n"
    "stream: sse, ndjson, text, or none (one JSON document).  rules: (role, path) pairs, a path "
    "as\n"
    "JsonScan has them, a role of visible, hidden, prompt, more_prompt (added to it), completion,\n"
    "finish, error; without rules every event is a visible chunk.  finish: a payload that ends the "
    "answer ('[DONE]'),\nor the event that does ('event:NAME').\n"
    "marks_end: an answer that did not say that it is complete was cut short.  speaks: one "
    "without\n"
    "a chunk is malformed.  names: server-sent events of other names are passed over, but for\n"
    "error, which is one.  sealed: over TLS, which somebody else does through take() and give():\n"
    "perfsuite.loadgen.sealed.  cumulative: an event has the whole text so far, and is a chunk "
    "when\nthat is another than before.\n"
    "OSError when the host has no address, or so many files cannot be open.");

static PyType_Slot Wire_slots[] = {
    {Py_tp_doc, (void *)Wire_doc},           {Py_tp_new, PFS_SLOT(pfs_wire_type_new)},
    {Py_tp_dealloc, PFS_SLOT(Wire_dealloc)}, {Py_tp_traverse, PFS_SLOT(Wire_traverse)},
    {Py_tp_methods, Wire_methods},           {0, NULL},
};

static PyType_Spec Wire_spec = {
    .name = "perfsuite._core.Wire",
    .basicsize = sizeof(Wire),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = Wire_slots,
};

int pfs_exec_wire(PyObject *module)
{
    pfs_state *state = pfs_state_of_module(module);
    if (pfs_add_type(module, PFS_TYPE_WIRE, &Wire_spec) < 0) {
        return -1;
    }
    state->types[PFS_TYPE_WIRE_REPLY] = pfs_wire_reply_type();
    return state->types[PFS_TYPE_WIRE_REPLY] == NULL || pfs_wire_add_kinds(module) < 0
               ? -1
               : PyModule_AddObjectRef(module, "WireReply",
                                       (PyObject *)state->types[PFS_TYPE_WIRE_REPLY]);
}
