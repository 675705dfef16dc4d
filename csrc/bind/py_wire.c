/* Wire: the load engine.  Its thread never touches Python; its log is replayed into Events, and the
 * replies become objects, in poll(), which runs in the caller's thread. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "py_events.h"
#include "py_whole.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "pfs_wire.h"
#include "py_wire_address.h"

typedef struct {
    PyObject_HEAD pfs_wire *wire;
    PyObject *events;
    bool polling, stopping; /* by one thread at a time */
} Wire;

/* ---- making ---------------------------------------------------------------------------------- */

static const char *const ROLES[] = {"visible",    "hidden", "prompt", "more_prompt",
                                    "completion", "finish", "error"};

typedef struct {
    const char *paths[PFS_JSON_MAX_RULES];
    pfs_wire_role roles[PFS_JSON_MAX_RULES];
    size_t count;
} rule_list;

static int read_rule(PyObject *pair, rule_list *list)
{
    const char *role, *path;
    if (!PyTuple_Check(pair)) {
        PyErr_Format(PyExc_TypeError, "a rule is a %s; it must be a tuple (role, path)",
                     Py_TYPE(pair)->tp_name);
        return -1;
    }
    if (!PyArg_ParseTuple(pair, "ss:rule", &role, &path)) {
        return -1;
    }
    for (int i = 0; i < PFS_WIRE_ROLES; i++) {
        if (strcmp(role, ROLES[i]) == 0) {
            list->roles[list->count] = (pfs_wire_role)i;
            list->paths[list->count++] = path;
            return 0;
        }
    }
    PyErr_Format(PyExc_ValueError,
                 "a rule has the role '%s'; it must be visible, hidden, prompt, more_prompt, "
                 "completion, finish or error",
                 role);
    return -1;
}

/* *list borrows from `rules`. */
static int read_rules(PyObject *rules, rule_list *list)
{
    if (PyTuple_GET_SIZE(rules) > PFS_JSON_MAX_RULES) {
        PyErr_Format(PyExc_ValueError, "%zd rules; there may be %d", PyTuple_GET_SIZE(rules),
                     PFS_JSON_MAX_RULES);
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(rules); i++) {
        if (read_rule(PyTuple_GET_ITEM(rules, i), list) < 0) {
            return -1;
        }
    }
    return 0;
}

/* `found` borrows from `names`. */
static int read_names(PyObject *names, const char **found, pfs_wire_spec *spec)
{
    spec->names = found;
    spec->name_count = (size_t)PyTuple_GET_SIZE(names);
    if (spec->name_count > PFS_WIRE_MOST_NAMES) {
        PyErr_Format(PyExc_ValueError, "%zu names of events; there may be %d", spec->name_count,
                     PFS_WIRE_MOST_NAMES);
        return -1;
    }
    for (size_t i = 0; i < spec->name_count; i++) {
        found[i] = PyUnicode_AsUTF8(PyTuple_GET_ITEM(names, (Py_ssize_t)i));
        if (found[i] == NULL) {
            return -1;
        }
    }
    return 0;
}

static int read_kind(const char *name, pfs_wire_spec *spec)
{
    if (strcmp(name, "none") == 0) {
        spec->whole = true;
        spec->stream = PFS_STREAM_TEXT;
    } else if (strcmp(name, "sse") == 0) {
        spec->stream = PFS_STREAM_SSE;
    } else if (strcmp(name, "ndjson") == 0) {
        spec->stream = PFS_STREAM_NDJSON;
    } else if (strcmp(name, "text") == 0) {
        spec->stream = PFS_STREAM_TEXT;
    } else {
        PyErr_Format(PyExc_ValueError, "stream is '%s'; it must be sse, ndjson, text or none",
                     name);
        return -1;
    }
    return 0;
}

static int open_engine(Wire *self, pfs_wire_spec *spec, const char *host, int port, PyObject *rules,
                       PyObject *names)
{
    const char *named[PFS_WIRE_MOST_NAMES];
    rule_list list = {.count = 0};
    size_t wrong = 0;
    if (read_rules(rules, &list) < 0 || read_names(names, named, spec) < 0 ||
        pfs_py_allow_files(spec->connections) < 0) {
        return -1;
    }
    struct addrinfo *found = pfs_py_resolve(host, port);
    if (found == NULL) {
        return -1;
    }
    const struct addrinfo *chosen = pfs_py_choose(found);
    spec->address = chosen->ai_addr;
    spec->address_length = chosen->ai_addrlen;
    spec->rules = list.paths;
    spec->roles = list.roles;
    spec->rule_count = list.count;
    /* Not pfs_py_alloc: tracemalloc's hooks take the GIL, which the engine's thread must not. */
    errno = 0;
    pfs_status status = pfs_wire_new(&self->wire, spec, &wrong, pfs_alloc_libc());
    int why = errno;
    freeaddrinfo(found);
    if (status == PFS_EFORMAT) {
        PyErr_Format(PyExc_ValueError, "rule '%s' is not a path: write choices[].delta.content",
                     list.paths[wrong]);
    } else if (status == PFS_EFULL) {
        errno = why;
        PyErr_SetFromErrno(PyExc_OSError);
    } else if (status == PFS_EINVAL) {
        PyErr_Format(PyExc_ValueError,
                     "Wire needs 1 to %d connections, a queue of 1 to %d, a timeout_s above 0, and "
                     "a max_event of 1 to max_body",
                     PFS_WIRE_MOST_CONNECTIONS, PFS_WIRE_MOST_QUEUED);
    } else if (status != PFS_OK) {
        (void)pfs_raise(status, "Wire");
    }
    return status == PFS_OK ? 0 : -1;
}

