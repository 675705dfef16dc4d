/* Wire's arguments: rules, names, addresses, limits. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "py_wire.h"
#include "py_whole.h"

#include <errno.h>
#include <string.h>

#include "py_wire_address.h"

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
    pfs_wire_address addresses[PFS_WIRE_MOST_ADDRESSES];
    spec->addresses = addresses;
    spec->address_count = pfs_py_list_addresses(found, addresses);
    freeaddrinfo(found);
    spec->rules = list.paths;
    spec->roles = list.roles;
    spec->rule_count = list.count;
    /* Not pfs_py_alloc: tracemalloc's hooks take the GIL, which the engine's thread must not. */
    errno = 0;
    pfs_status status = pfs_wire_new(&self->wire, spec, &wrong, pfs_alloc_libc());
    int why = errno;
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

PyObject *pfs_wire_type_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"host",      "port",       "events",    "connections", "queue",
                            "timeout_s", "stream",     "rules",     "finish",      "marks_end",
                            "speaks",    "names",      "max_event", "max_body",    "kernel",
                            "sealed",    "cumulative", NULL};
    const char *host, *stream = "sse", *finish = NULL;
    PyObject *events, *rules = NULL, *named = NULL;
    int marks_end = 0, speaks = 0, kernel = 1, sealed = 0, cumulative = 0;
    PyObject *numbers[5] = {NULL, NULL, NULL, NULL, NULL};
    int64_t port, connections, queue, max_event, max_body;
    double timeout = 60.0;
    pfs_state *state = pfs_state_of_type(type);
    if (state == NULL ||
        !PyArg_ParseTupleAndKeywords(args, kwargs, "sOO!|$OOdsOzppOOOppp:Wire", names, &host,
                                     &numbers[0], state->types[PFS_TYPE_EVENTS], &events,
                                     &numbers[1], &numbers[2], &timeout, &stream, &rules, &finish,
                                     &marks_end, &speaks, &named, &numbers[3], &numbers[4], &kernel,
                                     &sealed, &cumulative) ||
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
                          .sealed = sealed != 0,
                          .cumulative = cumulative != 0,
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
