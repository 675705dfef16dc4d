/* ResponseParser: the HTTP/1 side of a connection.  Body bytes go to a StreamParser if there is one
 * and the answer is a stream, else they wait as pieces. */
#include "py_stream.h"
#include "py_whole.h"

#include "pfs_http.h"

#include <string.h>

typedef struct {
    PyObject_HEAD pfs_http http;
    StreamParser *stream; /* or NULL; the same from __new__ to dealloc */
    pfs_pieces body;
    PyObject *chunk; /* bytes that `http` borrows, or NULL */
    PyObject *rest;  /* bytes behind the end of the response, or NULL */
    pfs_http_part part;
    bool pulled; /* `part` is taken from `http` and not dealt with yet */
    bool given;  /* its bytes are in the stream */
    bool streaming;
    int64_t head_ns, end_ns;
    uint64_t body_bytes;
} ResponseParser;

#define LOCK(self)                                                                                 \
    PFS_LOCK2((PyObject *)(self),                                                                  \
              (self)->stream == NULL ? (PyObject *)(self) : (PyObject *)(self)->stream)

static PyObject *ResponseParser_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"stream", "max_head", NULL};
    PyObject *stream = Py_None;
    PyObject *number = NULL;
    int64_t max_head = (int64_t)PFS_HTTP_MAX_HEAD;
    pfs_state *state = pfs_state_of_type(type);
    if (state == NULL ||
        !PyArg_ParseTupleAndKeywords(args, kwargs, "|OO:ResponseParser", keywords, &stream,
                                     &number) ||
        (number != NULL && pfs_whole_read(number, "max_head", 64, 1 << 30, &max_head) < 0)) {
        return NULL;
    }
    if (stream != Py_None && !Py_IS_TYPE(stream, state->types[PFS_TYPE_STREAM_PARSER])) {
        return PyErr_Format(PyExc_TypeError, "stream is a %s; it must be a StreamParser or None",
                            Py_TYPE(stream)->tp_name);
    }
    ResponseParser *self = (ResponseParser *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->http.alloc = pfs_py_alloc();
    pfs_status status = pfs_http_init(&self->http, (size_t)max_head, pfs_py_alloc());
    if (status != PFS_OK) {
        Py_DECREF(self);
        return pfs_raise(status, "max_head");
    }
    self->stream = stream == Py_None ? NULL : (StreamParser *)Py_NewRef(stream);
    return (PyObject *)self;
}

static int ResponseParser_traverse(ResponseParser *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->stream);
    return 0;
}

