/* LRUCache.
 *
 * Two rules keep it whole whatever a key's __eq__, an on_evict or a finaliser does.  Looking up:
 * a comparison runs with the stored key increfed, and when the map's version is another afterwards
 * the look-up starts again.  Changing: what leaves the map is collected in a `leaving` while the
 * map is changed, which runs no Python, and is handed to on_evict and decrefed when the map is
 * finished and unlocked. */
#include "py_lru.h"

/* A __eq__ that changes the cache each time it is asked would keep a look-up going for ever. */
enum { MOST_RESTARTS = 100 };

/* 1 with the entry in *found, 0 with *probe at the end of its walk, or -1 with an exception.  The
 * id and the probe are good until the next change. */
static inline int find(const pfs_lru *lru, PyObject *key, Py_hash_t hash, uint32_t *found,
                       pfs_lru_probe *probe)
{
    for (int restarts = 0; restarts < MOST_RESTARTS; restarts++) {
        uint64_t version = lru->version;
        uint32_t id = pfs_lru_first(lru, (uint64_t)hash, probe);
        for (;; id = pfs_lru_next(lru, probe)) {
            if (id == 0) {
                return 0;
            }
            PyObject *stored = pfs_lru_at(lru, id)->key.pointer;
            int equal = 1;
            if (stored != key) {
                Py_INCREF(stored);
                equal = PyObject_RichCompareBool(stored, key, Py_EQ);
                Py_DECREF(stored);
            }
            if (equal < 0) {
                return -1;
            }
#ifndef PFS_NO_RESTART /* defined by the negative control of the re-entrancy test only */
            if (version != lru->version) {
                break;
            }
#endif
            if (equal > 0) {
                *found = id;
                return 1;
            }
        }
    }
    PyErr_SetString(PyExc_RuntimeError,
                    "a key's __eq__ changes the LRUCache each time it is compared, so the look-up "
                    "cannot finish; let __eq__ leave the cache alone");
    return -1;
}

static PyObject *missing(PyObject *key)
{
    /* In a tuple, because an exception made from a tuple takes it for its arguments. */
    PyObject *args = PyTuple_Pack(1, key);
    if (args != NULL) {
        PyErr_SetObject(PyExc_KeyError, args);
        Py_DECREF(args);
    }
    return NULL;
}

/* Puts in a key that a walk with `probe` has just not found. */
static inline int add(LRUCache *self, PyObject *key, PyObject *value, const pfs_lru_probe *probe,
                      lru_leaving *out)
{
    if (self->lru.maxsize == 0) {
        PyErr_SetString(PyExc_RuntimeError,
                        "LRUCache.__init__ was not called; a subclass's __init__ has to call "
                        "super().__init__(maxsize)");
        return -1;
    }
    pfs_lru_pair evicted;
    pfs_status status = pfs_lru_insert_after(&self->lru, probe, (pfs_lru_word){.pointer = key},
                                             (pfs_lru_word){.pointer = value}, &evicted);
    if (status != PFS_OK) {
        (void)pfs_raise(status, "LRUCache");
        return -1;
    }
    Py_INCREF(key);
    Py_INCREF(value);
    if (evicted.present) {
        self->evictions++;
        *out = (lru_leaving){evicted.key.pointer, evicted.value.pointer, true};
    }
    return 0;
}

static inline void let_go(lru_leaving *out)
{
    Py_XDECREF(out->key);
    Py_XDECREF(out->value);
}

