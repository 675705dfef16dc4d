/* Properties of Events: the counts of a load, and how it is set up. */
#include "py_events.h"
#include "py_whole.h"

static pfs_events_counts counted(PyObject *object)
{
    pfs_events_counts counts;
    PFS_LOCK(object);
    counts = *pfs_events_counted(((Events *)object)->events);
    PFS_UNLOCK();
    return counts;
}

static PyObject *Events_get_count(PyObject *object, void *offset)
{
    pfs_events_counts counts = counted(object);
    uint64_t value;
    memcpy(&value, (const char *)&counts + (uintptr_t)offset, sizeof value);
    return PyLong_FromUnsignedLongLong(value);
}

static PyObject *Events_get_errors(PyObject *object, void *closure)
{
    (void)closure;
    pfs_events_counts counts = counted(object);
    PyObject *dict = PyDict_New();
    for (int s = PFS_EVENTS_OK + 1; dict != NULL && s < PFS_EVENTS_STATUSES; s++) {
        if (counts.errors[s] == 0) {
            continue;
        }
        if (pfs_py_set_item(dict, pfs_events_status_name(s),
                            PyLong_FromUnsignedLongLong(counts.errors[s])) < 0) {
            Py_CLEAR(dict);
        }
    }
    return dict;
}

static PyObject *Events_get_longest_wait(PyObject *object, void *closure)
{
    (void)closure;
    return PyFloat_FromDouble((double)counted(object).longest_wait_ns * 1e-6);
}

static PyObject *Events_get_tokens_per_chunk(PyObject *object, void *closure)
{
    (void)closure;
    pfs_events_counts counts = counted(object);
    if (counts.visible_chunks == 0) {
        Py_RETURN_NONE;
    }
    return PyFloat_FromDouble((double)counts.visible_tokens / (double)counts.visible_chunks);
}

static PyObject *Events_get_block_s(PyObject *object, void *closure)
{
    (void)closure;
    int64_t ns;
    PFS_LOCK(object);
    ns = pfs_events_slice_ns(((Events *)object)->events);
    PFS_UNLOCK();
    return PyFloat_FromDouble((double)ns * 1e-9);
}

static PyObject *Events_get_window_s(PyObject *object, void *closure)
{
    (void)closure;
    int64_t ns;
    PFS_LOCK(object);
    ns = pfs_events_seconds(((Events *)object)->events)->width_ns;
    PFS_UNLOCK();
    return PyFloat_FromDouble((double)ns * 1e-9);
}

static PyObject *Events_get_warmup_ns(PyObject *object, void *closure)
{
    (void)closure;
    int64_t warmup;
    PFS_LOCK(object);
    warmup = pfs_events_configuration(((Events *)object)->events)->warmup_ns;
    PFS_UNLOCK();
    return PyLong_FromLongLong(warmup);
}

static int Events_set_warmup_ns(PyObject *object, PyObject *value, void *closure)
{
    (void)closure;
    int64_t warmup;
    if (value == NULL || value == Py_None) {
        PyErr_SetString(PyExc_TypeError, "warmup_ns is a length in nanoseconds");
        return -1;
    }
    if (pfs_whole_read(value, "warmup_ns", 0, INT64_MAX, &warmup) < 0) {
        return -1;
    }
    pfs_status status;
    PFS_LOCK(object);
    status = pfs_events_shorten_warmup(((Events *)object)->events, warmup);
    PFS_UNLOCK();
    if (status != PFS_OK) {
        PyErr_SetString(PyExc_ValueError, "warmup_ns cannot grow: make a new Events for that");
        return -1;
    }
    return 0;
}

static PyObject *Events_get_limit_ms(PyObject *object, void *closure)
{
    (void)closure;
    return PyFloat_FromDouble(pfs_events_configuration(((Events *)object)->events)->limit_ms);
}

static PyObject *Events_get_stamps(PyObject *object, void *closure)
{
    (void)closure;
    return PyBool_FromLong(pfs_events_configuration(((Events *)object)->events)->stamps);
}

