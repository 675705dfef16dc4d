/* trim(): reads the messages, asks pfs_trim what stays, counts tokens, and changes the list in one
 * step.  A token counter (and str() of odd tool arguments) may run any Python code, so everything
 * works on a tuple of the messages, and the list must still hold the same ones when it is changed.
 */
#include "pfs_py.h"
#include "py_messages.h"

#include "pfs_clock.h"
#include "pfs_trim.h"

#include <math.h>

typedef struct {
    PyObject *messages; /* a tuple: what the list held at the call */
    Py_ssize_t count;
    uint8_t *marks;
    size_t *bytes;
    uint32_t *answers; /* of pfs_trim_arrange; NULL as long as no reply needs it */
} history;

static int open_history(history *h, PyObject *list)
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

static void close_history(history *h)
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
static int spell_out(history *h, Py_ssize_t end)
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
static int look_up(history *h, reading *r, Py_ssize_t i, PyObject *id, uint32_t *call)
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

static int read_reply(history *h, reading *r, Py_ssize_t i, PyObject *id)
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

static int read_history(history *h)
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

/* ---- tokens ---------------------------------------------------------------------------------- */

typedef struct {
    PyObject *counter;
    int64_t budget; /* INT64_MAX: none */
    int64_t kept, counted;
    bool all; /* whether every message was counted */
} tokens;

/* Adds the tokens of message i to *sum.  0, or -1 with an exception. */
static int count_message(const history *h, tokens *t, Py_ssize_t i, int64_t *sum)
{
    PyObject *text = pfs_message_text(PyTuple_GET_ITEM(h->messages, i));
    PyObject *result = text == NULL ? NULL : PyObject_CallOneArg(t->counter, text);
    Py_XDECREF(text);
    if (result == NULL) {
        return -1;
    }
    if (!PyIndex_Check(result)) {
        PyErr_Format(PyExc_TypeError,
                     "token_counter returned %R for messages[%zd]; it must "
                     "return an int",
                     result, i);
        Py_DECREF(result);
        return -1;
    }
    PyObject *whole = PyNumber_Index(result);
    Py_DECREF(result);
    if (whole == NULL) {
        return -1;
    }
    int overflow = 0;
    long long value = PyLong_AsLongLongAndOverflow(whole, &overflow);
    if (overflow < 0 || (overflow == 0 && value < 0)) {
        PyErr_Format(PyExc_ValueError,
                     "token_counter returned %R for messages[%zd]; it must be 0 "
                     "or more",
                     whole, i);
        Py_DECREF(whole);
        return -1;
    }
    Py_DECREF(whole);
    int64_t add = overflow > 0 ? INT64_MAX : (int64_t)value;
    *sum = *sum > INT64_MAX - add ? INT64_MAX : *sum + add;
    t->counted = t->counted > INT64_MAX - add ? INT64_MAX : t->counted + add;
    return 0;
}

/* Counts fixed messages, then turns from the newest on, until one does not fit; moves *cut there.
 * The newest turn of which anything counts stays even if it does not fit. */
static int cut_by_tokens(const history *h, tokens *t, Py_ssize_t *cut)
{
    for (Py_ssize_t i = h->count; i-- > 0;) {
        if ((h->marks[i] & PFS_TRIM_FIXED) && count_message(h, t, i, &t->kept) < 0) {
            return -1;
        }
    }
    Py_ssize_t start = h->count;
    bool newest = true;
    while (start > *cut) {
        Py_ssize_t turn = (Py_ssize_t)pfs_trim_turn_before(h->marks, (size_t)start);
        int64_t sum = t->kept;
        bool any = false;
        for (Py_ssize_t i = start; i-- > turn;) {
            if (h->marks[i] & PFS_TRIM_FIXED) {
                continue;
            }
            any = true;
            if (!newest && sum > t->budget) {
                break;
            }
            if (count_message(h, t, i, &sum) < 0) {
                return -1;
            }
        }
        if (any && !newest && sum > t->budget) {
            break;
        }
        newest &= !any;
        t->kept = sum;
        start = turn;
    }
    if (start > *cut && pfs_trim_removed(h->marks, (size_t)start) > 0) {
        *cut = start;
        t->all = false;
    }
    return 0;
}

