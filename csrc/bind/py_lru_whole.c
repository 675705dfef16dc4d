/* What LRUCache does with its contents as a whole: update, compare, show, copy, pickle,
 * resize. */
#include "py_lru.h"

/* Puts the pairs of an iterable, each a sequence of two. */
static int put_pairs(LRUCache *self, PyObject *pairs)
{
    PyObject *iterator = PyObject_GetIter(pairs);
    if (iterator == NULL) {
        return -1;
    }
    int result = 0;
    PyObject *item;
    for (Py_ssize_t at = 0; result == 0 && (item = PyIter_Next(iterator)) != NULL; at++) {
        PyObject *pair = PySequence_Tuple(item);
        Py_DECREF(item);
        if (pair != NULL && PyTuple_GET_SIZE(pair) == 2) {
            result = pfs_lru_py_put(self, PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1));
        } else {
            result = -1;
            if (pair != NULL) {
                PyErr_Format(PyExc_ValueError,
                             "element %zd of update() has length %zd; 2 is required", at,
                             PyTuple_GET_SIZE(pair));
            }
        }
        Py_XDECREF(pair);
    }
    Py_DECREF(iterator);
    return result < 0 || PyErr_Occurred() ? -1 : 0;
}

static int put_keys(LRUCache *self, PyObject *mapping)
{
    PyObject *keys = PyMapping_Keys(mapping); /* a list of its own */
    if (keys == NULL) {
        return -1;
    }
    int result = 0;
    for (Py_ssize_t i = 0; result == 0 && i < PyList_GET_SIZE(keys); i++) {
        PyObject *key = Py_NewRef(PyList_GET_ITEM(keys, i));
        PyObject *value = PyObject_GetItem(mapping, key);
        result = value == NULL ? -1 : pfs_lru_py_put(self, key, value);
        Py_XDECREF(value);
        Py_DECREF(key);
    }
    Py_DECREF(keys);
    return result;
}

static int put_many(LRUCache *self, PyObject *other)
{
    pfs_state *state = pfs_state_of_type(Py_TYPE(self));
    if (state == NULL) {
        return -1;
    }
    if (PyDict_CheckExact(other) || PyObject_TypeCheck(other, state->types[PFS_TYPE_LRU_CACHE])) {
        PyObject *items = PyMapping_Items(other); /* a snapshot; of a cache, without counting */
        int result = items == NULL ? -1 : put_pairs(self, items);
        Py_XDECREF(items);
        return result;
    }
    PyObject *keys = PyObject_GetAttrString(other, "keys");
    if (keys != NULL) {
        Py_DECREF(keys);
        return put_keys(self, other);
    }
    if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
        return -1;
    }
    PyErr_Clear();
    return put_pairs(self, other);
}

