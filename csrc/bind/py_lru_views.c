/* Iterators and views of LRUCache.
 *
 * An iterator holds the id to give next.  Any change of the cache's contents makes ids meaningless
 * and ends it with RuntimeError, as with dict.  A change of order would make it miss or repeat
 * entries, with one exception that is worth having because everybody writes it: the entry it has
 * just given becoming the newest (`for key in cache: cache[key]`) moves something that is behind
 * it already, so it goes on, and `left` keeps it from following the ring to where that went. */
#include "py_lru.h"

typedef struct {
    PyObject ob_base;
    LRUCache *cache; /* NULL: exhausted */
    uint64_t version;
    uint64_t moves;
    uint32_t cursor;
    uint32_t last;
    uint32_t left;
    lru_kind kind;
    bool backwards;
} LRUIterator;

typedef struct {
    PyObject ob_base;
    LRUCache *cache;
    lru_kind kind;
} LRUView;

static PyObject *pair_of(PyObject *key, PyObject *value)
{
    PyObject *pair = PyTuple_Pack(2, key, value);
    Py_DECREF(key);
    Py_DECREF(value);
    return pair;
}

PyObject *pfs_lru_py_iterate(LRUCache *cache, lru_kind kind, bool backwards)
{
    pfs_state *state = pfs_state_of_type(Py_TYPE(cache));
    if (state == NULL) {
        return NULL;
    }
    LRUIterator *self = PyObject_GC_New(LRUIterator, state->types[PFS_TYPE_LRU_ITERATOR]);
    if (self == NULL) {
        return NULL;
    }
    const pfs_lru *lru = &cache->lru;
    self->cache = (LRUCache *)Py_NewRef((PyObject *)cache);
    PFS_LOCK(cache);
    self->version = lru->version;
    self->moves = lru->moves;
    self->cursor = backwards ? pfs_lru_newest(lru) : pfs_lru_oldest(lru);
    self->last = 0;
    self->left = lru->count;
    self->kind = kind;
    self->backwards = backwards;
    PFS_UNLOCK();
    PyObject_GC_Track((PyObject *)self);
    return (PyObject *)self;
}

static PyObject *LRUIterator_next(PyObject *op)
{
    LRUIterator *self = (LRUIterator *)op;
    LRUCache *cache = self->cache;
    if (cache == NULL) {
        return NULL;
    }
    const char *wrong = NULL;
    PyObject *key = NULL, *value = NULL;
    PFS_LOCK(cache);
    const pfs_lru *lru = &cache->lru;
    bool same_order = self->moves == lru->moves ||
                      (self->moves + 1 == lru->moves && pfs_lru_newest(lru) == self->last);
    if (self->version != lru->version) {
        wrong = "LRUCache changed during iteration";
    } else if (self->left > 0 && !same_order) {
        wrong = "LRUCache changed its order during iteration: an entry other than the one given "
                "last was used; iterate over list(cache) or cache.items()";
    } else if (self->left > 0) {
        const pfs_lru_entry *entry = pfs_lru_at(lru, self->cursor);
        key = Py_NewRef((PyObject *)entry->key.pointer);
        value = Py_NewRef((PyObject *)entry->value.pointer);
        self->moves = lru->moves;
        self->last = self->cursor;
        self->cursor = self->backwards ? entry->older : entry->newer;
        self->left--;
    }
    PFS_UNLOCK();
    if (wrong != NULL) {
        PyErr_SetString(PyExc_RuntimeError, wrong);
        return NULL;
    }
    if (key == NULL) {
        Py_CLEAR(self->cache);
        return NULL;
    }
    if (self->kind == LRU_ITEMS) {
        return pair_of(key, value);
    }
    Py_DECREF(self->kind == LRU_KEYS ? value : key);
    return self->kind == LRU_KEYS ? key : value;
}

static PyObject *LRUIterator_length_hint(PyObject *op, PyObject *unused)
{
    (void)unused;
    LRUIterator *self = (LRUIterator *)op;
    return PyLong_FromUnsignedLong(self->cache == NULL ? 0 : self->left);
}

static int LRUIterator_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)((LRUIterator *)op)->cache);
    return 0;
}

static int LRUIterator_clear(PyObject *op)
{
    Py_CLEAR(((LRUIterator *)op)->cache);
    return 0;
}

static void LRUIterator_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    (void)LRUIterator_clear(op);
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

PyObject *pfs_lru_py_view(LRUCache *cache, lru_kind kind)
{
    static const pfs_type_id ids[] = {PFS_TYPE_LRU_KEYS, PFS_TYPE_LRU_VALUES, PFS_TYPE_LRU_ITEMS};
    pfs_state *state = pfs_state_of_type(Py_TYPE(cache));
    LRUView *self = state == NULL ? NULL : PyObject_GC_New(LRUView, state->types[ids[kind]]);
    if (self == NULL) {
        return NULL;
    }
    self->cache = (LRUCache *)Py_NewRef((PyObject *)cache);
    self->kind = kind;
    PyObject_GC_Track((PyObject *)self);
    return (PyObject *)self;
}