/* With no budget at which to stop, what is removed is counted as well. */
static int count_removed(const history *h, tokens *t, Py_ssize_t cut)
{
    int64_t sum = 0;
    for (Py_ssize_t i = cut; i-- > 0;) {
        if (!(h->marks[i] & PFS_TRIM_FIXED) && count_message(h, t, i, &sum) < 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- the call -------------------------------------------------------------------------------- */

static int changed(void)
{
    PyErr_SetString(PyExc_RuntimeError,
                    "the list of messages was changed while it was being trimmed (by the token "
                    "counter or another thread); it was not trimmed");
    return -1;
}

/* Replaces what stands before the cut by what is fixed of it. */
static int commit(const history *h, PyObject *list, Py_ssize_t cut, Py_ssize_t removed)
{
    PyObject *fixed = PyList_New(cut - removed); /* may collect garbage: before the comparison */
    if (fixed == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0, to = 0; i < cut; i++) {
        if (h->marks[i] & PFS_TRIM_FIXED) {
            PyList_SET_ITEM(fixed, to++, Py_NewRef(PyTuple_GET_ITEM(h->messages, i)));
        }
    }
    bool same = PyList_GET_SIZE(list) == h->count;
    for (Py_ssize_t i = 0; same && i < h->count; i++) {
        same = PyList_GET_ITEM(list, i) == PyTuple_GET_ITEM(h->messages, i);
    }
    int status = same ? 0 : changed();
    if (status == 0 && removed > 0) {
        status = PyList_SetSlice(list, 0, cut, fixed);
    }
    Py_DECREF(fixed);
    return status;
}

static PyObject *report(const history *h, const tokens *t, Py_ssize_t cut, pfs_trim_reason reason,
                        int64_t began)
{
    static const char *const reasons[] = {"none", "trigger", "emergency", "tokens"};
    size_t removed = pfs_trim_removed(h->marks, (size_t)cut), before = 0, gone = 0;
    for (Py_ssize_t i = 0; i < h->count; i++) {
        before += h->bytes[i];
        gone += i < cut && !(h->marks[i] & PFS_TRIM_FIXED) ? h->bytes[i] : 0;
    }
    double elapsed_ms = (double)(pfs_clock_ns() - began) / 1e6;
    Py_ssize_t kept = h->count - (Py_ssize_t)removed;
    if (t->counter == NULL) {
        return Py_BuildValue("nnsnnOOdOO", (Py_ssize_t)removed, kept, reasons[reason],
                             (Py_ssize_t)before, (Py_ssize_t)(before - gone), Py_None, Py_None,
                             elapsed_ms, Py_False, Py_False);
    }
    return Py_BuildValue("nnsnnLLdOO", (Py_ssize_t)removed, kept, reasons[reason],
                         (Py_ssize_t)before, (Py_ssize_t)(before - gone), (long long)t->counted,
                         (long long)t->kept, elapsed_ms, t->kept > t->budget ? Py_True : Py_False,
                         t->all ? Py_True : Py_False);
}

static PyObject *trim_list(PyObject *list, const pfs_trim_policy *policy, bool keep_system,
                           tokens *t)
{
    int64_t began = pfs_clock_ns();
    history h = {0};
    PyObject *result = NULL;
    if (open_history(&h, list) < 0 || read_history(&h) < 0) {
        goto done;
    }
    size_t length = pfs_trim_arrange(h.marks, (size_t)h.count, h.answers, keep_system), place = 0;
    pfs_trim_reason reason = pfs_trim_by_length(policy, h.marks, (size_t)h.count, length, &place);
    Py_ssize_t cut = (Py_ssize_t)place;
    if (t->counter != NULL) {
        if (cut_by_tokens(&h, t, &cut) < 0) {
            goto done;
        }
        if ((size_t)cut > place) {
            reason = PFS_TRIM_TOKENS;
        } else if (t->budget < INT64_MAX) {
            t->all = reason == PFS_TRIM_NONE;
        } else if (count_removed(&h, t, cut) < 0) {
            goto done;
        }
    }
    Py_ssize_t removed = (Py_ssize_t)pfs_trim_removed(h.marks, (size_t)cut);
    if ((removed == 0 && t->counter == NULL) || commit(&h, list, cut, removed) == 0) {
        result = report(&h, t, cut, reason, began);
    }
done:
    close_history(&h);
    return result;
}

PyDoc_STRVAR(trim_doc,
             "trim($module, messages, max_pairs, trim_threshold, safe_level, emergency_threshold,"
             " max_tokens, keep_system, token_counter, /)\n--\n\n"
             "What perfsuite.trim does, with the fields of a valid policy; the fields of a "
             "TrimReport.");

static PyObject *trim(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    if (nargs != 8) {
        PyErr_Format(PyExc_TypeError, "trim() takes 8 arguments, not %zd", nargs);
        return NULL;
    }
    if (!PyList_Check(args[0])) {
        PyErr_Format(PyExc_TypeError,
                     "messages is of type %s; it must be a list, to be trimmed in place",
                     Py_TYPE(args[0])->tp_name);
        return NULL;
    }
    pfs_trim_policy policy = {.max_pairs = PyLong_AsLongLong(args[1]),
                              .trim_threshold = PyFloat_AsDouble(args[2]),
                              .safe_level = PyFloat_AsDouble(args[3]),
                              .emergency_threshold = PyFloat_AsDouble(args[4])};
    tokens t = {.counter = args[7] == Py_None ? NULL : args[7], .budget = INT64_MAX, .all = true};
    int overflow = 0;
    if (!PyErr_Occurred() && args[5] != Py_None) {
        t.budget = PyLong_AsLongLongAndOverflow(args[5], &overflow);
        t.budget = overflow > 0 ? INT64_MAX - 1 : t.budget;
    }
    int keep_system = PyObject_IsTrue(args[6]);
    if (PyErr_Occurred() || keep_system < 0) {
        return NULL;
    }
    if (policy.max_pairs < 1) {
        return pfs_raise(PFS_EINVAL, "max_pairs");
    }
    if (t.counter != NULL && !PyCallable_Check(t.counter)) {
        PyErr_Format(PyExc_TypeError,
                     "token_counter is of type %s; it must be callable: text -> number of tokens",
                     Py_TYPE(t.counter)->tp_name);
        return NULL;
    }
    if (t.counter == NULL && t.budget != INT64_MAX) {
        PyErr_SetString(PyExc_ValueError,
                        "the policy has max_tokens, so trim needs a token_counter "
                        "(text -> number of tokens)");
        return NULL;
    }
    return trim_list(args[0], &policy, keep_system != 0, &t);
}

static PyMethodDef functions[] = {
    {"trim", PFS_METHOD(trim), METH_FASTCALL, trim_doc},
    {NULL, NULL, 0, NULL},
};

int pfs_exec_trim(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