static void ResponseParser_dealloc(ResponseParser *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    pfs_pieces_clear(&self->body);
    pfs_http_clear(&self->http);
    Py_CLEAR(self->stream);
    Py_CLEAR(self->chunk);
    Py_CLEAR(self->rest);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

/* ---- what arrives ---------------------------------------------------------------------------- */

static bool starts_with(const char *value, const char *word)
{
    size_t i = 0;
    while (word[i] != '\0' && (value[i] | 0x20) == (word[i] | 0x20)) {
        i++;
    }
    return word[i] == '\0';
}

/* Whether the body goes to the stream: a success, as it is (no content coding), and not one JSON
 * document where server-sent events were asked for. */
static bool is_stream(const ResponseParser *self)
{
    int status = pfs_http_status(&self->http);
    const char *type = pfs_http_header(&self->http, "content-type");
    const char *coding = pfs_http_header(&self->http, "content-encoding");
    if (self->stream == NULL || status < 200 || status > 299 ||
        (coding != NULL && coding[0] != '\0' && !starts_with(coding, "identity"))) {
        return false;
    }
    return self->stream->stream.kind != PFS_STREAM_SSE || type == NULL ||
           !starts_with(type, "application/json");
}

/* Deals with the part that was pulled: how many pieces or events it made, or -1. */
static Py_ssize_t deal(ResponseParser *self)
{
    Py_ssize_t count = 0;
    switch (self->part.kind) {
    case PFS_HTTP_HEAD:
        self->head_ns = self->part.at_ns;
        self->streaming = is_stream(self);
        break;
    case PFS_HTTP_END:
        self->end_ns = self->part.at_ns;
        break;
    case PFS_HTTP_BODY:
        if (!self->given) {
            self->body_bytes += self->part.length;
        }
        if (!self->streaming) {
            self->given = true;
            count = 1;
            if (pfs_pieces_add(&self->body, self->chunk, self->part.bytes, self->part.length, NULL,
                               self->part.at_ns) < 0) {
                return -1;
            }
        } else if (self->given) {
            count = pfs_py_stream_drain(self->stream);
        } else {
            self->given = true;
            count = pfs_py_stream_give(self->stream, self->chunk, self->part.bytes,
                                       self->part.length, self->part.at_ns);
        }
        if (count < 0) {
            return -1;
        }
        break;
    }
    self->pulled = self->given = false;
    return count;
}

static int raise_wrong(const ResponseParser *self, pfs_status status)
{
    if (status == PFS_ENOMEM) {
        PyErr_NoMemory();
    } else {
        PyErr_SetString(status == PFS_ERANGE ? PyExc_OverflowError : PyExc_ValueError,
                        pfs_http_wrong(&self->http));
    }
    return -1;
}

/* Keeps a copy of what came behind the end of the response. */
static int keep_rest(ResponseParser *self)
{
    size_t length;
    const char *rest = pfs_http_rest(&self->http, &length);
    if (length != 0 && self->rest == NULL) {
        self->rest = PyBytes_FromStringAndSize(rest, (Py_ssize_t)length);
        if (self->rest == NULL) {
            return -1;
        }
    }
    return 0;
}

static Py_ssize_t drain(ResponseParser *self)
{
    Py_ssize_t count = 0;
    pfs_status status;
    for (;;) {
        if (self->pulled) {
            Py_ssize_t more = deal(self);
            if (more < 0) {
                return -1;
            }
            count += more;
        }
        status = pfs_http_next(&self->http, &self->part);
        if (status != PFS_OK) {
            break;
        }
        self->pulled = true;
    }
    if (status == PFS_ENOMEM || (status == PFS_EEMPTY && keep_rest(self) < 0)) {
        return status == PFS_ENOMEM ? raise_wrong(self, status) : -1;
    }
    if (self->rest == NULL) { /* else it is borrowed on: nothing more is read of it */
        Py_CLEAR(self->chunk);
    }
    return status == PFS_EEMPTY ? count : raise_wrong(self, status);
}

static Py_ssize_t feed(ResponseParser *self, PyObject *chunk, int64_t at_ns)
{
    Py_ssize_t before = 0;
    if (pfs_http_done(&self->http) && !self->pulled) {
        if (PyBytes_GET_SIZE(chunk) == 0) {
            return 0;
        }
        if (keep_rest(self) < 0) {
            return -1;
        }
        if (self->rest == NULL) {
            self->rest = Py_NewRef(chunk);
            return 0;
        }
        PyObject *rest = Py_NewRef(self->rest);
        PyBytes_Concat(&rest, chunk);
        if (rest == NULL) {
            return -1;
        }
        Py_SETREF(self->rest, rest);
        return 0;
    }
    if (self->chunk != NULL) { /* what a call that ran out of memory left */
        before = drain(self);
        if (before < 0) {
            return -1;
        }
    }
    pfs_status status = pfs_http_feed(&self->http, PyBytes_AS_STRING(chunk),
                                      (size_t)PyBytes_GET_SIZE(chunk), at_ns);
    if (status != PFS_OK) {
        return raise_wrong(self, status);
    }
    Py_XSETREF(self->chunk, Py_NewRef(chunk));
    Py_ssize_t count = drain(self);
    return count < 0 ? -1 : before + count;
}

static PyObject *ResponseParser_feed(ResponseParser *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *chunk;
    int64_t at_ns;
    if (pfs_pieces_read("feed", args, nargs, &chunk, &at_ns) < 0) {
        return NULL;
    }
    Py_ssize_t count;
    LOCK(self);
    count = feed(self, chunk, at_ns);
    PFS_UNLOCK2();
    Py_DECREF(chunk);
    return count < 0 ? NULL : PyLong_FromSsize_t(count);
}

static int close_response(ResponseParser *self)
{
    if (self->chunk != NULL && !pfs_http_done(&self->http) && drain(self) < 0) {
        return -1;
    }
    const char *wrong = pfs_http_wrong(&self->http);
    pfs_status status = pfs_http_close(&self->http, &self->part);
    if (status == PFS_OK) {
        self->end_ns = self->part.at_ns;
    } else if (wrong != NULL) { /* it had failed before */
        return raise_wrong(self, status);
    }
    return pfs_http_done(&self->http);
}

static PyObject *ResponseParser_close(ResponseParser *self, PyObject *unused)
{
    (void)unused;
    int done;
    LOCK(self);
    done = close_response(self);
    PFS_UNLOCK2();
    return done < 0 ? NULL : PyBool_FromLong(done);
}

static PyObject *ResponseParser_begin(ResponseParser *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs > 1) {
        return PyErr_Format(PyExc_TypeError, "begin() takes head=False, not %zd arguments", nargs);
    }
    int head = nargs == 1 ? PyObject_IsTrue(args[0]) : 0;
    if (head < 0) {
        return NULL;
    }
    LOCK(self);
    pfs_http_begin(&self->http, head != 0);
    pfs_pieces_clear(&self->body);
    self->pulled = self->given = self->streaming = false;
    self->head_ns = self->end_ns = 0;
    self->body_bytes = 0;
    Py_CLEAR(self->chunk);
    Py_CLEAR(self->rest);
    if (self->stream != NULL) {
        pfs_py_stream_reset(self->stream);
    }
    PFS_UNLOCK2();
    Py_RETURN_NONE;
}