static int LRUView_traverse(PyObject *op, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(op));
    Py_VISIT((PyObject *)((LRUView *)op)->cache);
    return 0;
}

/* No tp_clear: a view never changes what it refers to, so that it may rely on it; the cache, which
 * every cycle through a view runs through, has one. */
static void LRUView_dealloc(PyObject *op)
{
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    Py_DECREF((PyObject *)((LRUView *)op)->cache);
    PyObject_GC_Del(op);
    Py_DECREF(type);
}

static Py_ssize_t LRUView_length(PyObject *op)
{
    return (Py_ssize_t)((LRUView *)op)->cache->lru.count;
}

static PyObject *LRUView_iter(PyObject *op)
{
    return pfs_lru_py_iterate(((LRUView *)op)->cache, ((LRUView *)op)->kind, false);
}

static PyObject *LRUView_reversed(PyObject *op, PyObject *unused)
{
    (void)unused;
    return pfs_lru_py_iterate(((LRUView *)op)->cache, ((LRUView *)op)->kind, true);
}

static PyObject *LRUView_mapping(PyObject *op, void *closure)
{
    (void)closure;
    return PyDictProxy_New((PyObject *)((LRUView *)op)->cache);
}

static PyObject *LRUView_repr(PyObject *op)
{
    static const char *const names[] = {"LRUCache.keys", "LRUCache.values", "LRUCache.items"};
    int inside = Py_ReprEnter(op);
    if (inside != 0) {
        return inside < 0 ? NULL : PyUnicode_FromString("...");
    }
    PyObject *list = PySequence_List(op);
    PyObject *text =
        list == NULL ? NULL : PyUnicode_FromFormat("<%s %R>", names[((LRUView *)op)->kind], list);
    Py_XDECREF(list);
    Py_ReprLeave(op);
    return text;
}

static int LRUKeys_contains(PyObject *op, PyObject *key)
{
    return PySequence_Contains((PyObject *)((LRUView *)op)->cache, key);
}

static int LRUItems_contains(PyObject *op, PyObject *item)
{
    if (!PyTuple_Check(item) || PyTuple_GET_SIZE(item) != 2) {
        return 0;
    }
    PyObject *value = NULL;
    int found = pfs_lru_py_peek(((LRUView *)op)->cache, PyTuple_GET_ITEM(item, 0), &value);
    if (found > 0) {
        found = PyObject_RichCompareBool(value, PyTuple_GET_ITEM(item, 1), Py_EQ);
        Py_DECREF(value);
    }
    return found;
}

/* set(left).method(right), as the views of dict have it; either side may be the view. */
static PyObject *combined(PyObject *left, PyObject *right, const char *method)
{
    PyObject *set = PySet_New(left);
    PyObject *done = set == NULL ? NULL : PyObject_CallMethod(set, method, "O", right);
    if (done == NULL) {
        Py_CLEAR(set);
    }
    Py_XDECREF(done);
    return set;
}

static PyObject *LRUView_and(PyObject *left, PyObject *right)
{
    return combined(left, right, "intersection_update");
}

static PyObject *LRUView_or(PyObject *left, PyObject *right)
{
    return combined(left, right, "update");
}

static PyObject *LRUView_subtract(PyObject *left, PyObject *right)
{
    return combined(left, right, "difference_update");
}

static PyObject *LRUView_xor(PyObject *left, PyObject *right)
{
    return combined(left, right, "symmetric_difference_update");
}

/* 1 when every element of `part` is (wanted) or is not (!wanted) in `whole`, else 0, or -1. */
static int all_in(PyObject *part, PyObject *whole, bool wanted)
{
    PyObject *iterator = PyObject_GetIter(part);
    if (iterator == NULL) {
        return -1;
    }
    int result = 1;
    PyObject *item;
    while (result == 1 && (item = PyIter_Next(iterator)) != NULL) {
        int inside = PySequence_Contains(whole, item);
        Py_DECREF(item);
        result = inside < 0 ? -1 : (inside != 0) == wanted;
    }
    Py_DECREF(iterator);
    return PyErr_Occurred() ? -1 : result;
}

static PyObject *LRUView_isdisjoint(PyObject *op, PyObject *other)
{
    int result = all_in(other, op, false);
    return result < 0 ? NULL : PyBool_FromLong(result);
}

static PyObject *LRUView_compare(PyObject *op, PyObject *other, int how)
{
    bool view = Py_TYPE(other)->tp_richcompare == LRUView_compare;
    if (!view && !PyAnySet_Check(other) && !PyDictViewSet_Check(other)) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    Py_ssize_t mine = PyObject_Size(op), its = PyObject_Size(other);
    if (mine < 0 || its < 0) {
        return NULL;
    }
    int result = 0;
    switch (how) {
    case Py_EQ:
    case Py_NE:
        result = mine == its ? all_in(op, other, true) : 0;
        if (result >= 0 && how == Py_NE) {
            result = !result;
        }
        break;
    case Py_LT:
        result = mine < its ? all_in(op, other, true) : 0;
        break;
    case Py_LE:
        result = mine <= its ? all_in(op, other, true) : 0;
        break;
    case Py_GT:
        result = mine > its ? all_in(other, op, true) : 0;
        break;
    case Py_GE:
        result = mine >= its ? all_in(other, op, true) : 0;
        break;
    }
    return result < 0 ? NULL : PyBool_FromLong(result);
}

