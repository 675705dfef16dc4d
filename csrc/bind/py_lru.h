/* What the files of the LRUCache binding share: the object and its entries one by one in py_lru.c,
 * what it does as a whole in py_lru_whole.c, its iterators and views in py_lru_views.c, the type
 * that is made of these in py_lru_type.c. */
#ifndef PFS_PY_LRU_H
#define PFS_PY_LRU_H

#include "pfs_py.h"

#include <stdbool.h>

#include "pfs_lru.h"

typedef struct {
    PyObject ob_base;
    pfs_lru lru;        /* owns a reference to every key and value; maxsize 0: not initialised */
    PyObject *on_evict; /* NULL: none */
    uint64_t hits;
    uint64_t misses;
    uint64_t evictions;
    PyObject *weakrefs;
} LRUCache;

/* What has left the map and is still owned by the call that made it leave; fields may be NULL. */
typedef struct {
    PyObject *key;
    PyObject *value;
    bool evicted;
} lru_leaving;

typedef enum { LRU_KEYS, LRU_VALUES, LRU_ITEMS } lru_kind;

/* 1 with a new reference in *value, 0 without, -1 with an exception.  Neither counts nor reorders.
 */
int pfs_lru_py_peek(LRUCache *self, PyObject *key, PyObject **value);

/* Stores as self[key] = value does; 0, or -1 with an exception. */
int pfs_lru_py_put(LRUCache *self, PyObject *key, PyObject *value);

/* Tells on_evict about an entry that was evicted and lets go of it, the map being finished and
 * unlocked.  0, or -1 with on_evict's exception. */
int pfs_lru_py_settle(LRUCache *self, lru_leaving *out);

/* Checked arguments: 0 (true), or -1 (false) with an exception. */
int pfs_lru_py_maxsize(PyObject *number, size_t *maxsize);
int pfs_lru_py_callback(PyObject *on_evict);
bool pfs_lru_py_arguments(const char *name, Py_ssize_t given, Py_ssize_t low, Py_ssize_t high);

/* tp_new and tp_init. */
PyObject *pfs_lru_py_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);
int pfs_lru_py_init(PyObject *op, PyObject *args, PyObject *kwargs);

/* Takes everything out. */
void pfs_lru_py_drop_all(LRUCache *self);

/* Slots and methods in py_lru.c. */
int pfs_lru_py_traverse(PyObject *op, visitproc visit, void *arg);
int pfs_lru_py_clear_gc(PyObject *op);
void pfs_lru_py_dealloc(PyObject *op);
Py_ssize_t pfs_lru_py_length(PyObject *op);
PyObject *pfs_lru_py_getitem(PyObject *op, PyObject *key);
int pfs_lru_py_setitem(PyObject *op, PyObject *key, PyObject *value);
int pfs_lru_py_contains(PyObject *op, PyObject *key);
PyObject *pfs_lru_py_get(PyObject *op, PyObject *const *args, Py_ssize_t given);
PyObject *pfs_lru_py_setdefault(PyObject *op, PyObject *const *args, Py_ssize_t given);
PyObject *pfs_lru_py_pop(PyObject *op, PyObject *const *args, Py_ssize_t given);
PyObject *pfs_lru_py_popitem(PyObject *op, PyObject *unused);

/* Slots and methods in py_lru_whole.c. */
PyObject *pfs_lru_py_update(PyObject *op, PyObject *args, PyObject *kwargs);
PyObject *pfs_lru_py_compare(PyObject *op, PyObject *other, int how);
PyObject *pfs_lru_py_repr(PyObject *op);
PyObject *pfs_lru_py_reduce(PyObject *op, PyObject *unused);
PyObject *pfs_lru_py_setstate(PyObject *op, PyObject *state);
PyObject *pfs_lru_py_resize(PyObject *op, PyObject *number);
PyObject *pfs_lru_py_copy(PyObject *op, PyObject *unused);

/* A new iterator, or a new view, or NULL with an exception. */
PyObject *pfs_lru_py_iterate(LRUCache *self, lru_kind kind, bool backwards);
PyObject *pfs_lru_py_view(LRUCache *self, lru_kind kind);

/* Makes the iterator and view types; 0, or -1 with an exception. */
int pfs_lru_py_exec_views(PyObject *module);

#endif
