#include "py_messages.h"

#include "pfs_trim.h"

#include <string.h>

static bool spells(PyObject *text, const char *word, size_t length)
{
    return (size_t)PyUnicode_GET_LENGTH(text) == length && PyUnicode_IS_ASCII(text) &&
           memcmp(PyUnicode_1BYTE_DATA(text), word, length) == 0;
}
#define SPELLS(text, word) spells(text, word, sizeof(word) - 1)

static bool is_text(PyObject *value)
{
    return value != NULL && PyUnicode_Check(value);
}

/* The value of a key in a dict, by the key's characters; borrowed, NULL if it is not there or None.
 */
static PyObject *field(PyObject *dict, const char *name)
{
    PyObject *key, *value;
    size_t length = strlen(name);
    for (Py_ssize_t at = 0; PyDict_Next(dict, &at, &key, &value);) {
        if (PyUnicode_Check(key) && spells(key, name, length)) {
            return value == Py_None ? NULL : value;
        }
    }
    return NULL;
}

static size_t utf8_length(PyObject *text)
{
    size_t length = (size_t)PyUnicode_GET_LENGTH(text), bytes = length;
    if (PyUnicode_IS_ASCII(text)) {
        return length;
    }
    switch (PyUnicode_KIND(text)) {
    case PyUnicode_1BYTE_KIND:
        for (size_t i = 0; i < length; i++) {
            bytes += PyUnicode_1BYTE_DATA(text)[i] >= 0x80;
        }
        break;
    case PyUnicode_2BYTE_KIND: /* a lone surrogate takes three bytes too */
        for (size_t i = 0; i < length; i++) {
            Py_UCS2 c = PyUnicode_2BYTE_DATA(text)[i];
            bytes += (size_t)(c >= 0x80) + (size_t)(c >= 0x800);
        }
        break;
    default:
        for (size_t i = 0; i < length; i++) {
            Py_UCS4 c = PyUnicode_4BYTE_DATA(text)[i];
            bytes += (size_t)(c >= 0x80) + (size_t)(c >= 0x800) + (size_t)(c >= 0x10000);
        }
        break;
    }
    return bytes;
}

static int wrong_type(Py_ssize_t index, const char *what, PyObject *value, const char *expected)
{
    PyErr_Format(PyExc_TypeError, "messages[%zd]%s is of type %s; it must be %s", index, what,
                 Py_TYPE(value)->tp_name, expected);
    return -1;
}

static int read_role(PyObject *role, Py_ssize_t index, pfs_message *out)
{
    if (!is_text(role)) {
        return wrong_type(index, "['role']", role, "a str");
    }
    if (SPELLS(role, "user")) {
        out->mark |= PFS_TRIM_USER;
    } else if (SPELLS(role, "assistant")) {
        out->mark |= PFS_TRIM_ASSISTANT;
    } else if (SPELLS(role, "tool") || SPELLS(role, "function")) {
        out->mark |= PFS_TRIM_TOOL;
    } else if (SPELLS(role, "system") || SPELLS(role, "developer")) {
        out->mark |= PFS_TRIM_SYSTEM;
    } else {
        PyErr_Format(PyExc_ValueError,
                     "messages[%zd]['role'] is %R; it must be user, assistant, tool, system, "
                     "developer or function",
                     index, role);
        return -1;
    }
    return 0;
}

static int read_content(PyObject *content, Py_ssize_t index, pfs_message *out, bool *tool_result)
{
    if (PyUnicode_Check(content)) {
        out->bytes = utf8_length(content);
        return 0;
    }
    if (!PyList_Check(content)) {
        return wrong_type(index, "['content']", content, "a str, a list of parts, or None");
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(content); i++) {
        PyObject *part = PyList_GET_ITEM(content, i);
        if (PyUnicode_Check(part)) {
            out->bytes += utf8_length(part);
            continue;
        }
        if (!PyDict_Check(part)) {
            return wrong_type(index, "['content'], one of its parts,", part, "a dict or a str");
        }
        PyObject *text = field(part, "text"), *type = field(part, "type");
        if (is_text(text)) {
            out->bytes += utf8_length(text);
        }
        if (is_text(type) && SPELLS(type, "tool_use")) {
            out->mark |= PFS_TRIM_CALLS;
        }
        *tool_result |= is_text(type) && SPELLS(type, "tool_result");
    }
    return 0;
}

