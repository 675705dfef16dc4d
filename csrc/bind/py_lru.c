/* LRUCache.
 *
 * Two rules keep it whole whatever a key's __eq__, an on_evict or a finaliser does.  Looking up:
 * a comparison runs with the stored key increfed, and when the map's version is another afterwards
 * the look-up starts again.  Changing: what leaves the map is collected in a `leaving` while the
 * map is changed, which runs no Python, and is handed to on_evict and decrefed when the map is
 * finished and unlocked. */
#include "py_lru.h"

#include <structmember.h>

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

/* Tells on_evict about an entry that left and lets go of it.  0, or -1 with on_evict's exception.
 */
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
    Py_XDECREF(out->key);
    Py_XDECREF(out->value);
    return result;
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
    return result < 0 ? -1 : pfs_lru_py_settle(self, &out);
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

static void drop_all(LRUCache *self)
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
    drop_all(self);
    PFS_LOCK(self);
    (void)pfs_lru_resize(&self->lru, maxsize < self->lru.count ? self->lru.count : maxsize);
    self->hits = self->misses = self->evictions = 0;
    PFS_UNLOCK();
    Py_XSETREF(self->on_evict, on_evict == Py_None ? NULL : Py_NewRef(on_evict));
    return 0;
}

static int LRUCache_traverse(PyObject *op, visitproc visit, void *arg)
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

static int LRUCache_clear_gc(PyObject *op)
{
    Py_CLEAR(((LRUCache *)op)->on_evict);
    drop_all((LRUCache *)op);
    return 0;
}

static void LRUCache_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    Py_TRASHCAN_BEGIN(op, LRUCache_dealloc) /* a cache in a cache in a cache... */
        if (((LRUCache *)op)->weakrefs != NULL)
    {
        PyObject_ClearWeakRefs(op);
    }
    (void)LRUCache_clear_gc(op);
    type->tp_free(op);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

static Py_ssize_t LRUCache_length(PyObject *op)
{
    return (Py_ssize_t)((LRUCache *)op)->lru.count;
}

static PyObject *LRUCache_getitem(PyObject *op, PyObject *key)
{
    PyObject *value = NULL;
    return look_up((LRUCache *)op, key, &value) == 0 ? missing(key) : value;
}

static int LRUCache_setitem(PyObject *op, PyObject *key, PyObject *value)
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

static int LRUCache_contains(PyObject *op, PyObject *key)
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

static PyObject *LRUCache_get(PyObject *op, PyObject *const *args, Py_ssize_t given)
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

static PyObject *LRUCache_setdefault(PyObject *op, PyObject *const *args, Py_ssize_t given)
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
    if (pfs_lru_py_settle(self, &out) < 0) {
        Py_CLEAR(value);
    }
    return value;
}

static PyObject *LRUCache_pop(PyObject *op, PyObject *const *args, Py_ssize_t given)
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

static PyObject *LRUCache_popitem(PyObject *op, PyObject *unused)
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

static PyObject *LRUCache_clear(PyObject *op, PyObject *unused)
{
    (void)unused;
    drop_all((LRUCache *)op);
    Py_RETURN_NONE;
}

static PyObject *LRUCache_keys(PyObject *op, PyObject *unused)
{
    (void)unused;
    return pfs_lru_py_view((LRUCache *)op, LRU_KEYS);
}

static PyObject *LRUCache_values(PyObject *op, PyObject *unused)
{
    (void)unused;
    return pfs_lru_py_view((LRUCache *)op, LRU_VALUES);
}

static PyObject *LRUCache_items(PyObject *op, PyObject *unused)
{
    (void)unused;
    return pfs_lru_py_view((LRUCache *)op, LRU_ITEMS);
}

static PyObject *LRUCache_iter(PyObject *op)
{
    return pfs_lru_py_iterate((LRUCache *)op, LRU_KEYS, false);
}

static PyObject *LRUCache_reversed(PyObject *op, PyObject *unused)
{
    (void)unused;
    return pfs_lru_py_iterate((LRUCache *)op, LRU_KEYS, true);
}

static PyObject *LRUCache_sizeof(PyObject *op, PyObject *unused)
{
    (void)unused;
    return PyLong_FromSize_t((size_t)Py_TYPE(op)->tp_basicsize +
                             pfs_lru_bytes(&((LRUCache *)op)->lru));
}

