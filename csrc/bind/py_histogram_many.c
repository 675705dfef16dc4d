/* Histogram.record_many: any buffer of real numbers, else any iterable of them.
 *
 * Nothing is recorded unless all of it can be.  Values are counted apart, in a tally of the call's
 * own: for long buffers without the GIL, which is taken again to merge; so neither a record() in
 * another thread nor Python code run by an iterator ever meets a half-changed histogram. */
#include "py_histogram.h"

#include "pfs_histogram_tally.h"
#include "py_numbers.h"

#define CHUNK     1024
#define FEW       2048  /* up to here without a tally */
#define WORTH_GIL 32768 /* values: some 50 us */

/* Values on their way into a tally, or, if there are few, gathered only. */
typedef struct {
    double values[FEW];
    size_t count, limit;
    pfs_tally *tally;      /* NULL: the limit is not reached */
    pfs_histogram *direct; /* negative control of the thread tests only */
} sink;

static pfs_status flush(sink *to)
{
    pfs_status status = PFS_OK;
    if (to->direct != NULL) {
        for (size_t i = 0; i < to->count && status == PFS_OK; i++) {
            status = pfs_histogram_record(to->direct, to->values[i]);
        }
    } else {
        status = pfs_tally_add(to->tally, to->values, to->count);
    }
    to->count = 0;
    return status;
}

/* Reads n items, `stride` bytes apart, as doubles. */
typedef void (*loader)(double *out, const char *from, Py_ssize_t stride, size_t n, bool swap);

#define LOADER(name, type)                                                                         \
    static void load_##name(double *out, const char *from, Py_ssize_t stride, size_t n, bool swap) \
    {                                                                                              \
        type value;                                                                                \
        if (!swap && stride == (Py_ssize_t)sizeof value) {                                         \
            for (size_t i = 0; i < n; i++) {                                                       \
                memcpy(&value, from + i * sizeof value, sizeof value);                             \
                out[i] = (double)value;                                                            \
            }                                                                                      \
            return;                                                                                \
        }                                                                                          \
        for (size_t i = 0; i < n; i++, from += stride) {                                           \
            unsigned char bytes[sizeof value];                                                     \
            for (size_t b = 0; b < sizeof value; b++) {                                            \
                bytes[b] = (unsigned char)from[swap ? sizeof value - 1 - b : b];                   \
            }                                                                                      \
            memcpy(&value, bytes, sizeof value);                                                   \
            out[i] = (double)value;                                                                \
        }                                                                                          \
    }

LOADER(double, double)
LOADER(float, float)
LOADER(long_double, long double)
LOADER(i8, int8_t)
LOADER(i16, int16_t)
LOADER(i32, int32_t)
LOADER(i64, int64_t)
LOADER(u8, uint8_t)
LOADER(u16, uint16_t)
LOADER(u32, uint32_t)
LOADER(u64, uint64_t)

static void load_bool(double *out, const char *from, Py_ssize_t stride, size_t n, bool swap)
{
    (void)swap;
    for (size_t i = 0; i < n; i++, from += stride) {
        out[i] = *from != 0;
    }
}

static void load_half(double *out, const char *from, Py_ssize_t stride, size_t n, bool swap)
{
    for (size_t i = 0; i < n; i++, from += stride) {
        out[i] = PyFloat_Unpack2(from, PY_LITTLE_ENDIAN != swap);
    }
}

/* NULL: not a format of one real number.  Native and standard sizes differ (an 'l' is 8 or 4
 * bytes), so the item size decides. */
static loader loader_of(const Py_buffer *view, bool *swap)
{
    const char *format = view->format == NULL ? "B" : view->format;
    *swap = PY_LITTLE_ENDIAN ? *format == '>' || *format == '!' : *format == '<';
    if (strchr("@=<>!", *format) != NULL && *format != '\0') {
        format++;
    }
    if (format[0] == '\0' || format[1] != '\0') {
        return NULL;
    }
    Py_ssize_t size = view->itemsize;
    switch (*format) {
    case 'e':
        return size == 2 ? load_half : NULL;
    case 'f':
        return size == sizeof(float) ? load_float : NULL;
    case 'd':
        return size == sizeof(double) ? load_double : NULL;
    case 'g':
        return size == sizeof(long double) && !*swap ? load_long_double : NULL;
    case '?':
        return size == 1 ? load_bool : NULL;
    case 'b':
    case 'h':
    case 'i':
    case 'l':
    case 'q':
    case 'n':
        return size == 1   ? load_i8
               : size == 2 ? load_i16
               : size == 4 ? load_i32
               : size == 8 ? load_i64
                           : NULL;
    case 'B':
    case 'H':
    case 'I':
    case 'L':
    case 'Q':
    case 'N':
        return size == 1   ? load_u8
               : size == 2 ? load_u16
               : size == 4 ? load_u32
               : size == 8 ? load_u64
                           : NULL;
    default:
        return NULL;
    }
}