static int read_pinned(PyObject *pinned, Py_ssize_t index, pfs_message *out)
{
    if (!PyLong_CheckExact(pinned) && !PyBool_Check(pinned)) {
        return wrong_type(index, "['pinned']", pinned, "true or false");
    }
    int overflow = 0;
    if (PyLong_AsLongAndOverflow(pinned, &overflow) != 0) {
        out->mark |= PFS_TRIM_PINNED;
    }
    return 0;
}

int pfs_message_read(PyObject *message, Py_ssize_t index, pfs_message *out)
{
    if (!PyDict_Check(message)) {
        return wrong_type(index, "", message, "a dict with a role and a content");
    }
    *out = (pfs_message){0};
    PyObject *key, *value, *role = NULL;
    bool tool_result = false;
    Py_ssize_t left = PyDict_GET_SIZE(message); /* saves the last, fruitless step */
    for (Py_ssize_t at = 0; left > 0 && PyDict_Next(message, &at, &key, &value); left--) {
        if (!PyUnicode_Check(key)) {
            continue;
        }
        switch (PyUnicode_GET_LENGTH(key)) {
        case 4:
            if (SPELLS(key, "role")) {
                role = value;
            }
            break;
        case 6:
            if (SPELLS(key, "pinned") && value != Py_None && read_pinned(value, index, out) < 0) {
                return -1;
            }
            break;
        case 7:
            if (SPELLS(key, "content") && value != Py_None &&
                read_content(value, index, out, &tool_result) < 0) {
                return -1;
            }
            break;
        case 10:
            if (SPELLS(key, "tool_calls") && value != Py_None) {
                if (!PyList_Check(value)) {
                    return wrong_type(index, "['tool_calls']", value, "a list or None");
                }
                out->mark |= PyList_GET_SIZE(value) > 0 ? PFS_TRIM_CALLS : 0;
            }
            break;
        case 12:
            if (SPELLS(key, "tool_call_id") && PyUnicode_CheckExact(value)) {
                out->reply = value;
            }
            break;
        case 13:
            if (SPELLS(key, "function_call") && value != Py_None) {
                out->mark |= PFS_TRIM_CALLS;
            }
            break;
        default:
            break;
        }
    }
    if (role == NULL) {
        PyErr_Format(PyExc_ValueError,
                     "messages[%zd] has no role; give it one, as in "
                     "{'role': 'user', 'content': ...}",
                     index);
        return -1;
    }
    if (read_role(role, index, out) < 0) {
        return -1;
    }
    unsigned kind = out->mark & (unsigned)PFS_TRIM_ROLE;
    if (kind == PFS_TRIM_USER && tool_result) {
        out->mark |= PFS_TRIM_TOOL; /* Anthropic's replies come in the user's name */
    }
    if (kind != PFS_TRIM_ASSISTANT) {
        out->mark &= (uint8_t)~PFS_TRIM_CALLS;
    }
    return 0;
}

/* The next call of a message after *at: a dict, borrowed, or NULL at the end. */
static PyObject *next_call(PyObject *message, Py_ssize_t *at)
{
    PyObject *calls = field(message, "tool_calls");
    while (calls != NULL && PyList_Check(calls) && *at < PyList_GET_SIZE(calls)) {
        PyObject *call = PyList_GET_ITEM(calls, (*at)++);
        if (PyDict_Check(call)) {
            return call;
        }
    }
    return NULL;
}

bool pfs_message_calls(PyObject *message, PyObject *id)
{
    Py_ssize_t at = 0;
    for (PyObject *call; (call = next_call(message, &at)) != NULL;) {
        PyObject *own = field(call, "id");
        if (is_text(own) && (own == id || PyUnicode_Compare(own, id) == 0)) {
            return true;
        }
    }
    return false;
}

