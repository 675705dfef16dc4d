/* VectorStore, on which perfsuite.embeddings builds its cache, and the rows that it hands out.
 *
 * A row object is the exporter of a memoryview: it holds the store and one pin, so the floats stay
 * where and what they are for as long as any view of them lives (pfs_vectors.h). */
#include "py_vectors.h"
#include "py_whole.h"
#include "py_vectors_in.h"

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

/* ---- The store */

static PyObject *VectorStore_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"maxsize", NULL};
    PyObject *number;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:VectorStore", names, &number)) {
        return NULL;
    }
    Py_ssize_t maxsize = PyNumber_AsSsize_t(number, NULL); /* clips instead of overflowing */
    if (maxsize == -1 && PyErr_Occurred()) {
        return NULL;
    }
    if (maxsize < 1 || (size_t)maxsize > PFS_LRU_MAX) {
        PyErr_Format(PyExc_ValueError, "maxsize must be from 1 to %lu, not %R",
                     (unsigned long)PFS_LRU_MAX, number);
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
    uint64_t stamp;
    if (pfs_whole_unsigned(args[2], "stamp", &stamp) < 0 || digest_from(args[0], &digest) < 0) {
        return NULL;
    }
    pfs_incoming in;
    if (pfs_incoming_open(args[1], &in) < 0) {
        pfs_incoming_close(&in);
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
    pfs_incoming_close(&in);
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
