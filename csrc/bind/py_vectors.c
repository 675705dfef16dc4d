/* VectorStore, on which perfsuite.embeddings builds its cache, and the rows that it hands out.
 *
 * A row object is the exporter of a memoryview: it holds the store and one pin, so the floats stay
 * where and what they are for as long as any view of them lives (pfs_vectors.h). */
#include "pfs_py.h"

#include <stdbool.h>

#include "pfs_vectors.h"

typedef struct {
    PyObject ob_base;
    pfs_vectors vectors;
    uint64_t hits;
    uint64_t misses;
    uint64_t evictions;
} VectorStore;

typedef struct {
    PyObject ob_base;
    VectorStore *store;
    uint32_t row;
    Py_ssize_t shape;
    Py_ssize_t stride;
} VectorRow;

static int VectorRow_getbuffer(PyObject *op, Py_buffer *view, int flags)
{
    VectorRow *self = (VectorRow *)op;
    if ((flags & PyBUF_WRITABLE) != 0) {
        view->obj = NULL;
        PyErr_SetString(PyExc_BufferError, "a cached vector is read-only; copy it to change it");
        return -1;
    }
    const float *floats = pfs_vectors_row(&self->store->vectors, self->row);
    *view = (Py_buffer){
        .buf = (void *)(uintptr_t)floats, /* read-only, as the flag says */
        .obj = Py_NewRef(op),
        .len = self->shape * (Py_ssize_t)sizeof(float),
        .itemsize = (Py_ssize_t)sizeof(float),
        .readonly = 1,
        .ndim = 1,
        .format = (flags & PyBUF_FORMAT) != 0 ? "f" : NULL,
        .shape = (flags & PyBUF_ND) != 0 ? &self->shape : NULL,
        .strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? &self->stride : NULL,
    };
    return 0;
}

static void VectorRow_dealloc(PyObject *op)
{
    VectorRow *self = (VectorRow *)op;
    PyTypeObject *type = Py_TYPE(op);
    PFS_LOCK(self->store);
    pfs_vectors_unpin(&self->store->vectors, self->row);
    PFS_UNLOCK();
    Py_DECREF((PyObject *)self->store);
    type->tp_free(op);
    Py_DECREF(type);
}

/* A memoryview of an entry, which becomes the newest; NULL without an exception when there is none,
 * or with one. */
static PyObject *view_of(VectorStore *self, pfs_digest digest, bool counted)
{
    pfs_state *state = pfs_state_of_type(Py_TYPE(self));
    if (state == NULL) {
        return NULL;
    }
    uint32_t row = 0;
    pfs_status status;
    PFS_LOCK(self);
    status = pfs_vectors_get(&self->vectors, digest, &row);
    if (counted) {
        self->hits += status == PFS_OK;
        self->misses += status == PFS_EEMPTY;
    }
    PFS_UNLOCK();
    if (status == PFS_EEMPTY) {
        return NULL;
    }
    if (status != PFS_OK) {
        return pfs_raise(status, "one more view of this vector");
    }
    PyTypeObject *type = state->types[PFS_TYPE_VECTOR_ROW];
    VectorRow *holder = (VectorRow *)type->tp_alloc(type, 0);
    if (holder == NULL) {
        PFS_LOCK(self);
        pfs_vectors_unpin(&self->vectors, row);
        PFS_UNLOCK();
        return NULL;
    }
    holder->store = (VectorStore *)Py_NewRef((PyObject *)self);
    holder->row = row;
    holder->shape = (Py_ssize_t)self->vectors.dimension;
    holder->stride = (Py_ssize_t)sizeof(float);
    PyObject *view = PyMemoryView_FromObject((PyObject *)holder);
    Py_DECREF((PyObject *)holder);
    return view;
}

static int digest_from(PyObject *bytes, pfs_digest *digest)
{
    if (!PyBytes_Check(bytes) || PyBytes_GET_SIZE(bytes) != sizeof *digest) {
        PyErr_Format(PyExc_TypeError, "the key must be a digest of 16 bytes, not %.200R", bytes);
        return -1;
    }
    /* Little-endian, so that a file means the same everywhere. */
    const unsigned char *p = (const unsigned char *)PyBytes_AS_STRING(bytes);
    *digest = (pfs_digest){0, 0};
    for (int i = 7; i >= 0; i--) {
        digest->low = digest->low << 8 | p[i];
        digest->high = digest->high << 8 | p[8 + i];
    }
    return 0;
}