int pfs_message_index_calls(PyObject *message, PyObject *index, PyObject *ids)
{
    Py_ssize_t at = 0;
    for (PyObject *call; (call = next_call(message, &at)) != NULL;) {
        PyObject *id = field(call, "id");
        if (id != NULL && PyUnicode_CheckExact(id) && PyDict_SetItem(ids, id, index) < 0) {
            return -1;
        }
    }
    return 0;
}

/* Appends text, or the str() of what is none; nothing for NULL. */
static int append(PyObject *pieces, PyObject *value)
{
    if (value == NULL) {
        return 0;
    }
    PyObject *text = PyObject_Str(value);
    int status = text == NULL ? -1 : PyList_Append(pieces, text);
    Py_XDECREF(text);
    return status;
}

/* The name and the arguments of one call.  The call is held: str() may run anything. */
static int append_call(PyObject *pieces, PyObject *call)
{
    PyObject *function = field(call, "function");
    PyObject *named = function != NULL && PyDict_Check(function) ? function : call;
    PyObject *name = Py_XNewRef(field(named, "name"));
    PyObject *arguments = Py_XNewRef(field(named, "arguments"));
    int status = append(pieces, name) < 0 || append(pieces, arguments) < 0 ? -1 : 0;
    Py_XDECREF(name);
    Py_XDECREF(arguments);
    return status;
}

static int append_part(PyObject *pieces, PyObject *part)
{
    if (PyUnicode_Check(part)) {
        return append(pieces, part);
    }
    if (!PyDict_Check(part)) {
        return 0;
    }
    static const char *const names[] = {"text", "name", "input", "content"};
    PyObject *type = field(part, "type");
    bool use = is_text(type) && SPELLS(type, "tool_use");
    bool result = is_text(type) && SPELLS(type, "tool_result");
    for (size_t i = 0; i < 4; i++) {
        PyObject *value =
            i == 0 || (use && i < 3) || (result && i == 3) ? field(part, names[i]) : NULL;
        if (i == 0 && !is_text(value)) {
            continue;
        }
        Py_XINCREF(value);
        int status = append(pieces, value);
        Py_XDECREF(value);
        if (status < 0) {
            return -1;
        }
    }
    return 0;
}

PyObject *pfs_message_text(PyObject *message)
{
    PyObject *content = field(message, "content");
    PyObject *call = field(message, "function_call");
    if (field(message, "tool_calls") == NULL && call == NULL) {
        if (content == NULL) {
            return PyUnicode_FromStringAndSize(NULL, 0);
        }
        if (PyUnicode_CheckExact(content)) {
            return Py_NewRef(content);
        }
    }
    PyObject *pieces = PyList_New(0);
    if (pieces == NULL) {
        return NULL;
    }
    int status = 0;
    Py_XINCREF(content);
    if (content != NULL && PyUnicode_Check(content)) {
        status = PyUnicode_GET_LENGTH(content) == 0 ? 0 : append(pieces, content);
    } else if (content != NULL && PyList_Check(content)) {
        for (Py_ssize_t i = 0; status == 0 && i < PyList_GET_SIZE(content); i++) {
            PyObject *part = Py_NewRef(PyList_GET_ITEM(content, i));
            status = append_part(pieces, part);
            Py_DECREF(part);
        }
    }
    Py_XDECREF(content);
    Py_ssize_t at = 0;
    while (status == 0 && (call = next_call(message, &at)) != NULL) {
        Py_INCREF(call);
        status = append_call(pieces, call);
        Py_DECREF(call);
    }
    call = field(message, "function_call");
    if (status == 0 && call != NULL && PyDict_Check(call)) {
        Py_INCREF(call);
        status = append_call(pieces, call);
        Py_DECREF(call);
    }
    PyObject *text = NULL;
    if (status == 0) {
        PyObject *feed = PyUnicode_FromOrdinal('\n');
        text = feed == NULL ? NULL : PyUnicode_Join(feed, pieces);
        Py_XDECREF(feed);
    }
    Py_DECREF(pieces);
    return text;
}
