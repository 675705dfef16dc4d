#include "py_history.h"

#include "pfs_trim.h"
#include "py_messages.h"

int pfs_history_open(pfs_history *h, PyObject *list)
{
    h->messages = PyList_AsTuple(list);
    if (h->messages == NULL) {
        return -1;
    }
    h->count = PyTuple_GET_SIZE(h->messages);
    if ((size_t)h->count >= PFS_TRIM_NOTHING) {
        PyErr_SetString(PyExc_OverflowError, "a history cannot be longer than 2**32 - 2 messages");
        return -1;
    }
    size_t room = h->count == 0 ? 1 : (size_t)h->count;
    h->marks = PyMem_Malloc(room);
    h->bytes = PyMem_Calloc(room, sizeof *h->bytes);
    if (h->marks == NULL || h->bytes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

void pfs_history_close(pfs_history *h)
{
    PyMem_Free(h->marks);
    PyMem_Free(h->bytes);
    PyMem_Free(h->answers);
    Py_XDECREF(h->messages);
}

/* ---- which call a reply answers -------------------------------------------------------------- */

typedef struct {
    uint32_t opening, calls; /* the nearest user message and the nearest calls, or NOTHING */
    PyObject *ids; /* dict: id -> index of the latest call before `indexed` with this id */
    Py_ssize_t indexed;
} reading;

/* What pfs_trim_arrange takes a reply to answer when it is not told. */
static uint32_t presumed(const reading *r)
{
    bool in_turn =
        r->calls != PFS_TRIM_NOTHING && (r->opening == PFS_TRIM_NOTHING || r->calls > r->opening);
    return in_turn ? r->calls : PFS_TRIM_NOTHING;
}

/* Fills answers with what was presumed of all messages before `end`. */
static int spell_out(pfs_history *h, Py_ssize_t end)
{
    h->answers = PyMem_Malloc((size_t)h->count * sizeof *h->answers);
    if (h->answers == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    reading r = {.opening = PFS_TRIM_NOTHING, .calls = PFS_TRIM_NOTHING};
    for (Py_ssize_t i = 0; i < end; i++) {
        if ((h->marks[i] & PFS_TRIM_ROLE) == PFS_TRIM_USER) {
            r.opening = (uint32_t)i;
        } else if (h->marks[i] & PFS_TRIM_CALLS) {
            r.calls = (uint32_t)i;
        }
        h->answers[i] = presumed(&r);
    }
    return 0;
}

/* Looks the id up among all calls before message i; *call stays as it is when no call has it. */
static int look_up(pfs_history *h, reading *r, Py_ssize_t i, PyObject *id, uint32_t *call)
{
    if (r->ids == NULL && (r->ids = PyDict_New()) == NULL) {
        return -1;
    }
    for (; r->indexed < i; r->indexed++) {
        if (h->marks[r->indexed] & PFS_TRIM_CALLS) {
            PyObject *index = PyLong_FromSsize_t(r->indexed);
            int status = index == NULL
                             ? -1
                             : pfs_message_index_calls(PyTuple_GET_ITEM(h->messages, r->indexed),
                                                       index, r->ids);
            Py_XDECREF(index);
            if (status < 0) {
                return -1;
            }
        }
    }
    PyObject *found = PyDict_GetItemWithError(r->ids, id);
    if (found != NULL) {
        *call = (uint32_t)PyLong_AsUnsignedLong(found);
    }
    return found == NULL && PyErr_Occurred() ? -1 : 0;
}

static int read_reply(pfs_history *h, reading *r, Py_ssize_t i, PyObject *id)
{
    uint32_t call = r->calls; /* with no id to go by: the nearest, in an earlier turn if need be */
    if (id != NULL &&
        (call == PFS_TRIM_NOTHING || !pfs_message_calls(PyTuple_GET_ITEM(h->messages, call), id))) {
        call = presumed(r);
        if (r->calls != PFS_TRIM_NOTHING && look_up(h, r, i, id, &call) < 0) {
            return -1;
        }
    }
    if (h->answers == NULL && call != presumed(r) && spell_out(h, i) < 0) {
        return -1;
    }
    if (h->answers != NULL) {
        h->answers[i] = call;
    }
    return 0;
}

int pfs_history_read(pfs_history *h)
{
    reading r = {.opening = PFS_TRIM_NOTHING, .calls = PFS_TRIM_NOTHING};
    int status = 0;
    for (Py_ssize_t i = 0; i < h->count && status == 0; i++) {
        pfs_message message;
        status = pfs_message_read(PyTuple_GET_ITEM(h->messages, i), i, &message);
        if (status < 0) {
            break;
        }
        h->marks[i] = message.mark;
        h->bytes[i] = message.bytes;
        switch (message.mark & PFS_TRIM_ROLE) {
        case PFS_TRIM_USER:
            r.opening = (uint32_t)i;
            break;
        case PFS_TRIM_ASSISTANT:
            r.calls = message.mark & PFS_TRIM_CALLS ? (uint32_t)i : r.calls;
            break;
        case PFS_TRIM_TOOL:
            status = read_reply(h, &r, i, message.reply);
            break;
        default:
            break;
        }
    }
    Py_XDECREF(r.ids);
    return status;
}