/* ---- Vectors coming in */

typedef struct {
    const float *floats;
    Py_ssize_t count;
    float *owned; /* NULL when `floats` lie in the buffer */
    Py_buffer buffer;
    bool held;
} incoming;

static void incoming_close(incoming *in)
{
    pfs_alloc_release(pfs_py_alloc(), in->owned);
    if (in->held) {
        PyBuffer_Release(&in->buffer);
    }
}

static float *incoming_room(incoming *in, Py_ssize_t count)
{
    in->owned = pfs_alloc_array(pfs_py_alloc(), (size_t)count + 1, sizeof(float));
    if (in->owned == NULL) {
        PyErr_NoMemory();
    }
    in->floats = in->owned;
    in->count = count;
    return in->owned;
}

static int from_sequence(PyObject *object, incoming *in)
{
    PyObject *fast =
        PySequence_Fast(object, "the vector must be a sequence or a buffer of numbers");
    if (fast == NULL) {
        return -1;
    }
    Py_ssize_t count = PySequence_Fast_GET_SIZE(fast);
    float *floats = incoming_room(in, count);
    int result = floats == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; result == 0 && i < count; i++) {
        if (i >= PySequence_Fast_GET_SIZE(fast)) {
            PyErr_SetString(PyExc_RuntimeError, "the vector became shorter while it was read");
            result = -1;
            break;
        }
        /* Its __float__ may run anything, which may take the item out of the list. */
        PyObject *item = Py_NewRef(PySequence_Fast_GET_ITEM(fast, i));
        double number = PyFloat_AsDouble(item);
        Py_DECREF(item);
        if (number == -1.0 && PyErr_Occurred()) {
            result = -1;
        } else {
            floats[i] = (float)number;
        }
    }
    Py_DECREF(fast);
    return result;
}

static int from_buffer(PyObject *object, incoming *in)
{
    const Py_buffer *buffer = &in->buffer;
    if (buffer->ndim != 1) {
        PyErr_Format(PyExc_ValueError, "the vector must have one dimension, not %d", buffer->ndim);
        return -1;
    }
    const char *format = buffer->format == NULL ? "B" : buffer->format;
    format += *format == '@' || *format == '=';
    Py_ssize_t count = buffer->shape[0], stride = buffer->strides[0];
    const char *from = buffer->buf;
    if (strcmp(format, "f") == 0 && stride == (Py_ssize_t)sizeof(float) &&
        (uintptr_t)from % _Alignof(float) == 0) {
        in->floats = buffer->buf;
        in->count = count;
        return 0;
    }
    if (strcmp(format, "f") != 0 && strcmp(format, "d") != 0) {
        return from_sequence(object, in);
    }
    float *floats = incoming_room(in, count);
    if (floats == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++, from += stride) {
        double number;
        if (*format == 'd') {
            memcpy(&number, from, sizeof number);
            floats[i] = (float)number;
        } else {
            memcpy(&floats[i], from, sizeof *floats);
        }
    }
    return 0;
}

/* 0, or -1 with an exception; incoming_close in both cases. */
static int incoming_open(PyObject *object, incoming *in)
{
    *in = (incoming){.held = false};
    if (PyUnicode_Check(object) || PyBytes_Check(object) || PyByteArray_Check(object)) {
        PyErr_Format(PyExc_TypeError,
                     "the vector must be a sequence or a buffer of numbers, not %.200s; for raw "
                     "float32 bytes give memoryview(data).cast('f')",
                     Py_TYPE(object)->tp_name);
        return -1;
    }
    if (PyObject_CheckBuffer(object)) {
        if (PyObject_GetBuffer(object, &in->buffer, PyBUF_RECORDS_RO) < 0) {
            return -1;
        }
        in->held = true;
        return from_buffer(object, in);
    }
    return from_sequence(object, in);
}