int pfs_lru_py_settle(LRUCache *self, lru_leaving *out)
{
    int result = 0;
    if (out->evicted && self->on_evict != NULL) {
        PyObject *callback = Py_NewRef(self->on_evict);
        PyObject *args[3] = {NULL, out->key, out->value};
        PyObject *answer =
            PyObject_Vectorcall(callback, args + 1, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
        result = answer == NULL ? -1 : 0;
        Py_XDECREF(answer);
        Py_DECREF(callback);
    }
    let_go(out);
    return result;
}

/* The same without a call where nobody is to be told. */
static inline int settle(LRUCache *self, lru_leaving *out)
{
    if (self->on_evict != NULL) {
        return pfs_lru_py_settle(self, out);
    }
    let_go(out);
    return 0;
}

int pfs_lru_py_put(LRUCache *self, PyObject *key, PyObject *value)
{
    Py_hash_t hash = pfs_hash_of(key);
    if (hash == -1) {
        return -1;
    }
    lru_leaving out = {NULL, NULL, false};
    int result;
    PFS_LOCK(self);
    uint32_t id;
    pfs_lru_probe probe;
    result = find(&self->lru, key, hash, &id, &probe);
    if (result > 0) {
        pfs_lru_entry *entry = pfs_lru_at(&self->lru, id);
        out.value = entry->value.pointer;
        entry->value.pointer = Py_NewRef(value);
        pfs_lru_touch(&self->lru, id);
        result = 0;
    } else if (result == 0) {
        result = add(self, key, value, &probe, &out);
    }
    PFS_UNLOCK();
    return result < 0 ? -1 : settle(self, &out);
}

/* 1 with the value's new reference, 0, or -1 with an exception; a hit makes it the newest. */
static inline int look_up(LRUCache *self, PyObject *key, PyObject **value)
{
    Py_hash_t hash = pfs_hash_of(key);
    if (hash == -1) {
        return -1;
    }
    int result;
    PFS_LOCK(self);
    uint32_t id;
    pfs_lru_probe probe;
    result = find(&self->lru, key, hash, &id, &probe);
    if (result > 0) {
        *value = Py_NewRef((PyObject *)pfs_lru_at(&self->lru, id)->value.pointer);
        pfs_lru_touch(&self->lru, id);
        self->hits++;
    } else if (result == 0) {
        self->misses++;
    }
    PFS_UNLOCK();
    return result;
}

/* As look_up, but the entry goes out of the map. */
static int take_out(LRUCache *self, PyObject *key, PyObject **value)
{
    Py_hash_t hash = pfs_hash_of(key);
    if (hash == -1) {
        return -1;
    }
    int result;
    pfs_lru_pair pair = {.present = false};
    PFS_LOCK(self);
    uint32_t id;
    pfs_lru_probe probe;
    result = find(&self->lru, key, hash, &id, &probe);
    if (result > 0) {
        pair = pfs_lru_remove(&self->lru, id);
    }
    PFS_UNLOCK();
    if (pair.present) {
        *value = pair.value.pointer;
        Py_DECREF((PyObject *)pair.key.pointer);
    }
    return result;
}

int pfs_lru_py_peek(LRUCache *self, PyObject *key, PyObject **value)
{
    Py_hash_t hash = pfs_hash_of(key);
    if (hash == -1) {
        return -1;
    }
    int result;
    PFS_LOCK(self);
    uint32_t id;
    pfs_lru_probe probe;
    result = find(&self->lru, key, hash, &id, &probe);
    if (result > 0) {
        *value = Py_NewRef((PyObject *)pfs_lru_at(&self->lru, id)->value.pointer);
    }
    PFS_UNLOCK();
    return result;
}

void pfs_lru_py_drop_all(LRUCache *self)
{
    pfs_lru taken;
    PFS_LOCK(self);
    pfs_lru_take(&self->lru, &taken);
    PFS_UNLOCK();
    for (uint32_t id = 1; id <= taken.used; id++) {
        pfs_lru_entry *entry = pfs_lru_at(&taken, id);
        if (entry->key.number != 0) {
            Py_DECREF((PyObject *)entry->key.pointer);
            Py_DECREF((PyObject *)entry->value.pointer);
        }
    }
    pfs_lru_clear(&taken);
}

PyObject *pfs_lru_py_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    (void)args;
    (void)kwargs;
    LRUCache *self = (LRUCache *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->lru.alloc = pfs_py_alloc(); /* empty and valid; maxsize comes with __init__ */
    }
    return (PyObject *)self;
}

int pfs_lru_py_maxsize(PyObject *number, size_t *maxsize)
{
    Py_ssize_t n = PyNumber_AsSsize_t(number, NULL); /* clips instead of overflowing */
    if (n == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (n < 1 || (size_t)n > PFS_LRU_MAX) {
        PyErr_Format(PyExc_ValueError, "maxsize must be from 1 to %lu, not %R",
                     (unsigned long)PFS_LRU_MAX, number);
        return -1;
    }
    *maxsize = (size_t)n;
    return 0;
}

int pfs_lru_py_callback(PyObject *on_evict)
{
    if (on_evict != Py_None && !PyCallable_Check(on_evict)) {
        PyErr_Format(PyExc_TypeError,
                     "on_evict must be callable as on_evict(key, value), not %.200s",
                     Py_TYPE(on_evict)->tp_name);
        return -1;
    }
    return 0;
}

int pfs_lru_py_init(PyObject *op, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"maxsize", "on_evict", NULL};
    LRUCache *self = (LRUCache *)op;
    PyObject *number, *on_evict = Py_None;
    size_t maxsize;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:LRUCache", names, &number, &on_evict) ||
        pfs_lru_py_maxsize(number, &maxsize) < 0 || pfs_lru_py_callback(on_evict) < 0) {
        return -1;
    }
    pfs_lru_py_drop_all(self);
    PFS_LOCK(self);
    (void)pfs_lru_resize(&self->lru, maxsize < self->lru.count ? self->lru.count : maxsize);
    self->hits = self->misses = self->evictions = 0;
    PFS_UNLOCK();
    Py_XSETREF(self->on_evict, on_evict == Py_None ? NULL : Py_NewRef(on_evict));
    return 0;
}

int pfs_lru_py_traverse(PyObject *op, visitproc visit, void *arg)
{
    LRUCache *self = (LRUCache *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->on_evict);
    for (uint32_t id = 1; id <= self->lru.used; id++) {
        const pfs_lru_entry *entry = pfs_lru_at(&self->lru, id);
        if (entry->key.number != 0) {
            Py_VISIT((PyObject *)entry->key.pointer);
            Py_VISIT((PyObject *)entry->value.pointer);
        }
    }
    return 0;
}