static PyMethodDef LRUIterator_methods[] = {
    {"__length_hint__", LRUIterator_length_hint, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef LRUView_methods[] = {
    {"__reversed__", LRUView_reversed, METH_NOARGS, "__reversed__($self, /)\n--\n\nNewest first."},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef LRUSetView_methods[] = {
    {"__reversed__", LRUView_reversed, METH_NOARGS, "__reversed__($self, /)\n--\n\nNewest first."},
    {"isdisjoint", LRUView_isdisjoint, METH_O,
     "isdisjoint($self, other, /)\n--\n\nWhether nothing of other is here."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef LRUView_getset[] = {
    {"mapping", LRUView_mapping, NULL, "The cache, read-only.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot LRUIterator_slots[] = {
    {Py_tp_dealloc, PFS_SLOT(LRUIterator_dealloc)},
    {Py_tp_traverse, PFS_SLOT(LRUIterator_traverse)},
    {Py_tp_clear, PFS_SLOT(LRUIterator_clear)},
    {Py_tp_iter, PFS_SLOT(PyObject_SelfIter)},
    {Py_tp_iternext, PFS_SLOT(LRUIterator_next)},
    {Py_tp_methods, LRUIterator_methods},
    {0, NULL},
};

#define VIEW_SLOTS                                                                                 \
    {Py_tp_dealloc, PFS_SLOT(LRUView_dealloc)}, {Py_tp_traverse, PFS_SLOT(LRUView_traverse)},      \
        {Py_tp_iter, PFS_SLOT(LRUView_iter)}, {Py_tp_repr, PFS_SLOT(LRUView_repr)},                \
        {Py_sq_length, PFS_SLOT(LRUView_length)},                                                  \
    {                                                                                              \
        Py_tp_getset, LRUView_getset                                                               \
    }

#define SET_VIEW_SLOTS                                                                             \
    VIEW_SLOTS, {Py_tp_hash, PFS_SLOT(PyObject_HashNotImplemented)},                               \
        {Py_tp_richcompare, PFS_SLOT(LRUView_compare)}, {Py_tp_methods, LRUSetView_methods},       \
        {Py_nb_and, PFS_SLOT(LRUView_and)}, {Py_nb_or, PFS_SLOT(LRUView_or)},                      \
        {Py_nb_subtract, PFS_SLOT(LRUView_subtract)},                                              \
    {                                                                                              \
        Py_nb_xor, PFS_SLOT(LRUView_xor)                                                           \
    }

static PyType_Slot LRUKeys_slots[] = {
    SET_VIEW_SLOTS, {Py_sq_contains, PFS_SLOT(LRUKeys_contains)}, {0, NULL}};
static PyType_Slot LRUItems_slots[] = {
    SET_VIEW_SLOTS, {Py_sq_contains, PFS_SLOT(LRUItems_contains)}, {0, NULL}};
static PyType_Slot LRUValues_slots[] = {VIEW_SLOTS, {Py_tp_methods, LRUView_methods}, {0, NULL}};

enum {
    FLAGS = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
            Py_TPFLAGS_DISALLOW_INSTANTIATION
};

int pfs_lru_py_exec_views(PyObject *module)
{
    static PyType_Spec iterator = {.name = "perfsuite._core._LRUIterator",
                                   .basicsize = sizeof(LRUIterator),
                                   .flags = FLAGS,
                                   .slots = LRUIterator_slots};
    static PyType_Spec keys = {.name = "perfsuite._core._LRUKeys",
                               .basicsize = sizeof(LRUView),
                               .flags = FLAGS,
                               .slots = LRUKeys_slots};
    static PyType_Spec values = {.name = "perfsuite._core._LRUValues",
                                 .basicsize = sizeof(LRUView),
                                 .flags = FLAGS,
                                 .slots = LRUValues_slots};
    static PyType_Spec items = {.name = "perfsuite._core._LRUItems",
                                .basicsize = sizeof(LRUView),
                                .flags = FLAGS,
                                .slots = LRUItems_slots};
    return pfs_add_type(module, PFS_TYPE_LRU_ITERATOR, &iterator) < 0 ||
                   pfs_add_type(module, PFS_TYPE_LRU_KEYS, &keys) < 0 ||
                   pfs_add_type(module, PFS_TYPE_LRU_VALUES, &values) < 0 ||
                   pfs_add_type(module, PFS_TYPE_LRU_ITEMS, &items) < 0
               ? -1
               : 0;
}