/* ---- The store */

static PyObject *VectorStore_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"maxsize", NULL};
    Py_ssize_t maxsize;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "n:VectorStore", names, &maxsize)) {
        return NULL;
    }
    if (maxsize < 1 || (size_t)maxsize > PFS_LRU_MAX) {
        PyErr_Format(PyExc_ValueError, "maxsize must be from 1 to %lu, not %zd",
                     (unsigned long)PFS_LRU_MAX, maxsize);
        return NULL;
    }
    VectorStore *self = (VectorStore *)type->tp_alloc(type, 0);
    if (self != NULL) {
        (void)pfs_vectors_init(&self->vectors, pfs_py_alloc(), (size_t)maxsize);
    }
    return (PyObject *)self;
}

static void VectorStore_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    pfs_vectors_destroy(&((VectorStore *)op)->vectors);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *VectorStore_get(PyObject *op, PyObject *key)
{
    pfs_digest digest;
    if (digest_from(key, &digest) < 0) {
        return NULL;
    }
    PyObject *view = view_of((VectorStore *)op, digest, true);
    return view == NULL && !PyErr_Occurred() ? Py_NewRef(Py_None) : view;
}

static PyObject *VectorStore_put(PyObject *op, PyObject *const *args, Py_ssize_t given)
{
    VectorStore *self = (VectorStore *)op;
    if (given != 3 && given != 4) {
        PyErr_Format(PyExc_TypeError, "put() takes 3 or 4 arguments, got %zd", given);
        return NULL;
    }
    int wanted = given == 4 ? PyObject_IsTrue(args[3]) : 0;
    if (wanted < 0) {
        return NULL;
    }
    pfs_digest digest;
    unsigned long long stamp = PyLong_AsUnsignedLongLong(args[2]);
    if ((stamp == (unsigned long long)-1 && PyErr_Occurred()) ||
        digest_from(args[0], &digest) < 0) {
        return NULL;
    }
    incoming in;
    if (incoming_open(args[1], &in) < 0) {
        incoming_close(&in);
        return NULL;
    }
    bool evicted = false;
    uint32_t dimension;
    pfs_status status;
    PFS_LOCK(op);
    status = pfs_vectors_put(&self->vectors, digest, in.floats, (size_t)in.count, stamp, &evicted);
    self->evictions += evicted;
    dimension = self->vectors.dimension;
    PFS_UNLOCK();
    Py_ssize_t count = in.count;
    incoming_close(&in);
    if (status == PFS_OK) {
        PyObject *view = wanted ? view_of(self, digest, false) : NULL;
        return view == NULL && !PyErr_Occurred() ? Py_NewRef(Py_None) : view;
    }
    if (status == PFS_EMISMATCH) {
        PyErr_Format(PyExc_ValueError,
                     "the vector has %zd floats, but this cache holds vectors of %u", count,
                     (unsigned int)dimension);
        return NULL;
    }
    if (status == PFS_EINVAL) {
        PyErr_Format(PyExc_ValueError, "a vector has from 1 to %u floats, not %zd",
                     (unsigned int)PFS_VECTORS_MAX_DIMENSION, count);
        return NULL;
    }
    return pfs_raise(status, "the cache");
}

/* A checked file in an object's bytes; the GIL is released over the checksum.  0, or -1. */
static int file_open(PyObject *data, Py_buffer *buffer, pfs_vectors_file *file)
{
    if (PyObject_GetBuffer(data, buffer, PyBUF_SIMPLE) < 0) {
        return -1;
    }
    pfs_status status;
    Py_BEGIN_ALLOW_THREADS status = pfs_vectors_file_open(buffer->buf, (size_t)buffer->len, file);
    Py_END_ALLOW_THREADS if (status != PFS_OK)
    {
        PyBuffer_Release(buffer);
        (void)pfs_raise(status, "the embedding file");
        return -1;
    }
    return 0;
}