PyObject *pfs_lru_py_update(PyObject *op, PyObject *args, PyObject *kwargs)
{
    if (!pfs_lru_py_arguments("update", PyTuple_GET_SIZE(args), 0, 1)) {
        return NULL;
    }
    if (PyTuple_GET_SIZE(args) == 1 && put_many((LRUCache *)op, PyTuple_GET_ITEM(args, 0)) < 0) {
        return NULL;
    }
    if (kwargs != NULL && put_many((LRUCache *)op, kwargs) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* A new list of the (key, value) pairs, oldest first. */
static PyObject *pairs_of(PyObject *op)
{
    PyObject *view = pfs_lru_py_view((LRUCache *)op, LRU_ITEMS);
    PyObject *pairs = view == NULL ? NULL : PySequence_List(view);
    Py_XDECREF(view);
    return pairs;
}

/* A new dict of the same contents. */
static PyObject *dict_of(PyObject *op)
{
    PyObject *dict = PyDict_New(), *pairs = pairs_of(op);
    if (dict == NULL || pairs == NULL || PyDict_MergeFromSeq2(dict, pairs, 1) < 0) {
        Py_CLEAR(dict);
    }
    Py_XDECREF(pairs);
    return dict;
}

PyObject *pfs_lru_py_compare(PyObject *op, PyObject *other, int how)
{
    pfs_state *state = pfs_state_of_type(Py_TYPE(op));
    if (state == NULL) {
        return NULL;
    }
    bool cache = PyObject_TypeCheck(other, state->types[PFS_TYPE_LRU_CACHE]);
    if ((how != Py_EQ && how != Py_NE) || !(cache || PyDict_Check(other))) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    PyObject *left = dict_of(op);
    PyObject *right = left == NULL ? NULL : cache ? dict_of(other) : Py_NewRef(other);
    PyObject *answer = right == NULL ? NULL : PyObject_RichCompare(left, right, how);
    Py_XDECREF(left);
    Py_XDECREF(right);
    return answer;
}

PyObject *pfs_lru_py_repr(PyObject *op)
{
    const char *dot = strrchr(Py_TYPE(op)->tp_name, '.');
    const char *name = dot == NULL ? Py_TYPE(op)->tp_name : dot + 1;
    int inside = Py_ReprEnter(op);
    if (inside != 0) {
        return inside < 0 ? NULL : PyUnicode_FromFormat("%s(...)", name);
    }
    PyObject *dict = dict_of(op);
    PyObject *text = dict == NULL
                         ? NULL
                         : PyUnicode_FromFormat("<%s maxsize=%lu %R>", name,
                                                (unsigned long)((LRUCache *)op)->lru.maxsize, dict);
    Py_XDECREF(dict);
    Py_ReprLeave(op);
    return text;
}

/* (version, maxsize, on_evict, hits, misses, evictions, pairs, __dict__ or None) */
static PyObject *state_of(PyObject *op)
{
    LRUCache *self = (LRUCache *)op;
    PyObject *pairs = pairs_of(op);
    if (pairs == NULL) {
        return NULL;
    }
    PyObject *dict = PyObject_GetAttrString(op, "__dict__");
    if (dict == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            Py_DECREF(pairs);
            return NULL;
        }
        PyErr_Clear();
        dict = Py_NewRef(Py_None);
    }
    return Py_BuildValue("(inOKKKNN)", 1, (Py_ssize_t)self->lru.maxsize,
                         self->on_evict == NULL ? Py_None : self->on_evict,
                         (unsigned long long)self->hits, (unsigned long long)self->misses,
                         (unsigned long long)self->evictions, pairs, dict);
}

PyObject *pfs_lru_py_reduce(PyObject *op, PyObject *unused)
{
    (void)unused;
    PyObject *copyreg = PyImport_ImportModule("copyreg");
    PyObject *maker = copyreg == NULL ? NULL : PyObject_GetAttrString(copyreg, "__newobj__");
    Py_XDECREF(copyreg);
    PyObject *state = maker == NULL ? NULL : state_of(op);
    if (state == NULL) {
        Py_XDECREF(maker);
        return NULL;
    }
    return Py_BuildValue("(N(O)N)", maker, (PyObject *)Py_TYPE(op), state);
}

PyObject *pfs_lru_py_setstate(PyObject *op, PyObject *state)
{
    LRUCache *self = (LRUCache *)op;
    int version;
    PyObject *number, *on_evict, *pairs, *dict;
    unsigned long long hits, misses, evictions;
    size_t maxsize;
    if (!PyTuple_Check(state)) {
        PyErr_Format(PyExc_TypeError, "the state of an LRUCache is a tuple, not %.200s",
                     Py_TYPE(state)->tp_name);
        return NULL;
    }
    if (!PyArg_ParseTuple(state, "iOOKKKO!O:__setstate__", &version, &number, &on_evict, &hits,
                          &misses, &evictions, &PyList_Type, &pairs, &dict)) {
        return NULL;
    }
    if (version != 1) {
        return pfs_raise(PFS_EVERSION, "the pickled LRUCache");
    }
    if (pfs_lru_py_maxsize(number, &maxsize) < 0 || pfs_lru_py_callback(on_evict) < 0) {
        return NULL;
    }
    PyObject *args = Py_BuildValue("(O)", number);
    int result = args == NULL ? -1 : pfs_lru_py_init(op, args, NULL);
    Py_XDECREF(args);
    if (result < 0 || put_pairs(self, pairs) < 0) {
        return NULL;
    }
    if (dict != Py_None) {
        PyObject *own = PyObject_GetAttrString(op, "__dict__");
        result = own == NULL ? -1 : PyDict_Update(own, dict);
        Py_XDECREF(own);
        if (result < 0) {
            return NULL;
        }
    }
    Py_XSETREF(self->on_evict, on_evict == Py_None ? NULL : Py_NewRef(on_evict));
    self->hits = hits;
    self->misses = misses;
    self->evictions = evictions;
    Py_RETURN_NONE;
}

PyObject *pfs_lru_py_copy(PyObject *op, PyObject *unused)
{
    (void)unused;
    PyObject *state = state_of(op);
    PyObject *copy = state == NULL ? NULL : pfs_lru_py_new(Py_TYPE(op), NULL, NULL);
    PyObject *done = copy == NULL ? NULL : pfs_lru_py_setstate(copy, state);
    if (done == NULL) {
        Py_CLEAR(copy);
    }
    Py_XDECREF(done);
    Py_XDECREF(state);
    return copy;
}

PyObject *pfs_lru_py_resize(PyObject *op, PyObject *number)
{
    LRUCache *self = (LRUCache *)op;
    size_t maxsize, leave = 0;
    if (pfs_lru_py_maxsize(number, &maxsize) < 0) {
        return NULL;
    }
    pfs_lru_pair *pairs = NULL;
    bool memory = true;
    PFS_LOCK(op);
    if (self->lru.count > maxsize) {
        leave = self->lru.count - maxsize;
        pairs = pfs_alloc_array(pfs_py_alloc(), leave, sizeof *pairs);
        memory = pairs != NULL;
        for (size_t i = 0; memory && i < leave; i++) {
            pairs[i] = pfs_lru_remove(&self->lru, pfs_lru_oldest(&self->lru));
        }
    }
    if (memory) {
        (void)pfs_lru_resize(&self->lru, maxsize);
        self->evictions += leave;
    }
    PFS_UNLOCK();
    if (!memory) {
        return PyErr_NoMemory();
    }
    /* All have left, so all are told of; the first exception is raised, later ones are shown. */
    PyObject *type = NULL, *value = NULL, *trace = NULL;
    for (size_t i = 0; i < leave; i++) {
        lru_leaving out = {pairs[i].key.pointer, pairs[i].value.pointer, true};
        if (pfs_lru_py_settle(self, &out) < 0) {
            if (type == NULL) {
                PyErr_Fetch(&type, &value, &trace);
            } else {
                PyErr_WriteUnraisable(op);
            }
        }
    }
    pfs_alloc_release(pfs_py_alloc(), pairs);
    if (type != NULL) {
        PyErr_Restore(type, value, trace);
        return NULL;
    }
    Py_RETURN_NONE;
}