static PyObject *Wire_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"host",      "port",     "events", "connections", "queue",  "timeout_s",
                            "stream",    "rules",    "finish", "marks_end",   "speaks", "names",
                            "max_event", "max_body", "kernel", NULL};
    const char *host, *stream = "sse", *finish = NULL;
    PyObject *events, *rules = NULL, *named = NULL;
    int marks_end = 0, speaks = 0, kernel = 1;
    PyObject *numbers[5] = {NULL, NULL, NULL, NULL, NULL};
    int64_t port, connections, queue, max_event, max_body;
    double timeout = 60.0;
    pfs_state *state = pfs_state_of_type(type);
    if (state == NULL ||
        !PyArg_ParseTupleAndKeywords(
            args, kwargs, "sOO!|$OOdsOzppOOOp:Wire", names, &host, &numbers[0],
            state->types[PFS_TYPE_EVENTS], &events, &numbers[1], &numbers[2], &timeout, &stream,
            &rules, &finish, &marks_end, &speaks, &named, &numbers[3], &numbers[4], &kernel) ||
        pfs_whole_read(numbers[0], "port", 1, UINT16_MAX, &port) < 0 ||
        pfs_whole_or(numbers[1], "connections", 1, &connections) < 0 ||
        pfs_whole_or(numbers[2], "queue", 4096, &queue) < 0 ||
        pfs_whole_or(numbers[3], "max_event", (int64_t)PFS_STREAM_MAX_EVENT, &max_event) < 0 ||
        pfs_whole_or(numbers[4], "max_body", INT64_C(256) << 20, &max_body) < 0) {
        return NULL;
    }
    pfs_wire_spec spec = {.connections = connections < 0 ? 0 : (size_t)connections,
                          .queue = queue < 0 ? 0 : (size_t)queue,
                          .max_event = max_event < 0 ? 0 : (size_t)max_event,
                          .max_body = max_body < 0 ? 0 : (size_t)max_body,
                          .marks_end = marks_end != 0,
                          .speaks = speaks != 0,
                          .kernel = kernel != 0,
                          .finish = finish};
    spec.timeout_ns = timeout > 0.0 && timeout < 1e9 ? (int64_t)(timeout * 1e9) : 0;
    if (read_kind(stream, &spec) < 0) {
        return NULL;
    }
    PyObject *pairs = rules == NULL ? PyTuple_New(0) : PySequence_Tuple(rules);
    PyObject *words = named == NULL ? PyTuple_New(0) : PySequence_Tuple(named);
    Wire *self = pairs == NULL || words == NULL ? NULL : (Wire *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->events = Py_NewRef(events);
        if (open_engine(self, &spec, host, (int)port, pairs, words) < 0) {
            Py_CLEAR(self);
        }
    }
    Py_XDECREF(pairs);
    Py_XDECREF(words);
    return (PyObject *)self;
}

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

PyDoc_STRVAR(submit_doc,
             "submit($self, request, due_ns=None, tag=0, keep=False)\n--\n\n"
             "Queues a request: its complete bytes, head and body, without a connection header.\n\n"
             "due_ns: when it is to be sent (time.monotonic_ns); None: when a connection "
             "is\nfree.  tag comes back in the reply.  keep: the reply has the whole body.\n"
             "False when the queue is full, or the engine was stopped.  Any thread.");