static PyObject *ResponseParser_take(ResponseParser *self, PyObject *unused)
{
    (void)unused;
    return pfs_pieces_take(&self->body, (PyObject *)self, NULL);
}

/* ---- what is known --------------------------------------------------------------------------- */

/* Adds a field to a dict; values of one name are joined by ", ", as RFC 9110 has it. */
static int add_field(PyObject *dict, const char *name, const char *value)
{
    int done = -1;
    PyObject *key = PyUnicode_DecodeLatin1(name, (Py_ssize_t)strlen(name), NULL);
    PyObject *text = PyUnicode_DecodeLatin1(value, (Py_ssize_t)strlen(value), NULL);
    PyObject *before = key == NULL ? NULL : PyDict_GetItemWithError(dict, key);
    if (key != NULL && text != NULL && before != NULL) {
        Py_SETREF(text, PyUnicode_FromFormat("%U, %U", before, text));
    }
    if (key != NULL && text != NULL && !PyErr_Occurred()) {
        done = PyDict_SetItem(dict, key, text);
    }
    Py_XDECREF(key);
    Py_XDECREF(text);
    return done;
}

/* closure: NULL for the head, else the trailers. */
static PyObject *ResponseParser_fields(ResponseParser *self, void *closure)
{
    PyObject *dict = PyDict_New();
    if (dict == NULL) {
        return NULL;
    }
    int done = 0;
    PFS_LOCK(self);
    size_t cursor = 0;
    const char *name, *value;
    while (done == 0 && pfs_http_each(&self->http, closure != NULL, &cursor, &name, &value)) {
        done = add_field(dict, name, value);
    }
    PFS_UNLOCK();
    if (done < 0) {
        Py_CLEAR(dict);
    }
    return dict;
}

static PyObject *number_or_none(int64_t value)
{
    if (value == PFS_HTTP_UNKNOWN) {
        Py_RETURN_NONE;
    }
    return PyLong_FromLongLong(value);
}

static PyObject *ResponseParser_status(ResponseParser *self, void *closure)
{
    (void)closure;
    return PyLong_FromLong(pfs_http_status(&self->http));
}

static PyObject *ResponseParser_begun(ResponseParser *self, void *closure)
{
    (void)closure;
    return PyBool_FromLong(pfs_http_begun(&self->http));
}

static PyObject *ResponseParser_done(ResponseParser *self, void *closure)
{
    (void)closure;
    return PyBool_FromLong(pfs_http_done(&self->http));
}

static PyObject *ResponseParser_keep_alive(ResponseParser *self, void *closure)
{
    (void)closure;
    return PyBool_FromLong(self->rest == NULL && pfs_http_keep_alive(&self->http));
}

static PyObject *ResponseParser_streaming(ResponseParser *self, void *closure)
{
    (void)closure;
    return PyBool_FromLong(self->streaming);
}

static PyObject *ResponseParser_content_length(ResponseParser *self, void *closure)
{
    (void)closure;
    return number_or_none(pfs_http_content_length(&self->http));
}

static PyObject *ResponseParser_retry_after(ResponseParser *self, void *closure)
{
    (void)closure;
    return number_or_none(pfs_http_retry_after(&self->http));
}

static PyObject *ResponseParser_body_bytes(ResponseParser *self, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLongLong(self->body_bytes);
}

static PyObject *ResponseParser_rest(ResponseParser *self, void *closure)
{
    (void)closure;
    return self->rest == NULL ? PyBytes_FromStringAndSize(NULL, 0) : Py_NewRef(self->rest);
}

static PyObject *ResponseParser_head_ns(ResponseParser *self, void *closure)
{
    (void)closure;
    return number_or_none(pfs_http_status(&self->http) == 0 ? PFS_HTTP_UNKNOWN : self->head_ns);
}

