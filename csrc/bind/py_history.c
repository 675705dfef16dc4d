#include "py_history.h"

#include "pfs_trim.h"
#include "py_messages.h"

#include <string.h>

/* What may run the collector, and so any Python code, comes before the first look at the list. */
static int open_history(pfs_history *h, PyObject *list)
{
    h->ids = PyDict_New();
    if (h->ids == NULL) {
        return -1;
    }
    h->list = list;
    h->count = PyList_GET_SIZE(list);
    if ((size_t)h->count >= PFS_TRIM_NOTHING) {
        PyErr_SetString(PyExc_OverflowError, "a history cannot be longer than 2**32 - 2 messages");
        return -1;
    }
    size_t count = (size_t)h->count;
    /* One block: of several, each below the size from which glibc takes it for a passing one, a
     * long history would have the heap's end given back and faulted in again at every call.  Of 0
     * bytes too PyMem_Malloc gives a block. */
    h->items = PyMem_Malloc(count * (sizeof *h->items + sizeof *h->bytes + sizeof *h->marks));
    if (h->items == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    h->bytes = (size_t *)(h->items + count);
    h->marks = (uint8_t *)(h->bytes + count);
    if (count != 0) {
        memcpy(h->items, ((PyListObject *)list)->ob_item, count * sizeof(PyObject *));
    }
    return 0;
}

void pfs_history_close(pfs_history *h)
{
    PyMem_Free(h->items);
    PyMem_Free(h->answers);
    Py_XDECREF(h->ids);
}

static bool changed(void)
{
    PyErr_SetString(PyExc_RuntimeError,
                    "the list of messages was changed while it was being trimmed (by the token "
                    "counter or another thread); it was not trimmed");
    return false;
}

bool pfs_history_unchanged(const pfs_history *h)
{
    bool same = PyList_GET_SIZE(h->list) == h->count &&
                (h->count == 0 || memcmp(((PyListObject *)h->list)->ob_item, h->items,
                                         (size_t)h->count * sizeof(PyObject *)) == 0);
    return same || changed();
}

PyObject *pfs_history_hold(const pfs_history *h, Py_ssize_t i)
{
    if (PyList_GET_SIZE(h->list) != h->count || PyList_GET_ITEM(h->list, i) != h->items[i]) {
        (void)changed();
        return NULL;
    }
    return Py_NewRef(h->items[i]);
}

/* ---- which call a reply answers -------------------------------------------------------------- */

typedef struct {
    uint32_t opening, calls; /* the nearest user message and the nearest calls, or NOTHING */
    Py_ssize_t indexed;      /* the calls before it are in `ids` */
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
    for (; r->indexed < i; r->indexed++) {
        if (h->marks[r->indexed] & PFS_TRIM_CALLS) {
            PyObject *index = PyLong_FromSsize_t(r->indexed);
            int status =
                index == NULL ? -1 : pfs_message_index_calls(h->items[r->indexed], index, h->ids);
            Py_XDECREF(index);
            if (status < 0) {
                return -1;
            }
        }
    }
    PyObject *found = PyDict_GetItemWithError(h->ids, id);
    if (found != NULL) {
        *call = (uint32_t)PyLong_AsUnsignedLong(found);
    }
    return found == NULL && PyErr_Occurred() ? -1 : 0;
}

static int read_reply(pfs_history *h, reading *r, Py_ssize_t i, PyObject *id)
{
    uint32_t call = r->calls; /* with no id to go by: the nearest, in an earlier turn if need be */
    if (id != NULL && (call == PFS_TRIM_NOTHING || !pfs_message_calls(h->items[call], id))) {
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

static inline int take(pfs_history *h, reading *r, Py_ssize_t i, const pfs_message *message)
{
    h->marks[i] = message->mark;
    h->bytes[i] = message->bytes;
    h->bytes_in_all += message->bytes;
    switch (message->mark & PFS_TRIM_ROLE) {
    case PFS_TRIM_USER:
        r->opening = (uint32_t)i;
        return 0;
    case PFS_TRIM_ASSISTANT:
        r->calls = message->mark & PFS_TRIM_CALLS ? (uint32_t)i : r->calls;
        return 0;
    case PFS_TRIM_TOOL:
        return read_reply(h, r, i, message->reply);
    default:
        return 0;
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

/* A message is a dict, its table and its text, each somewhere else, and a long history is in no
 * cache: waiting for one after the other would be most of a trim.  So messages are read in blocks:
 * while one is read, the tables of the next and the dicts of the one after it are fetched, and in a
 * block all tables are read before the texts that they lead to. */
enum { BLOCK = 16 };

/* The lines that hold the first `bytes` (at most 65) of an object. */
static inline void fetch(const void *object, size_t bytes)
{
#if defined(__GNUC__)
    __builtin_prefetch(object);
    __builtin_prefetch((const char *)object + bytes - 1);
#else
    (void)object, (void)bytes;
#endif
}

static void fetch_ahead(const pfs_history *h, Py_ssize_t first)
{
    Py_ssize_t tables = first + BLOCK, dicts = tables + BLOCK, end = dicts + BLOCK;
    for (Py_ssize_t i = tables; i < dicts && i < h->count; i++) {
        if (PyDict_Check(h->items[i])) {
            fetch(((PyDictObject *)h->items[i])->ma_keys, 65);
        }
    }
    for (Py_ssize_t i = dicts; i < end && i < h->count; i++) {
        fetch(h->items[i], sizeof(PyDictObject));
    }
}

int pfs_history_read(pfs_history *h, PyObject *list)
{
    if (open_history(h, list) < 0) {
        return -1;
    }
    reading r = {.opening = PFS_TRIM_NOTHING, .calls = PFS_TRIM_NOTHING};
    pfs_words words = {NULL, NULL, NULL, NULL};
    for (Py_ssize_t first = 0; first < h->count; first += BLOCK) {
        Py_ssize_t here = h->count - first < BLOCK ? h->count - first : BLOCK;
        pfs_plain plain[BLOCK];
        fetch_ahead(h, first);
        for (Py_ssize_t i = 0; i < here; i++) {
            plain[i] = pfs_message_plain(h->items[first + i], &words);
            if (plain[i].content != NULL) {
                fetch(plain[i].content, sizeof(PyASCIIObject));
            }
        }
        for (Py_ssize_t i = 0; i < here; i++) {
            pfs_message message;
            if (!pfs_message_read_plain(&plain[i], &words, &message) &&
                pfs_message_read(h->items[first + i], first + i, &words, &message) < 0) {
                return -1;
            }
            if (take(h, &r, first + i, &message) < 0) {
                return -1;
            }
        }
    }
    return 0;
}
