/* trim(): reads the messages, asks pfs_trim what stays, counts tokens, and changes the list in one
 * step.  A token counter (and str() of odd tool arguments) may run any Python code, so the
 * list must still hold the same messages whenever one is counted and when it is changed.
 */
#include "pfs_py.h"
#include "py_whole.h"
#include "py_history.h"
#include "py_messages.h"

#include "pfs_clock.h"
#include "pfs_trim.h"

#include <math.h>

/* ---- tokens ---------------------------------------------------------------------------------- */

typedef struct {
    PyObject *counter;
    int64_t budget; /* INT64_MAX: none */
    int64_t kept, counted;
    bool all; /* whether every message was counted */
} tokens;

/* Adds the tokens of message i to *sum.  0, or -1 with an exception. */
static int count_message(const pfs_history *h, tokens *t, Py_ssize_t i, int64_t *sum)
{
    PyObject *message = pfs_history_hold(h, i);
    PyObject *text = message == NULL ? NULL : pfs_message_text(message);
    PyObject *result = text == NULL ? NULL : PyObject_CallOneArg(t->counter, text);
    Py_XDECREF(text);
    Py_XDECREF(message);
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
static int cut_by_tokens(const pfs_history *h, tokens *t, Py_ssize_t *cut)
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
static int count_removed(const pfs_history *h, tokens *t, Py_ssize_t cut)
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

/* Replaces what stands before the cut by what is fixed of it. */
static int commit(const pfs_history *h, Py_ssize_t cut, Py_ssize_t removed)
{
    PyObject *fixed = PyList_New(cut - removed); /* may collect garbage: before the comparison */
    if (fixed == NULL) {
        return -1;
    }
    int status = pfs_history_unchanged(h) ? 0 : -1;
    if (status == 0 && removed > 0) {
        for (Py_ssize_t i = 0, to = 0; to < cut - removed; i++) {
            if (h->marks[i] & PFS_TRIM_FIXED) {
                PyList_SET_ITEM(fixed, to++, Py_NewRef(h->items[i]));
            }
        }
        status = PyList_SetSlice(h->list, 0, cut, fixed);
    }
    Py_DECREF(fixed);
    return status;
}

static PyObject *report(const pfs_history *h, const tokens *t, Py_ssize_t cut, Py_ssize_t removed,
                        pfs_trim_reason reason, int64_t began)
{
    static const char *const reasons[] = {"none", "trigger", "emergency", "tokens"};
    size_t before = h->bytes_in_all, gone = 0;
    for (Py_ssize_t i = 0; i < cut; i++) {
        gone += h->marks[i] & PFS_TRIM_FIXED ? 0 : h->bytes[i];
    }
    double elapsed_ms = (double)(pfs_clock_ns() - began) / 1e6;
    Py_ssize_t kept = h->count - removed;
    if (t->counter == NULL) {
        return Py_BuildValue("nnsnnOOdOO", removed, kept, reasons[reason], (Py_ssize_t)before,
                             (Py_ssize_t)(before - gone), Py_None, Py_None, elapsed_ms, Py_False,
                             Py_False);
    }
    return Py_BuildValue("nnsnnLLdOO", removed, kept, reasons[reason], (Py_ssize_t)before,
                         (Py_ssize_t)(before - gone), (long long)t->counted, (long long)t->kept,
                         elapsed_ms, t->kept > t->budget ? Py_True : Py_False,
                         t->all ? Py_True : Py_False);
}

static PyObject *trim_list(PyObject *list, const pfs_trim_policy *policy, bool keep_system,
                           tokens *t)
{
    int64_t began = pfs_clock_ns();
    pfs_history h = {0};
    PyObject *result = NULL;
    if (pfs_history_read(&h, list) < 0) {
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
    if ((removed == 0 && t->counter == NULL) || commit(&h, cut, removed) == 0) {
        result = report(&h, t, cut, removed, reason, began);
    }
done:
    pfs_history_close(&h);
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
    int64_t max_pairs;
    if (pfs_whole_read(args[1], "max_pairs", INT64_MIN, INT64_MAX, &max_pairs) < 0) {
        return NULL;
    }
    pfs_trim_policy policy = {.max_pairs = max_pairs,
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