int pfs_lru_py_clear_gc(PyObject *op)
{
    Py_CLEAR(((LRUCache *)op)->on_evict);
    pfs_lru_py_drop_all((LRUCache *)op);
    return 0;
}

void pfs_lru_py_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    Py_TRASHCAN_BEGIN(op, pfs_lru_py_dealloc) /* a cache in a cache in a cache... */
        if (((LRUCache *)op)->weakrefs != NULL)
    {
        PyObject_ClearWeakRefs(op);
    }
    (void)pfs_lru_py_clear_gc(op);
    type->tp_free(op);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

Py_ssize_t pfs_lru_py_length(PyObject *op)
{
    return (Py_ssize_t)((LRUCache *)op)->lru.count;
}

PyObject *pfs_lru_py_getitem(PyObject *op, PyObject *key)
{
    PyObject *value = NULL;
    return look_up((LRUCache *)op, key, &value) == 0 ? missing(key) : value;
}

int pfs_lru_py_setitem(PyObject *op, PyObject *key, PyObject *value)
{
    if (value != NULL) {
        return pfs_lru_py_put((LRUCache *)op, key, value);
    }
    int found = take_out((LRUCache *)op, key, &value);
    if (found == 0) {
        (void)missing(key);
    }
    Py_XDECREF(value);
    return found > 0 ? 0 : -1;
}

int pfs_lru_py_contains(PyObject *op, PyObject *key)
{
    PyObject *value = NULL;
    int found = pfs_lru_py_peek((LRUCache *)op, key, &value);
    Py_XDECREF(value);
    return found;
}

bool pfs_lru_py_arguments(const char *name, Py_ssize_t given, Py_ssize_t low, Py_ssize_t high)
{
    if (given >= low && given <= high) {
        return true;
    }
    PyErr_Format(PyExc_TypeError, "%s() takes %zd to %zd arguments, got %zd", name, low, high,
                 given);
    return false;
}

PyObject *pfs_lru_py_get(PyObject *op, PyObject *const *args, Py_ssize_t given)
{
    PyObject *value = NULL;
    if (!pfs_lru_py_arguments("get", given, 1, 2)) {
        return NULL;
    }
    if (look_up((LRUCache *)op, args[0], &value) == 0) {
        return Py_NewRef(given > 1 ? args[1] : Py_None);
    }
    return value;
}

PyObject *pfs_lru_py_setdefault(PyObject *op, PyObject *const *args, Py_ssize_t given)
{
    LRUCache *self = (LRUCache *)op;
    if (!pfs_lru_py_arguments("setdefault", given, 1, 2)) {
        return NULL;
    }
    PyObject *value = given > 1 ? args[1] : Py_None;
    Py_hash_t hash = pfs_hash_of(args[0]);
    if (hash == -1) {
        return NULL;
    }
    lru_leaving out = {NULL, NULL, false};
    int found;
    PFS_LOCK(op);
    uint32_t id;
    pfs_lru_probe probe;
    found = find(&self->lru, args[0], hash, &id, &probe);
    if (found > 0) {
        value = pfs_lru_at(&self->lru, id)->value.pointer;
        pfs_lru_touch(&self->lru, id);
        self->hits++;
    } else if (found == 0) {
        self->misses++;
        found = add(self, args[0], value, &probe, &out);
    }
    if (found >= 0) {
        Py_INCREF(value);
    }
    PFS_UNLOCK();
    if (found < 0) {
        return NULL;
    }
    if (settle(self, &out) < 0) {
        Py_CLEAR(value);
    }
    return value;
}

PyObject *pfs_lru_py_pop(PyObject *op, PyObject *const *args, Py_ssize_t given)
{
    PyObject *value = NULL;
    if (!pfs_lru_py_arguments("pop", given, 1, 2)) {
        return NULL;
    }
    if (take_out((LRUCache *)op, args[0], &value) == 0) {
        return given > 1 ? Py_NewRef(args[1]) : missing(args[0]);
    }
    return value;
}

PyObject *pfs_lru_py_popitem(PyObject *op, PyObject *unused)
{
    (void)unused;
    LRUCache *self = (LRUCache *)op;
    pfs_lru_pair pair = {.present = false};
    PyObject *item = PyTuple_New(2); /* first: it may collect garbage, which may change the cache */
    if (item == NULL) {
        return NULL;
    }
    PFS_LOCK(op);
    if (self->lru.count > 0) {
        pair = pfs_lru_remove(&self->lru, pfs_lru_oldest(&self->lru));
    }
    PFS_UNLOCK();
    if (!pair.present) {
        Py_DECREF(item);
        PyErr_SetString(PyExc_KeyError, "popitem(): the LRUCache is empty");
        return NULL;
    }
    PyTuple_SET_ITEM(item, 0, pair.key.pointer);
    PyTuple_SET_ITEM(item, 1, pair.value.pointer);
    return item;
}
