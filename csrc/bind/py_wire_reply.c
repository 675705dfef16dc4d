/* WireReply: a request that has ended, as Python sees it. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "py_wire.h"

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

static PyObject *why(const pfs_wire_reply *r)
{
    if (r->said.length != 0) {
        return PyUnicode_DecodeUTF8(r->said.at, (Py_ssize_t)r->said.length, "replace");
    }
    return r->why == NULL ? Py_NewRef(Py_None) : PyUnicode_FromString(r->why);
}

PyObject *pfs_wire_reply_new(pfs_state *state, const pfs_wire_reply *r)
{
    PyObject *reply = PyStructSequence_New(state->types[PFS_TYPE_WIRE_REPLY]);
    if (reply == NULL) {
        return NULL;
    }
    PyObject *items[] = {
        PyLong_FromLongLong(r->tag),
        PyLong_FromLong(r->status),
        PyLong_FromLong(r->http_status),
        why(r),
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

PyTypeObject *pfs_wire_reply_type(void)
{
    return PyStructSequence_NewType(&reply_desc);
}