static PyObject *Wire_submit(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames)
{
    static const char *const names[] = {"request", "due_ns", "tag", "keep", NULL};
    PyObject *values[4] = {NULL, NULL, NULL, NULL};
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
    pfs_status status = pfs_wire_submit(((Wire *)object)->wire, PyBytes_AS_STRING(values[0]),
                                        (size_t)PyBytes_GET_SIZE(values[0]), due, tag, keep != 0);
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

static PyStructSequence_Field reply_fields[] = {
    {"tag", "as submitted"},
    {"status", "index of ERROR_KINDS; 0 is success"},
    {"http_status", "0 when no head came"},
    {"why", "str: of a failure; None"},
    {"error_number", "errno of a failure, or 0"},
    {"retry_after_s", "int or None"},
    {"prompt_tokens", "as the server told, or None"},
    {"completion_tokens", "as the server told, or None"},
    {"chunks", "of content"},
    {"bytes", "of the body"},
    {"due_ns", "when it was due"},
    {"sent_ns", "when it left, or None"},
    {"first_ns", "of the first chunk, or None"},
    {"end_ns", "when it ended"},
    {"reused", "sent on a connection that had been used before"},
    {"retried", "sent again, on a new connection"},
    {"kernel_sent", "sent_ns is the kernel's"},
    {"kernel_received", "so are all stamps of the answer"},
    {"last", "bytes: the last payload without visible text, or the failed one's; at most 2 KiB"},
    {"body", "bytes with keep, or None"},
    {NULL, NULL},
};

static PyStructSequence_Desc reply_desc = {
    .name = "perfsuite._core.WireReply",
    .doc = "A request that has ended, as Wire.poll gives it.",
    .fields = reply_fields,
    .n_in_sequence = (int)(sizeof reply_fields / sizeof reply_fields[0]) - 1,
};

static PyObject *maybe(int64_t value, int64_t none)
{
    return value == none ? Py_NewRef(Py_None) : PyLong_FromLongLong(value);
}

static PyObject *as_bytes(const pfs_bytes *bytes)
{
    return PyBytes_FromStringAndSize(bytes->length == 0 ? "" : bytes->at,
                                     (Py_ssize_t)bytes->length);
}

static PyObject *reply_new(pfs_state *state, const pfs_wire_reply *r)
{
    PyObject *reply = PyStructSequence_New(state->types[PFS_TYPE_WIRE_REPLY]);
    if (reply == NULL) {
        return NULL;
    }
    PyObject *items[] = {
        PyLong_FromLongLong(r->tag),
        PyLong_FromLong(r->status),
        PyLong_FromLong(r->http_status),
        r->why == NULL ? Py_NewRef(Py_None) : PyUnicode_FromString(r->why),
        PyLong_FromLong(r->error_number),
        maybe(r->retry_after_s, -1),
        maybe(r->prompt_tokens, -1),
        maybe(r->completion_tokens, -1),
        PyLong_FromUnsignedLongLong(r->chunks),
        PyLong_FromUnsignedLongLong(r->bytes),
        PyLong_FromLongLong(r->due_ns),
        maybe(r->sent_ns, PFS_EVENTS_NONE),
        maybe(r->first_ns, PFS_EVENTS_NONE),
        PyLong_FromLongLong(r->end_ns),
        PyBool_FromLong(r->reused),
        PyBool_FromLong(r->retried),
        PyBool_FromLong(r->kernel_sent),
        PyBool_FromLong(r->kernel_received),
        as_bytes(&r->last),
        r->keep ? as_bytes(&r->body) : Py_NewRef(Py_None),
    };
    bool whole = true;
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
        whole = whole && items[i] != NULL;
        PyStructSequence_SetItem(reply, (Py_ssize_t)i, items[i]);
    }
    if (!whole) {
        Py_CLEAR(reply);
    }
    return reply;
}

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

PyDoc_STRVAR(poll_doc,
             "poll($self, timeout_s=0.0)\n--\n\n"
             "Records in events what has happened since the last poll, and gives the requests that "
             "have\nended, oldest first: a list of WireReply.  Waits up to timeout_s for one.\n"
             "Call it at least each second: a full log makes the engine pause (stats: paused).");

static PyObject *Wire_poll(PyObject *object, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames)
{
    static const char *const names[] = {"timeout_s", NULL};
    Wire *self = (Wire *)object;
    PyObject *values[1] = {NULL};
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
        PFS_LOCK(self->events);
        pfs_wire_drain(self->wire, ((Events *)self->events)->events, &replies);
        PFS_UNLOCK();
    }
    for (pfs_wire_reply *r = replies; list != NULL && r != NULL; r = r->next) {
        PyObject *reply = reply_new(state, r);
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
    {"stats", Wire_stats, METH_NOARGS, stats_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(
    Wire_doc,
    "Wire(host, port, events, *, connections=1, queue=4096, timeout_s=60.0, stream='sse', "
    "rules=(), finish=None, marks_end=False, speaks=False, names=(), max_event=1048576, "
    "max_body=268435456, kernel=True)\n"
    "--\n\n"
    "The load engine: requests over plain HTTP/1.1 on a thread without the GIL, with stamps from\n"
    "the kernel, recorded in events as poll() is called.\n\n"
    "stream: sse, ndjson, text, or none (one JSON document).  rules: (role, path) pairs, a path "
    "as\n"
    "JsonScan has them, a role of visible, hidden, prompt, more_prompt (added to it), completion,\n"
    "finish, error; without rules every event is a visible chunk.  finish: a payload that ends the "
    "answer ('[DONE]').\n"
    "marks_end: an answer that did not say that it is complete was cut short.  speaks: one "
    "without\n"
    "a chunk is malformed.  names: server-sent events of other names are passed over, but for\n"
    "error, which is one.\n"
    "OSError when the host has no address, or so many files cannot be open.");

static PyType_Slot Wire_slots[] = {
    {Py_tp_doc, (void *)Wire_doc},           {Py_tp_new, PFS_SLOT(Wire_new)},
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
    state->types[PFS_TYPE_WIRE_REPLY] = PyStructSequence_NewType(&reply_desc);
    return state->types[PFS_TYPE_WIRE_REPLY] == NULL
               ? -1
               : PyModule_AddObjectRef(module, "WireReply",
                                       (PyObject *)state->types[PFS_TYPE_WIRE_REPLY]);
}
