/* The type LRUCache: its methods, its attributes, and what it is registered as. */
#include "py_lru.h"

#include <structmember.h>

static PyObject *LRUCache_clear(PyObject *op, PyObject *unused)
{
    (void)unused;
    pfs_lru_py_drop_all((LRUCache *)op);
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
    {"get", PFS_METHOD(pfs_lru_py_get), METH_FASTCALL,
     "get($self, key, default=None, /)\n--\n\nThe value of key, which becomes the newest, or "
     "default.  Counts as a hit or a miss."},
    {"setdefault", PFS_METHOD(pfs_lru_py_setdefault), METH_FASTCALL,
     "setdefault($self, key, default=None, /)\n--\n\nAs get; on a miss default is put in."},
    {"pop", PFS_METHOD(pfs_lru_py_pop), METH_FASTCALL,
     "Takes key out and returns its value, or default, or raises KeyError.  Counts as nothing; "
     "on_evict is not called.\n\npop(key[, default])"},
    {"popitem", pfs_lru_py_popitem, METH_NOARGS,
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
    {Py_tp_dealloc, PFS_SLOT(pfs_lru_py_dealloc)},
    {Py_tp_traverse, PFS_SLOT(pfs_lru_py_traverse)},
    {Py_tp_clear, PFS_SLOT(pfs_lru_py_clear_gc)},
    {Py_tp_repr, PFS_SLOT(pfs_lru_py_repr)},
    {Py_tp_hash, PFS_SLOT(PyObject_HashNotImplemented)},
    {Py_tp_iter, PFS_SLOT(LRUCache_iter)},
    {Py_tp_richcompare, PFS_SLOT(pfs_lru_py_compare)},
    {Py_tp_methods, LRUCache_methods},
    {Py_tp_getset, LRUCache_getset},
    {Py_tp_members, LRUCache_members},
    {Py_mp_length, PFS_SLOT(pfs_lru_py_length)},
    {Py_mp_subscript, PFS_SLOT(pfs_lru_py_getitem)},
    {Py_mp_ass_subscript, PFS_SLOT(pfs_lru_py_setitem)},
    {Py_sq_contains, PFS_SLOT(pfs_lru_py_contains)},
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