static PyObject *ResponseParser_end_ns(ResponseParser *self, void *closure)
{
    (void)closure;
    return number_or_none(pfs_http_done(&self->http) ? self->end_ns : PFS_HTTP_UNKNOWN);
}

PyDoc_STRVAR(begin_doc, "begin($self, head=False, /)\n--\n\n"
                        "Ready for the next response of the connection; resets the stream, drops "
                        "what waits.\n\nhead: it answers a HEAD request and has no body.");
PyDoc_STRVAR(feed_doc,
             "feed($self, data, at_ns=None, /)\n--\n\n"
             "Read the next bytes of the connection; how many events they completed, or pieces of "
             "the\nbody they had where it is not `streaming`.\n\n"
             "at_ns: when they came (monotonic nanoseconds; now by default).  ValueError when this "
             "is no\nresponse that can be read with certainty, OverflowError when its head or an "
             "event is too\nlarge: what came before waits, the connection is lost.  After a "
             "MemoryError the data are\nkept: feed what follows them.");
PyDoc_STRVAR(close_doc,
             "close($self, /)\n--\n\n"
             "The peer has closed the connection; whether the response is complete.\n\n"
             "If not and `begun` is false, no byte of it came.  ValueError, OverflowError: as the "
             "feed\nthat failed before.");
PyDoc_STRVAR(take_doc, "take($self, /)\n--\n\n"
                       "The pieces of the body that wait, and forget them: a list of (at_ns, "
                       "bytes).");

static PyMethodDef ResponseParser_methods[] = {
    {"begin", PFS_METHOD(ResponseParser_begin), METH_FASTCALL, begin_doc},
    {"feed", PFS_METHOD(ResponseParser_feed), METH_FASTCALL, feed_doc},
    {"close", PFS_METHOD(ResponseParser_close), METH_NOARGS, close_doc},
    {"take", PFS_METHOD(ResponseParser_take), METH_NOARGS, take_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef ResponseParser_getset[] = {
    {"status", (getter)ResponseParser_status, NULL, "The status code; 0 before the head.", NULL},
    {"headers", (getter)ResponseParser_fields, NULL,
     "A new dict: names in lower case, values of one name joined by \", \".", NULL},
    {"trailers", (getter)ResponseParser_fields, NULL, "As headers, behind a chunked body.",
     (void *)"trailers"},
    {"begun", (getter)ResponseParser_begun, NULL, "Whether any byte of the response came.", NULL},
    {"done", (getter)ResponseParser_done, NULL, "Whether the response is complete.", NULL},
    {"keep_alive", (getter)ResponseParser_keep_alive, NULL,
     "Whether the connection may take another request: done, with certainty, and nothing behind.",
     NULL},
    {"streaming", (getter)ResponseParser_streaming, NULL,
     "Whether the body goes to the stream: 2xx, no content coding, and no JSON document in the "
     "place of server-sent events.",
     NULL},
    {"content_length", (getter)ResponseParser_content_length, NULL, "Or None.", NULL},
    {"retry_after", (getter)ResponseParser_retry_after, NULL,
     "Seconds, or None (a date is in the headers).", NULL},
    {"body_bytes", (getter)ResponseParser_body_bytes, NULL, "Bytes of the body so far.", NULL},
    {"rest", (getter)ResponseParser_rest, NULL, "Bytes that came behind the response.", NULL},
    {"head_ns", (getter)ResponseParser_head_ns, NULL, "The stamp of the head's end, or None.",
     NULL},
    {"end_ns", (getter)ResponseParser_end_ns, NULL, "The stamp of the response's end, or None.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(ResponseParser_doc, "ResponseParser(stream=None, max_head=65536)\n--\n\n"
                                 "Reads the HTTP/1 responses of one connection as they arrive.\n\n"
                                 "stream: a StreamParser that gets the bodies that are streams.");

static PyType_Slot ResponseParser_slots[] = {
    {Py_tp_doc, (void *)ResponseParser_doc},
    {Py_tp_new, PFS_SLOT(ResponseParser_new)},
    {Py_tp_dealloc, PFS_SLOT(ResponseParser_dealloc)},
    {Py_tp_traverse, PFS_SLOT(ResponseParser_traverse)},
    {Py_tp_methods, ResponseParser_methods},
    {Py_tp_getset, ResponseParser_getset},
    {0, NULL},
};

static PyType_Spec ResponseParser_spec = {
    .name = "perfsuite._core.ResponseParser",
    .basicsize = sizeof(ResponseParser),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = ResponseParser_slots,
};

int pfs_exec_http(PyObject *module)
{
    return pfs_add_type(module, PFS_TYPE_RESPONSE_PARSER, &ResponseParser_spec);
}
