/* StreamParser.  Feeding stamps and splits; the events wait as places in the chunks that they came
 * in, and become Python objects when they are taken, off the timing path. */
#include "py_stream.h"
#include "py_whole.h"

#include <string.h>

static const char *const KINDS[] = {"sse", "ndjson", "text"};

/* ---- events ---------------------------------------------------------------------------------- */

/* The name of an event that has one, as a str: a borrowed reference, or NULL with MemoryError. */
static PyObject *name_of(StreamParser *self, const pfs_stream_event *event)
{
    if (self->last_name != NULL) {
        Py_ssize_t length;
        const char *last = PyUnicode_AsUTF8AndSize(self->last_name, &length);
        if (last == NULL) {
            return NULL;
        }
        if ((size_t)length == event->name_length &&
            memcmp(last, event->name, (size_t)length) == 0) {
            return self->last_name;
        }
    }
    PyObject *name = PyUnicode_DecodeUTF8(event->name, (Py_ssize_t)event->name_length, "replace");
    if (name != NULL) {
        Py_XSETREF(self->last_name, name);
    }
    return name;
}

static inline int queue_event(StreamParser *self)
{
    const pfs_stream_event *event = &self->event;
    PyObject *name = NULL;
    if (event->name_length != 0 && (name = name_of(self, event)) == NULL) {
        return -1;
    }
    if (pfs_pieces_add(&self->events, self->chunk, event->data, event->length, name, event->at_ns) <
        0) {
        return -1;
    }
    self->pulled = false;
    return 0;
}

static int raise_too_large(const StreamParser *self)
{
    PyErr_Format(PyExc_OverflowError,
                 "an event of the stream is larger than %zu bytes: the server ends no line, or "
                 "max_event is too small",
                 self->stream.max_event);
    return -1;
}

Py_ssize_t pfs_py_stream_drain(StreamParser *self)
{
    Py_ssize_t count = 0;
    pfs_status status = PFS_OK;
    for (;;) {
        if (self->pulled) {
            if (queue_event(self) < 0) {
                return -1;
            }
            count++;
            if (self->stream.chunk == NULL) { /* the usual case: one event, one chunk */
                status = PFS_EEMPTY;
                break;
            }
        }
        status = pfs_stream_next(&self->stream, &self->event);
        if (status != PFS_OK) {
            break;
        }
        self->pulled = true;
    }
    if (status == PFS_ENOMEM) {
        PyErr_NoMemory();
        return -1;
    }
    Py_CLEAR(self->chunk);
    return status == PFS_EEMPTY ? count : raise_too_large(self);
}

Py_ssize_t pfs_py_stream_give(StreamParser *self, PyObject *chunk, const char *bytes, size_t length,
                              int64_t at_ns)
{
    pfs_status status = pfs_stream_feed(&self->stream, bytes, length, at_ns);
    if (status == PFS_ERANGE) {
        return raise_too_large(self);
    }
    if (status != PFS_OK) {
        PyErr_SetString(PyExc_RuntimeError, "the stream still holds another chunk");
        return -1;
    }
    if (length == 0) {
        return 0;
    }
    Py_XSETREF(self->chunk, Py_NewRef(chunk));
    return pfs_py_stream_drain(self);
}

void pfs_py_stream_reset(StreamParser *self)
{
    pfs_stream_reset(&self->stream);
    self->pulled = false;
    Py_CLEAR(self->chunk);
    Py_CLEAR(self->cut);
    pfs_pieces_clear(&self->events);
}

/* ---- the type -------------------------------------------------------------------------------- */

static PyObject *StreamParser_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"kind", "max_event", NULL};
    const char *name = "sse";
    PyObject *number = NULL;
    int64_t max_event = (int64_t)PFS_STREAM_MAX_EVENT;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|sO:StreamParser", keywords, &name, &number) ||
        (number != NULL &&
         pfs_whole_read(number, "max_event", 1, INT64_C(1) << 48, &max_event) < 0)) {
        return NULL;
    }
    size_t kind = 0;
    while (kind < sizeof KINDS / sizeof KINDS[0] && strcmp(KINDS[kind], name) != 0) {
        kind++;
    }
    if (kind == sizeof KINDS / sizeof KINDS[0]) {
        return PyErr_Format(PyExc_ValueError, "kind is '%s'; it must be sse, ndjson or text", name);
    }
    StreamParser *self = (StreamParser *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    pfs_status status =
        pfs_stream_init(&self->stream, (pfs_stream_kind)kind, (size_t)max_event, pfs_py_alloc());
    if (status != PFS_OK) {
        self->stream.alloc = pfs_py_alloc();
        Py_DECREF(self);
        return pfs_raise(status, "max_event");
    }
    self->unnamed = PyUnicode_InternFromString(kind == PFS_STREAM_SSE ? "message" : "");
    if (self->unnamed == NULL) {
        Py_CLEAR(self);
    }
    return (PyObject *)self;
}

