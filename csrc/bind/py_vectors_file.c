/* VectorStore and its file form. */
#include "py_vectors.h"
#include "py_whole.h"

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

PyObject *VectorStore_merge(PyObject *op, PyObject *data)
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

PyObject *VectorStore_to_bytes(PyObject *op, PyObject *number)
{
    VectorStore *self = (VectorStore *)op;
    uint64_t capacity;
    if (pfs_whole_unsigned(number, "capacity", &capacity) < 0) {
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

PyObject *VectorStore_inspect(PyObject *unused, PyObject *data)
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

PyObject *VectorStore_file_size(PyObject *unused, PyObject *data)
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