static pfs_status pour_run(sink *to, loader load, const char *from, Py_ssize_t stride, size_t n,
                           bool swap)
{
    while (n != 0) {
        size_t room = to->limit - to->count, part = n < room ? n : room;
        load(to->values + to->count, from, stride, part, swap);
        to->count += part;
        n -= part;
        from += (Py_ssize_t)part * stride;
        if (to->count == to->limit && (to->tally != NULL || to->direct != NULL)) {
            pfs_status status = flush(to);
            if (status != PFS_OK) {
                return status;
            }
        }
    }
    return PFS_OK;
}

/* Every item of a buffer of any shape (none of its dimensions 0); called without the GIL. */
static pfs_status pour(sink *to, const Py_buffer *view, loader load, bool swap, bool contiguous)
{
    if (contiguous || view->ndim == 0) {
        return pour_run(to, load, view->buf, view->itemsize, (size_t)(view->len / view->itemsize),
                        swap);
    }
    Py_ssize_t index[PyBUF_MAX_NDIM] = {0};
    int last = view->ndim - 1;
    bool indirect = view->suboffsets != NULL && view->suboffsets[last] >= 0;
    for (;;) {
        const char *at = view->buf;
        for (int d = 0; d <= last; d++) {
            at += view->strides[d] * index[d];
            if (view->suboffsets != NULL && view->suboffsets[d] >= 0) {
                const char *pointer;
                memcpy(&pointer, at, sizeof pointer);
                at = pointer + view->suboffsets[d];
            }
        }
        size_t run = indirect ? 1 : (size_t)view->shape[last];
        pfs_status status = pour_run(to, load, at, view->strides[last], run, swap);
        if (status != PFS_OK) {
            return status;
        }
        index[last] += (Py_ssize_t)run;
        int d = last;
        while (d > 0 && index[d] == view->shape[d]) {
            index[d--] = 0;
            index[d]++;
        }
        if (index[d] == view->shape[d]) {
            return PFS_OK;
        }
    }
}

static PyObject *done(pfs_status status)
{
    return status == PFS_OK ? Py_NewRef(Py_None) : pfs_raise(status, "the total count");
}

#ifdef PFS_NO_LOCK
/* What must not be done: the shared histogram without the GIL. */
static pfs_status pour_unlocked(pfs_histogram *h, const Py_buffer *view, loader load, bool swap,
                                bool contiguous)
{
    sink to = {.limit = CHUNK, .direct = h};
    pfs_status status;
    Py_BEGIN_ALLOW_THREADS status = pour(&to, view, load, swap, contiguous);
    status = status == PFS_OK ? flush(&to) : status;
    Py_END_ALLOW_THREADS return status;
}
#endif

static bool is_aligned(const void *pointer)
{
    return (uintptr_t)pointer % _Alignof(double) == 0;
}

static PyObject *record_buffer(HistogramObject *self, const Py_buffer *view, loader load, bool swap)
{
    size_t items = (size_t)(view->len / view->itemsize);
    bool contiguous = PyBuffer_IsContiguous(view, 'A') != 0;
    pfs_status status;
    sink to;
    to.count = 0;
    to.direct = NULL;
    if (items <= FEW) {
        to.limit = FEW;
        to.tally = NULL;
        status = items == 0 ? PFS_OK : pour(&to, view, load, swap, contiguous);
        PFS_LOCK(self);
        status = status == PFS_OK ? pfs_histogram_record_many(&self->histogram, to.values, to.count)
                                  : status;
        PFS_UNLOCK();
        return done(status);
    }
#ifdef PFS_NO_LOCK
    return done(pour_unlocked(&self->histogram, view, load, swap, contiguous));
#else
    pfs_tally tally;
    (void)pfs_tally_init(&tally, self->histogram.precision, pfs_py_alloc());
    to.limit = CHUNK;
    to.tally = &tally;
    bool ready = contiguous && load == load_double && !swap && is_aligned(view->buf);
    PyThreadState *released = items >= WORTH_GIL ? PyEval_SaveThread() : NULL;
    if (ready) {
        status = pfs_tally_add(&tally, view->buf, items);
    } else {
        status = pour(&to, view, load, swap, contiguous);
        status = status == PFS_OK ? flush(&to) : status;
    }
    if (released != NULL) {
        PyEval_RestoreThread(released);
    }
    if (status == PFS_OK) {
        PFS_LOCK(self);
        status = pfs_tally_merge(&tally, &self->histogram);
        PFS_UNLOCK();
    }
    pfs_tally_clear(&tally);
    return done(status);
#endif
}

