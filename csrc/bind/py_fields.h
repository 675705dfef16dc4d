/* Fields of the dicts that messages are made of, found without running any Python code: keys are
 * compared by their characters. */
#ifndef PFS_PY_FIELDS_H
#define PFS_PY_FIELDS_H

#include "pfs_py.h"

#include <stdbool.h>
#include <string.h>

static inline bool pfs_spells(PyObject *text, const char *word, size_t length)
{
    return (size_t)PyUnicode_GET_LENGTH(text) == length && PyUnicode_IS_ASCII(text) &&
           memcmp(PyUnicode_1BYTE_DATA(text), word, length) == 0;
}
#define PFS_SPELLS(text, word) pfs_spells(text, word, sizeof(word) - 1)

static inline bool pfs_is_text(PyObject *value)
{
    return value != NULL && PyUnicode_Check(value);
}

/* The value of a key in a dict, by the key's characters; borrowed, NULL if it is not there or None.
 */
static inline PyObject *pfs_field(PyObject *dict, const char *name)
{
    PyObject *key, *value;
    size_t length = strlen(name);
    for (Py_ssize_t at = 0; PyDict_Next(dict, &at, &key, &value);) {
        if (PyUnicode_Check(key) && pfs_spells(key, name, length)) {
            return value == Py_None ? NULL : value;
        }
    }
    return NULL;
}

/* The next call of a message after *at: a dict, borrowed, or NULL at the end. */
static inline PyObject *pfs_next_call(PyObject *message, Py_ssize_t *at)
{
    PyObject *calls = pfs_field(message, "tool_calls");
    while (calls != NULL && PyList_Check(calls) && *at < PyList_GET_SIZE(calls)) {
        PyObject *call = PyList_GET_ITEM(calls, (*at)++);
        if (PyDict_Check(call)) {
            return call;
        }
    }
    return NULL;
}

#endif
