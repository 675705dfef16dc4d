#include "py_messages.h"

#include "py_fields.h"

static size_t utf8_length_beyond_ascii(PyObject *text)
{
    size_t length = (size_t)PyUnicode_GET_LENGTH(text), bytes = length;
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

static inline size_t utf8_length(PyObject *text)
{
    return PyUnicode_IS_ASCII(text) ? (size_t)PyUnicode_GET_LENGTH(text)
                                    : utf8_length_beyond_ascii(text);
}

static int wrong_type(Py_ssize_t index, const char *what, PyObject *value, const char *expected)
{
    PyErr_Format(PyExc_TypeError, "messages[%zd]%s is of type %s; it must be %s", index, what,
                 Py_TYPE(value)->tp_name, expected);
    return -1;
}

static int read_role(PyObject *role, Py_ssize_t index, pfs_words *words, pfs_message *out)
{
    if (!pfs_is_text(role)) {
        return wrong_type(index, "['role']", role, "a str");
    }
    if (PFS_SPELLS(role, "user")) {
        out->mark |= PFS_TRIM_USER;
        words->user = role;
    } else if (PFS_SPELLS(role, "assistant")) {
        out->mark |= PFS_TRIM_ASSISTANT;
        words->assistant = role;
    } else if (PFS_SPELLS(role, "tool") || PFS_SPELLS(role, "function")) {
        out->mark |= PFS_TRIM_TOOL;
    } else if (PFS_SPELLS(role, "system") || PFS_SPELLS(role, "developer")) {
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
        PyObject *text = pfs_field(part, "text"), *type = pfs_field(part, "type");
        if (pfs_is_text(text)) {
            out->bytes += utf8_length(text);
        }
        if (pfs_is_text(type) && PFS_SPELLS(type, "tool_use")) {
            out->mark |= PFS_TRIM_CALLS;
        }
        *tool_result |= pfs_is_text(type) && PFS_SPELLS(type, "tool_result");
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

int pfs_message_read(PyObject *message, Py_ssize_t index, pfs_words *words, pfs_message *out)
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
            if (PFS_SPELLS(key, "role")) {
                role = value;
                words->role = key;
            }
            break;
        case 6:
            if (PFS_SPELLS(key, "pinned") && value != Py_None &&
                read_pinned(value, index, out) < 0) {
                return -1;
            }
            break;
        case 7:
            if (PFS_SPELLS(key, "content")) {
                words->content = key;
                if (value != Py_None && read_content(value, index, out, &tool_result) < 0) {
                    return -1;
                }
            }
            break;
        case 10:
            if (PFS_SPELLS(key, "tool_calls") && value != Py_None) {
                if (!PyList_Check(value)) {
                    return wrong_type(index, "['tool_calls']", value, "a list or None");
                }
                out->mark |= PyList_GET_SIZE(value) > 0 ? PFS_TRIM_CALLS : 0;
            }
            break;
        case 12:
            if (PFS_SPELLS(key, "tool_call_id") && PyUnicode_CheckExact(value)) {
                out->reply = value;
            }
            break;
        case 13:
            if (PFS_SPELLS(key, "function_call") && value != Py_None) {
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
    if (read_role(role, index, words, out) < 0) {
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

bool pfs_message_calls(PyObject *message, PyObject *id)
{
    Py_ssize_t at = 0;
    for (PyObject *call; (call = pfs_next_call(message, &at)) != NULL;) {
        PyObject *own = pfs_field(call, "id");
        if (pfs_is_text(own) && (own == id || PyUnicode_Compare(own, id) == 0)) {
            return true;
        }
    }
    return false;
}

int pfs_message_index_calls(PyObject *message, PyObject *index, PyObject *ids)
{
    Py_ssize_t at = 0;
    for (PyObject *call; (call = pfs_next_call(message, &at)) != NULL;) {
        PyObject *id = pfs_field(call, "id");
        if (id != NULL && PyUnicode_CheckExact(id) && PyDict_SetItem(ids, id, index) < 0) {
            return -1;
        }
    }
    return 0;
}