static int StreamParser_traverse(StreamParser *self, visitproc visit, void *arg)
{
    (void)self; /* it holds bytes and str only, which are in no cycle */
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static void StreamParser_dealloc(StreamParser *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    pfs_pieces_clear(&self->events);
    pfs_stream_clear(&self->stream);
    Py_CLEAR(self->chunk);
    Py_CLEAR(self->unnamed);
    Py_CLEAR(self->last_name);
    Py_CLEAR(self->cut);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

/* The usual chunk of a paced stream, one event by itself, goes straight to the queue if that has
 * room; the general way makes room.  Takes over the reference to the chunk if it returns true. */
static inline bool queue_whole(StreamParser *self, PyObject *chunk, int64_t at_ns)
{
    const char *bytes = PyBytes_AS_STRING(chunk), *data;
    size_t length;
    if (self->chunk != NULL || self->pulled || self->events.count == self->events.room ||
        !pfs_stream_whole(&self->stream, bytes, (size_t)PyBytes_GET_SIZE(chunk), at_ns, &data,
                          &length)) {
        return false;
    }
    pfs_pieces_push(&self->events, chunk, data - bytes, (Py_ssize_t)length, at_ns);
    return true;
}

static PyObject *StreamParser_feed(StreamParser *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *chunk;
    int64_t at_ns;
    if (pfs_pieces_read("feed", args, nargs, &chunk, &at_ns) < 0) {
        return NULL;
    }
    Py_ssize_t before = 0, count = -1;
    PFS_LOCK(self);
    if (queue_whole(self, chunk, at_ns)) {
        chunk = NULL;
        count = 1;
    } else {
        if (self->chunk != NULL) { /* what a call that ran out of memory left */
            before = pfs_py_stream_drain(self);
        }
        if (before >= 0) {
            count = pfs_py_stream_give(self, chunk, PyBytes_AS_STRING(chunk),
                                       (size_t)PyBytes_GET_SIZE(chunk), at_ns);
        }
    }
    PFS_UNLOCK();
    Py_XDECREF(chunk);
    return count < 0 ? NULL : PyLong_FromSsize_t(before + count);
}

/* 1: ended whole, 0: cut, -1: exception. */
static int end_stream(StreamParser *self)
{
    if (self->chunk != NULL && pfs_py_stream_drain(self) < 0) {
        return -1;
    }
    if (self->pulled && queue_event(self) < 0) {
        return -1;
    }
    pfs_status status = pfs_stream_end(&self->stream, &self->event);
    if (status == PFS_OK) {
        self->pulled = true;
        return queue_event(self) < 0 ? -1 : 1;
    }
    if (status == PFS_EFORMAT) {
        PyObject *cut = PyBytes_FromStringAndSize(self->event.length == 0 ? NULL : self->event.data,
                                                  (Py_ssize_t)self->event.length);
        if (cut == NULL) {
            return -1;
        }
        Py_XSETREF(self->cut, cut);
        return 0;
    }
    if (status == PFS_ERANGE) {
        return raise_too_large(self);
    }
    if (status != PFS_EEMPTY) {
        (void)pfs_raise(status, "end()");
        return -1;
    }
    return self->cut == NULL;
}

static PyObject *StreamParser_end(StreamParser *self, PyObject *unused)
{
    (void)unused;
    int whole;
    PFS_LOCK(self);
    whole = end_stream(self);
    PFS_UNLOCK();
    return whole < 0 ? NULL : PyBool_FromLong(whole);
}

static PyObject *StreamParser_take(StreamParser *self, PyObject *unused)
{
    (void)unused;
    return pfs_pieces_take(&self->events, (PyObject *)self, self->unnamed);
}

static PyObject *StreamParser_reset(StreamParser *self, PyObject *unused)
{
    (void)unused;
    PFS_LOCK(self);
    pfs_py_stream_reset(self);
    PFS_UNLOCK();
    Py_RETURN_NONE;
}

static PyObject *StreamParser_waiting(StreamParser *self, void *closure)
{
    (void)closure;
    return PyLong_FromSize_t(self->events.count);
}

static PyObject *StreamParser_cut(StreamParser *self, void *closure)
{
    (void)closure;
    return Py_NewRef(self->cut == NULL ? Py_None : self->cut);
}

static PyObject *StreamParser_kind(StreamParser *self, void *closure)
{
    (void)closure;
    return PyUnicode_FromString(KINDS[self->stream.kind]);
}

static PyObject *StreamParser_max_event(StreamParser *self, void *closure)
{
    (void)closure;
    return PyLong_FromSize_t(self->stream.max_event);
}

static PyObject *StreamParser_retry_ms(StreamParser *self, void *closure)
{
    (void)closure;
    if (self->stream.retry_ms < 0) {
        Py_RETURN_NONE;
    }
    return PyLong_FromLongLong(self->stream.retry_ms);
}

static PyObject *StreamParser_last_event_id(StreamParser *self, void *closure)
{
    (void)closure;
    PyObject *id;
    PFS_LOCK(self);
    const pfs_bytes *bytes = &self->stream.id;
    id = PyUnicode_DecodeUTF8(bytes->length == 0 ? "" : bytes->at, (Py_ssize_t)bytes->length,
                              "replace");
    PFS_UNLOCK();
    return id;
}

PyDoc_STRVAR(feed_doc,
             "feed($self, data, at_ns=None, /)\n--\n\n"
             "Split the next bytes of the body; how many events they completed.\n\n"
             "at_ns: when they came (monotonic nanoseconds; now by default), the stamp of these "
             "events,\nwhich wait for take().  OverflowError when an event is larger than "
             "max_event: the events\nbefore it wait, the stream is over.  After a MemoryError the "
             "data are kept: feed what\nfollows them.");
PyDoc_STRVAR(take_doc,
             "take($self, /)\n--\n\n"
             "The events that wait, and forget them: a list of (at_ns, name, data).\n\n"
             "name: of an SSE event, \"message\" for one without; \"\" for other streams.");
PyDoc_STRVAR(end_doc, "end($self, /)\n--\n\n"
                      "The body is over; False when that was in the middle of an event.\n\n"
                      "Such an event is none; `cut` has its data.  A last line of NDJSON needs no "
                      "end, and\nwaits for take().");
PyDoc_STRVAR(reset_doc, "reset($self, /)\n--\n\nReady for another stream; nothing waits.");

static PyMethodDef StreamParser_methods[] = {
    {"feed", PFS_METHOD(StreamParser_feed), METH_FASTCALL, feed_doc},
    {"take", PFS_METHOD(StreamParser_take), METH_NOARGS, take_doc},
    {"end", PFS_METHOD(StreamParser_end), METH_NOARGS, end_doc},
    {"reset", PFS_METHOD(StreamParser_reset), METH_NOARGS, reset_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef StreamParser_getset[] = {
    {"kind", (getter)StreamParser_kind, NULL, "sse, ndjson or text.", NULL},
    {"max_event", (getter)StreamParser_max_event, NULL, "The most bytes of an event.", NULL},
    {"waiting", (getter)StreamParser_waiting, NULL, "How many events take() would give.", NULL},
    {"cut", (getter)StreamParser_cut, NULL,
     "The data of the event that the end of the stream cut, or None.", NULL},
    {"retry_ms", (getter)StreamParser_retry_ms, NULL,
     "The last reconnection time that the stream told, or None.", NULL},
    {"last_event_id", (getter)StreamParser_last_event_id, NULL,
     "The last id that the stream told; \"\" for none.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(StreamParser_doc,
             "StreamParser(kind='sse', max_event=1048576)\n--\n\n"
             "Splits a streamed body into its events as it arrives, each with the stamp of the "
             "bytes that\ncompleted it.\n\n"
             "kind: sse (the WHATWG's server-sent events), ndjson, or text (every chunk is an "
             "event).\nHow the body is cut into chunks changes nothing but the stamps.");

static PyType_Slot StreamParser_slots[] = {
    {Py_tp_doc, (void *)StreamParser_doc},
    {Py_tp_new, PFS_SLOT(StreamParser_new)},
    {Py_tp_dealloc, PFS_SLOT(StreamParser_dealloc)},
    {Py_tp_traverse, PFS_SLOT(StreamParser_traverse)},
    {Py_tp_methods, StreamParser_methods},
    {Py_tp_getset, StreamParser_getset},
    {0, NULL},
};

static PyType_Spec StreamParser_spec = {
    .name = "perfsuite._core.StreamParser",
    .basicsize = sizeof(StreamParser),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = StreamParser_slots,
};

int pfs_exec_stream(PyObject *module)
{
    return pfs_add_type(module, PFS_TYPE_STREAM_PARSER, &StreamParser_spec);
}