static PyObject *get_maxsize(PyObject *op, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLong(((LRUCache *)op)->lru.maxsize);
}

static PyObject *get_on_evict(PyObject *op, void *closure)
{
    (void)closure;
    PyObject *on_evict = ((LRUCache *)op)->on_evict;
    return Py_NewRef(on_evict == NULL ? Py_None : on_evict);
}

static PyObject *get_hits(PyObject *op, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLongLong(((LRUCache *)op)->hits);
}

static PyObject *get_misses(PyObject *op, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLongLong(((LRUCache *)op)->misses);
}

static PyObject *get_evictions(PyObject *op, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLongLong(((LRUCache *)op)->evictions);
}

static PyObject *get_hit_rate(PyObject *op, void *closure)
{
    (void)closure;
    LRUCache *self = (LRUCache *)op;
    uint64_t asked = self->hits + self->misses;
    return PyFloat_FromDouble(asked == 0 ? 0.0 : (double)self->hits / (double)asked);
}

static PyMethodDef LRUCache_methods[] = {
    {"get", PFS_METHOD(LRUCache_get), METH_FASTCALL,
     "get($self, key, default=None, /)\n--\n\nThe value of key, which becomes the newest, or "
     "default.  Counts as a hit or a miss."},
    {"setdefault", PFS_METHOD(LRUCache_setdefault), METH_FASTCALL,
     "setdefault($self, key, default=None, /)\n--\n\nAs get; on a miss default is put in."},
    {"pop", PFS_METHOD(LRUCache_pop), METH_FASTCALL,
     "Takes key out and returns its value, or default, or raises KeyError.  Counts as nothing; "
     "on_evict is not called.\n\npop(key[, default])"},
    {"popitem", LRUCache_popitem, METH_NOARGS,
     "popitem($self, /)\n--\n\nTakes the oldest (key, value) out; KeyError when empty.  on_evict "
     "is not called."},
    {"clear", LRUCache_clear, METH_NOARGS,
     "clear($self, /)\n--\n\nTakes everything out; counters stay, on_evict is not called."},
    {"update", PFS_METHOD(pfs_lru_py_update), METH_VARARGS | METH_KEYWORDS,
     "update($self, other=(), /, **kwargs)\n--\n\nPuts in what a mapping or an iterable of pairs "
     "holds, in its order."},
    {"resize", pfs_lru_py_resize, METH_O,
     "resize($self, maxsize, /)\n--\n\nSets maxsize, evicting the oldest that are too many and "
     "giving memory back.\n\nEvery evicted entry is passed to on_evict, oldest first, when all "
     "have "
     "left; the first exception is raised, further ones go to sys.unraisablehook."},
    {"keys", LRUCache_keys, METH_NOARGS, "keys($self, /)\n--\n\nA set-like view, oldest first."},
    {"values", LRUCache_values, METH_NOARGS, "values($self, /)\n--\n\nA view, oldest first."},
    {"items", LRUCache_items, METH_NOARGS, "items($self, /)\n--\n\nA set-like view, oldest first."},
    {"copy", pfs_lru_py_copy, METH_NOARGS,
     "copy($self, /)\n--\n\nA shallow copy: same order, bound, callback and counters."},
    {"__copy__", pfs_lru_py_copy, METH_NOARGS, "__copy__($self, /)\n--\n\nAs copy()."},
    {"__reversed__", LRUCache_reversed, METH_NOARGS,
     "__reversed__($self, /)\n--\n\nAn iterator over the keys, newest first."},
    {"__reduce__", pfs_lru_py_reduce, METH_NOARGS, "__reduce__($self, /)\n--\n\nFor pickle."},
    {"__setstate__", pfs_lru_py_setstate, METH_O,
     "__setstate__($self, state, /)\n--\n\nFor pickle."},
    {"__sizeof__", LRUCache_sizeof, METH_NOARGS,
     "__sizeof__($self, /)\n--\n\nBytes of the cache itself, index included, without keys and "
     "values."},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, "LRUCache[K, V]"},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef LRUCache_getset[] = {
    {"maxsize", get_maxsize, NULL, "The most entries it holds; see resize().", NULL},
    {"on_evict", get_on_evict, NULL, "The callback given, or None.", NULL},
    {"hits", get_hits, NULL, "Look-ups by [], get and setdefault that found their key.", NULL},
    {"misses", get_misses, NULL, "Look-ups by [], get and setdefault that did not.", NULL},
    {"evictions", get_evictions, NULL, "Entries that left because the cache was full.", NULL},
    {"hit_rate", get_hit_rate, NULL, "hits / (hits + misses), 0...1; 0 before any look-up.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef LRUCache_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(LRUCache, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(
    LRUCache_doc,
    "LRUCache(maxsize, on_evict=None)\n--\n\n"
    "A mapping of at most maxsize entries, in the order of last use, oldest first.\n\n"
    "[], get and setdefault count as look-ups (hits, misses, hit_rate) and, like storing, "
    "make an entry the newest; `in`, views and iteration do neither.  Storing a new key in "
    "a full cache evicts the oldest entry, then calls on_evict(key, value), whose "
    "exception is raised to the caller with the new entry in place.  An iterator raises "
    "RuntimeError when the cache changes, or when another entry than the one it gave last "
    "becomes the newest: `for key in cache: cache[key]` works and visits each key once.\n\n"
    "maxsize: 1 to 2**30, else ValueError.");

static PyType_Slot LRUCache_slots[] = {
    {Py_tp_doc, (void *)LRUCache_doc},
    {Py_tp_new, PFS_SLOT(pfs_lru_py_new)},
    {Py_tp_init, PFS_SLOT(pfs_lru_py_init)},
    {Py_tp_dealloc, PFS_SLOT(LRUCache_dealloc)},
    {Py_tp_traverse, PFS_SLOT(LRUCache_traverse)},
    {Py_tp_clear, PFS_SLOT(LRUCache_clear_gc)},
    {Py_tp_repr, PFS_SLOT(pfs_lru_py_repr)},
    {Py_tp_hash, PFS_SLOT(PyObject_HashNotImplemented)},
    {Py_tp_iter, PFS_SLOT(LRUCache_iter)},
    {Py_tp_richcompare, PFS_SLOT(pfs_lru_py_compare)},
    {Py_tp_methods, LRUCache_methods},
    {Py_tp_getset, LRUCache_getset},
    {Py_tp_members, LRUCache_members},
    {Py_mp_length, PFS_SLOT(LRUCache_length)},
    {Py_mp_subscript, PFS_SLOT(LRUCache_getitem)},
    {Py_mp_ass_subscript, PFS_SLOT(LRUCache_setitem)},
    {Py_sq_contains, PFS_SLOT(LRUCache_contains)},
    {0, NULL},
};

static PyType_Spec LRUCache_spec = {
    .name = "perfsuite._core.LRUCache",
    .basicsize = sizeof(LRUCache),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE |
             Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_MAPPING,
    .slots = LRUCache_slots,
};

/* Registers a type as a virtual subclass of an abstract one; _collections_abc is loaded by every
 * interpreter before user code, so this imports nothing new. */
static int register_as(PyObject *abc, const char *name, PyTypeObject *type)
{
    PyObject *abstract = PyObject_GetAttrString(abc, name);
    PyObject *done =
        abstract == NULL ? NULL : PyObject_CallMethod(abstract, "register", "O", (PyObject *)type);
    Py_XDECREF(abstract);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

int pfs_exec_lru(PyObject *module)
{
    if (pfs_add_type(module, PFS_TYPE_LRU_CACHE, &LRUCache_spec) < 0 ||
        pfs_lru_py_exec_views(module) < 0) {
        return -1;
    }
    PyObject *abc = PyImport_ImportModule("_collections_abc");
    if (abc == NULL) {
        return -1;
    }
    PyTypeObject **types = pfs_state_of_module(module)->types;
    int result = register_as(abc, "MutableMapping", types[PFS_TYPE_LRU_CACHE]) < 0 ||
                         register_as(abc, "KeysView", types[PFS_TYPE_LRU_KEYS]) < 0 ||
                         register_as(abc, "ValuesView", types[PFS_TYPE_LRU_VALUES]) < 0 ||
                         register_as(abc, "ItemsView", types[PFS_TYPE_LRU_ITEMS]) < 0
                     ? -1
                     : 0;
    Py_DECREF(abc);
    return result;
}