static PyObject *VectorStore_merge(PyObject *op, PyObject *data)
{
    VectorStore *self = (VectorStore *)op;
    Py_buffer buffer;
    pfs_vectors_file file = {.dimension = 0};
    if (file_open(data, &buffer, &file) < 0) {
        return NULL;
    }
    pfs_status status;
    uint32_t dimension;
    PFS_LOCK(op);
    status = pfs_vectors_merge(&self->vectors, &file);
    dimension = self->vectors.dimension;
    PFS_UNLOCK();
    PyBuffer_Release(&buffer);
    if (status == PFS_EMISMATCH) {
        PyErr_Format(PyExc_ValueError,
                     "the file holds vectors of %u floats, but this cache holds vectors of %u",
                     (unsigned int)file.dimension, (unsigned int)dimension);
        return NULL;
    }
    if (status != PFS_OK) {
        return pfs_raise(status, "the embedding file");
    }
    Py_RETURN_NONE;
}

static PyObject *VectorStore_to_bytes(PyObject *op, PyObject *number)
{
    VectorStore *self = (VectorStore *)op;
    unsigned long long capacity = PyLong_AsUnsignedLongLong(number);
    if (capacity == (unsigned long long)-1 && PyErr_Occurred()) {
        return NULL;
    }
    pfs_vectors_snapshot snapshot;
    pfs_status status;
    PFS_LOCK(op);
    status = pfs_vectors_snapshot_take(&self->vectors, &snapshot);
    PFS_UNLOCK();
    if (status != PFS_OK) {
        return pfs_raise(status, "the cache");
    }
    size_t size = pfs_vectors_snapshot_size(&snapshot);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (bytes != NULL) {
        unsigned char *out = (unsigned char *)PyBytes_AS_STRING(bytes);
        Py_BEGIN_ALLOW_THREADS pfs_vectors_snapshot_write(&snapshot, capacity, out);
        Py_END_ALLOW_THREADS
    }
    PFS_LOCK(op);
    pfs_vectors_snapshot_release(&self->vectors, &snapshot);
    PFS_UNLOCK();
    return bytes;
}

static PyObject *VectorStore_inspect(PyObject *unused, PyObject *data)
{
    (void)unused;
    Py_buffer buffer;
    pfs_vectors_file file = {.dimension = 0};
    if (file_open(data, &buffer, &file) < 0) {
        return NULL;
    }
    PyBuffer_Release(&buffer);
    return Py_BuildValue("(InK)", (unsigned int)file.dimension, (Py_ssize_t)file.count,
                         (unsigned long long)file.capacity);
}