static int pour_iterator(sink *to, PyObject *iterator)
{
    pfs_status status = PFS_OK;
    PyObject *item;
    for (Py_ssize_t i = 0; (item = PyIter_Next(iterator)) != NULL; i++) {
        if (!PyNumber_Check(item)) {
            PyErr_Format(PyExc_TypeError, "record_many: item %zd must be a number, not '%.100s'", i,
                         Py_TYPE(item)->tp_name);
            Py_DECREF(item);
            return -1;
        }
        int failed = pfs_py_double(item, &to->values[to->count]);
        Py_DECREF(item);
        if (failed) {
            if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
                PyErr_Format(PyExc_OverflowError, "record_many: item %zd is too large for a float",
                             i);
            }
            return -1;
        }
        if (++to->count == to->limit) {
            status = flush(to);
            if (status != PFS_OK) {
                (void)done(status);
                return -1;
            }
        }
    }
    return PyErr_Occurred() != NULL ? -1 : 0;
}

static PyObject *record_iterable(HistogramObject *self, PyObject *values)
{
    PyObject *iterator = PyObject_GetIter(values);
    if (iterator == NULL) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Format(PyExc_TypeError,
                         "record_many needs a buffer or an iterable of numbers, not '%.100s'",
                         Py_TYPE(values)->tp_name);
        }
        return NULL;
    }
    pfs_tally tally;
    (void)pfs_tally_init(&tally, self->histogram.precision, pfs_py_alloc());
    sink to;
    to.count = 0;
    to.limit = CHUNK;
    to.tally = &tally;
    to.direct = NULL;
    PyObject *result = NULL;
    if (pour_iterator(&to, iterator) == 0) {
        pfs_status status = flush(&to);
        if (status == PFS_OK) {
            PFS_LOCK(self);
            status = pfs_tally_merge(&tally, &self->histogram);
            PFS_UNLOCK();
        }
        result = done(status);
    }
    pfs_tally_clear(&tally);
    Py_DECREF(iterator);
    return result;
}

const char Histogram_record_many_doc[] =
    "record_many($self, values, /)\n--\n\n"
    "Record a buffer of real numbers (any shape, stride, byte order), or any iterable of "
    "them; what a numpy\nmasked array masks is left out.\n\nAll or nothing: on an error nothing "
    "has been recorded. Long buffers are "
    "counted without the GIL and\nmerged with it.";

static PyObject *record_any(HistogramObject *self, PyObject *values)
{
    if (PyObject_CheckBuffer(values)) {
        Py_buffer view;
        if (PyObject_GetBuffer(values, &view, PyBUF_FULL_RO) < 0) {
            return NULL;
        }
        bool swap;
        loader load = loader_of(&view, &swap);
        bool objects = view.format != NULL && strcmp(view.format, "O") == 0;
        PyObject *result = NULL;
        if (load != NULL) {
            result = record_buffer(self, &view, load, swap);
        } else if (!objects) {
            PyErr_Format(PyExc_TypeError,
                         "record_many cannot read items of format '%.50s': give it integers or "
                         "floats, one number an item",
                         view.format);
        }
        PyBuffer_Release(&view);
        if (!objects) {
            return result;
        }
    }
    return record_iterable(self, values);
}

PyObject *Histogram_record_many(PyObject *self, PyObject *values)
{
    PyObject *present = pfs_numbers_unmasked(values);
    PyObject *result = present == NULL ? NULL : record_any((HistogramObject *)self, present);
    Py_XDECREF(present);
    return result;
}