static PyObject *Events_get_raw(PyObject *object, void *closure)
{
    (void)closure;
    return PyBool_FromLong(pfs_events_configuration(((Events *)object)->events)->raw);
}

static PyObject *Events_get_start_ns(PyObject *object, void *closure)
{
    (void)closure;
    int64_t start;
    PFS_LOCK(object);
    start = pfs_events_configuration(((Events *)object)->events)->start_ns;
    PFS_UNLOCK();
    return PyLong_FromLongLong(start);
}

static int Events_set_start_ns(PyObject *object, PyObject *value, void *closure)
{
    (void)closure;
    int64_t start;
    if (value == NULL || value == Py_None) {
        PyErr_SetString(PyExc_TypeError, "start_ns is a stamp of time.monotonic_ns");
        return -1;
    }
    if (pfs_whole_read(value, "start_ns", INT64_MIN, INT64_MAX, &start) < 0) {
        return -1;
    }
    pfs_status status;
    PFS_LOCK(object);
    status = pfs_events_restart(((Events *)object)->events, start);
    PFS_UNLOCK();
    if (status != PFS_OK) {
        PyErr_SetString(PyExc_RuntimeError,
                        "start_ns cannot move: rows have begun; make a new Events for a new load");
        return -1;
    }
    return 0;
}

#define COUNT(name, doc)                                                                           \
    {                                                                                              \
#name, Events_get_count, NULL, doc, (void *)offsetof(pfs_events_counts, name)              \
    }

PyGetSetDef pfs_py_events_getset[] = {
    COUNT(started, "Requests begun, warm-up left out."),
    COUNT(completed, "Requests that were answered, warm-up left out."),
    COUNT(failed, "Requests that failed, warm-up and cancelled ones left out."),
    COUNT(cancelled, "Requests that the client gave up itself: neither completed nor failed."),
    COUNT(good, "Completed requests that met every objective."),
    COUNT(warmup, "Requests of warm-up."),
    COUNT(warmup_failed, "Requests of warm-up that failed."),
    COUNT(in_flight, "Requests sent and not ended now."),
    COUNT(max_in_flight, "The most that were in flight at once."),
    COUNT(waiting, "Requests begun and not sent now."),
    COUNT(prompt_tokens, "Prompt tokens of completed requests."),
    COUNT(completion_tokens, "Completion tokens of completed requests."),
    {"tokens", Events_get_count, NULL,
     "Visible tokens of completed requests that came in chunks; tokens / chunks is\n"
     "tokens_per_chunk.",
     (void *)offsetof(pfs_events_counts, visible_tokens)},
    {"chunks", Events_get_count, NULL, "Visible content chunks of completed requests.",
     (void *)offsetof(pfs_events_counts, visible_chunks)},
    COUNT(estimated, "Completed requests whose completion tokens were not told but counted."),
    COUNT(bytes, "Bytes of completed requests."),
    COUNT(unrecorded, "Values that found no memory; each raised MemoryError."),
    {"errors", Events_get_errors, NULL, "Failed and cancelled requests by kind, those met.", NULL},
    {"longest_wait_ms", Events_get_longest_wait, NULL,
     "The longest from due to the end, answered or failed.", NULL},
    {"tokens_per_chunk", Events_get_tokens_per_chunk, NULL,
     "Visible tokens / visible chunks of completed requests; None without any.", NULL},
    {"block_s", Events_get_block_s, NULL, "Seconds that each of blocks() covers now.", NULL},
    {"window_s", Events_get_window_s, NULL, "Seconds that each of windows() covers now.", NULL},
    {"warmup_ns", Events_get_warmup_ns, Events_set_warmup_ns,
     "Length of warm-up.  May be made shorter, for requests that begin later.", NULL},
    {"limit_ms", Events_get_limit_ms, NULL, "The response time that over_limit is about.", NULL},
    {"raw", Events_get_raw, NULL, "Whether raw rows are kept for drain_rows.", NULL},
    {"stamps", Events_get_stamps, NULL, "Whether stamps are kept for drain_stamps.", NULL},
    {"start_ns", Events_get_start_ns, Events_set_start_ns,
     "When the run started; can be moved until the first row begins.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