static PyObject *VectorStore_file_size(PyObject *unused, PyObject *data)
{
    (void)unused;
    Py_buffer buffer;
    if (PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    uint64_t whole = 0;
    pfs_status status = pfs_vectors_file_size(buffer.buf, (size_t)buffer.len, &whole);
    PyBuffer_Release(&buffer);
    return status == PFS_OK ? PyLong_FromUnsignedLongLong(whole)
                            : pfs_raise(status, "the embedding file");
}

static PyObject *VectorStore_clear(PyObject *op, PyObject *unused)
{
    (void)unused;
    PFS_LOCK(op);
    pfs_vectors_clear(&((VectorStore *)op)->vectors);
    PFS_UNLOCK();
    Py_RETURN_NONE;
}

static Py_ssize_t VectorStore_length(PyObject *op)
{
    return (Py_ssize_t)((VectorStore *)op)->vectors.order.count;
}

static int VectorStore_contains(PyObject *op, PyObject *key)
{
    pfs_digest digest;
    int result;
    if (digest_from(key, &digest) < 0) {
        return -1;
    }
    PFS_LOCK(op);
    result = pfs_vectors_has(&((VectorStore *)op)->vectors, digest);
    PFS_UNLOCK();
    return result;
}

typedef enum { MAXSIZE, DIMENSION, HITS, MISSES, EVICTIONS, NBYTES } count_id;

static PyObject *get_count(PyObject *op, void *closure)
{
    VectorStore *self = (VectorStore *)op;
    uint64_t value = 0;
    PFS_LOCK(op);
    switch ((count_id)(uintptr_t)closure) {
    case MAXSIZE:
        value = self->vectors.order.maxsize;
        break;
    case DIMENSION:
        value = self->vectors.dimension;
        break;
    case HITS:
        value = self->hits;
        break;
    case MISSES:
        value = self->misses;
        break;
    case EVICTIONS:
        value = self->evictions;
        break;
    case NBYTES:
        value = pfs_vectors_bytes(&self->vectors) + sizeof *self;
        break;
    }
    PFS_UNLOCK();
    return PyLong_FromUnsignedLongLong(value);
}

static PyMethodDef VectorStore_methods[] = {
    {"get", VectorStore_get, METH_O,
     "get($self, digest, /)\n--\n\nA read-only float32 memoryview, or None.  Counts."},
    {"put", PFS_METHOD(VectorStore_put), METH_FASTCALL,
     "put($self, digest, vector, stamp, view=False, /)\n--\n\nStores a copy of the vector as "
     "float32; "
     "with view true, returns its memoryview without counting a look-up."},
    {"merge", VectorStore_merge, METH_O,
     "merge($self, data, /)\n--\n\nBrings a file's entries in; the newest of both stay."},
    {"to_bytes", VectorStore_to_bytes, METH_O,
     "to_bytes($self, capacity, /)\n--\n\nThe file form of all entries."},
    {"inspect", VectorStore_inspect, METH_O | METH_STATIC,
     "inspect(data, /)\n--\n\nChecks a file: (dimension, count, capacity), or ValueError."},
    {"file_size", VectorStore_file_size, METH_O | METH_STATIC,
     "file_size(header, /)\n--\n\nThe size of the file that starts so, or ValueError."},
    {"clear", VectorStore_clear, METH_NOARGS, "clear($self, /)\n--\n\nDrops all entries."},
    {NULL, NULL, 0, NULL},
};

#define COUNT(name, id, doc)                                                                       \
    {                                                                                              \
        name, get_count, NULL, doc, (void *)(uintptr_t)(id)                                        \
    }

static PyGetSetDef VectorStore_getset[] = {
    COUNT("maxsize", MAXSIZE, "The most entries."),
    COUNT("dimension", DIMENSION, "Floats in a vector; 0 before the first."),
    COUNT("hits", HITS, "Calls of get that found a vector."),
    COUNT("misses", MISSES, "Calls of get that did not."),
    COUNT("evictions", EVICTIONS, "Entries that put pushed out."),
    COUNT("nbytes", NBYTES, "Bytes of all memory it holds."),
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot VectorStore_slots[] = {
    {Py_tp_doc, "VectorStore(maxsize)\n--\n\nfloat32 vectors by 16-byte digest, in the order of "
                "last use; see perfsuite.embeddings."},
    {Py_tp_new, PFS_SLOT(VectorStore_new)},
    {Py_tp_dealloc, PFS_SLOT(VectorStore_dealloc)},
    {Py_tp_methods, VectorStore_methods},
    {Py_tp_getset, VectorStore_getset},
    {Py_sq_length, PFS_SLOT(VectorStore_length)},
    {Py_sq_contains, PFS_SLOT(VectorStore_contains)},
    {0, NULL},
};

static PyType_Slot VectorRow_slots[] = {
    {Py_tp_dealloc, PFS_SLOT(VectorRow_dealloc)},
    {Py_bf_getbuffer, PFS_SLOT(VectorRow_getbuffer)},
    {0, NULL},
};

/* Neither takes part in garbage collection: a row refers to its store, a store to nothing. */
int pfs_exec_vectors(PyObject *module)
{
    static PyType_Spec store = {.name = "perfsuite._core.VectorStore",
                                .basicsize = sizeof(VectorStore),
                                .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
                                .slots = VectorStore_slots};
    static PyType_Spec row = {.name = "perfsuite._core._VectorRow",
                              .basicsize = sizeof(VectorRow),
                              .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE |
                                       Py_TPFLAGS_DISALLOW_INSTANTIATION,
                              .slots = VectorRow_slots};
    return pfs_add_type(module, PFS_TYPE_VECTOR_STORE, &store) < 0 ||
                   pfs_add_type(module, PFS_TYPE_VECTOR_ROW, &row) < 0
               ? -1
               : 0;
}
