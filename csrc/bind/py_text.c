/* Text: messages cleaned; and its preservation, strings to folded code points and the figures back.
 */
#include "py_patience.h"

#include "pfs_clean.h"
#include "pfs_text.h"

/* Combining marks belong to the word they are in, and Python's isalnum says no to them.  Whole
 * blocks will do: what else is in them are letters, but for the danda. */
static bool is_mark(Py_UCS4 c)
{
    return (c >= 0x300 && c <= 0x36f) || (c >= 0x483 && c <= 0x489) || (c >= 0x591 && c <= 0x5bd) ||
           (c >= 0x610 && c <= 0x61a) || (c >= 0x64b && c <= 0x65f) ||
           (c >= 0x900 && c <= 0xdf3 && c != 0x964 && c != 0x965) || (c >= 0x1ab0 && c <= 0x1aff) ||
           (c >= 0x1dc0 && c <= 0x1dff) || (c >= 0x20d0 && c <= 0x20ff) ||
           (c >= 0xfe20 && c <= 0xfe2f);
}

/* Scripts that put no spaces between words: Thai, Lao, Myanmar, Khmer, kana, Han. */
static bool is_alone(Py_UCS4 c)
{
    return (c >= 0xe00 && c <= 0xeff) || (c >= 0x1000 && c <= 0x109f) ||
           (c >= 0x1780 && c <= 0x17ff) || (c >= 0x3040 && c <= 0x30ff) ||
           (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x4e00 && c <= 0x9fff) ||
           (c >= 0xf900 && c <= 0xfaff) || (c >= 0x20000 && c <= 0x3ffff);
}

static void fold_words(Py_UCS4 *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        Py_UCS4 c = text[i];
        if (is_alone(c)) {
            text[i] = Py_UNICODE_ISALNUM(c) ? c | PFS_TEXT_ALONE : 0;
        } else if (!Py_UNICODE_ISALNUM(c) && !is_mark(c)) {
            text[i] = 0;
        }
    }
}

/* Code points of a str, to be freed with PyMem_Free; NULL with an exception. */
static Py_UCS4 *read_text(PyObject *text, size_t *length)
{
    if (!PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError, "text must be a str, not %s", Py_TYPE(text)->tp_name);
        return NULL;
    }
    *length = (size_t)PyUnicode_GET_LENGTH(text);
    return PyUnicode_AsUCS4Copy(text);
}

/* Compares two texts under one rule; 0, or -1 with an exception. */
static int compare(PyObject *original, PyObject *recovered, bool words, pfs_text_overlap *overlap)
{
    size_t na, nb;
    Py_UCS4 *a = read_text(original, &na);
    if (a == NULL) {
        return -1;
    }
    Py_UCS4 *b = read_text(recovered, &nb);
    if (b == NULL) {
        PyMem_Free(a);
        return -1;
    }
    pfs_patience waiting = pfs_patience_begin();
    void (*fold)(Py_UCS4 *, size_t) = words ? fold_words : pfs_text_fold_ascii;
    fold(a, na);
    fold(b, nb);
    pfs_status status = pfs_text_compare(a, na, b, nb, !words, pfs_patience_over, &waiting,
                                         pfs_py_alloc(), overlap);
    pfs_patience_end(&waiting);
    PyMem_Free(b);
    PyMem_Free(a);
    if (status != PFS_OK) {
        (void)pfs_raise(status, "text");
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(text_overlap_doc,
             "text_overlap(original, recovered, original_words, recovered_words, /)\n--\n\n"
             "(ROUGE-1, ROUGE-2, ROUGE-L, token F1): the first three of the lower-cased texts, the "
             "last of\nthe case-folded ones, which may be the same objects.  Without the GIL.");

static PyObject *text_overlap(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    (void)module;
    if (nargs != 4) {
        return PyErr_Format(PyExc_TypeError, "text_overlap takes 4 arguments, %zd were given",
                            nargs);
    }
    pfs_text_overlap rouge, words;
    if (compare(args[0], args[1], false, &rouge) < 0) {
        return NULL;
    }
    bool ascii = args[0] == args[2] && args[1] == args[3] && PyUnicode_IS_ASCII(args[0]) &&
                 PyUnicode_IS_ASCII(args[1]);
    if (ascii) {
        words = rouge; /* both rules make the same tokens of ASCII */
    } else if (compare(args[2], args[3], true, &words) < 0) {
        return NULL;
    }
    double token_f1 = words.original == 0 && words.recovered == 0
                          ? 1.0
                          : pfs_text_f1(words.unigrams, words.original, words.recovered);
    size_t pairs_a = rouge.original > 0 ? rouge.original - 1 : 0;
    size_t pairs_b = rouge.recovered > 0 ? rouge.recovered - 1 : 0;
    return Py_BuildValue("(dddd)", pfs_text_f1(rouge.unigrams, rouge.original, rouge.recovered),
                         pfs_text_f1(rouge.bigrams, pairs_a, pairs_b),
                         pfs_text_f1(rouge.lcs, rouge.original, rouge.recovered), token_f1);
}

PyDoc_STRVAR(word_line_doc,
             "word_line(text, /)\n--\n\n"
             "The words of a case-folded text, one space before, between and after them.");

static PyObject *text_word_line(PyObject *module, PyObject *text)
{
    (void)module;
    size_t length;
    Py_UCS4 *points = read_text(text, &length);
    if (points == NULL) {
        return NULL;
    }
    PyObject *line = NULL;
    fold_words(points, length);
    Py_UCS4 *out = length < (size_t)PY_SSIZE_T_MAX / 8 ? PyMem_New(Py_UCS4, 2 * length + 1) : NULL;
    if (out == NULL) {
        PyErr_NoMemory();
    } else {
        size_t n = 0;
        bool parted = true;
        out[n++] = ' ';
        for (size_t i = 0; i < length; i++) {
            if (points[i] == 0 || (points[i] & PFS_TEXT_ALONE && !parted)) {
                if (!parted) {
                    out[n++] = ' ';
                }
                parted = true;
            }
            if (points[i] & PFS_TEXT_ALONE) {
                out[n++] = points[i] & ~PFS_TEXT_ALONE;
                out[n++] = ' ';
            } else if (points[i] != 0) {
                out[n++] = points[i];
                parted = false;
            }
        }
        if (!parted) {
            out[n++] = ' ';
        }
        line = PyUnicode_FromKindAndData(PyUnicode_4BYTE_KIND, out, (Py_ssize_t)n);
    }
    PyMem_Free(out);
    PyMem_Free(points);
    return line;
}

PyDoc_STRVAR(clean_text_doc,
             "clean_text(text, /)\n--\n\n"
             "The text without control, direction and hidden characters, its line breaks of one "
             "kind; itself where there is nothing of it.");

static PyObject *text_clean(PyObject *module, PyObject *text)
{
    (void)module;
    if (!PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError, "text must be a str, not %s", Py_TYPE(text)->tp_name);
        return NULL;
    }
    size_t length = (size_t)PyUnicode_GET_LENGTH(text);
    int kind = (int)PyUnicode_KIND(text);
    size_t width = (size_t)kind; /* the kinds are the bytes of a code point */
    const void *points = PyUnicode_DATA(text);
    size_t clean = pfs_clean_first(points, width, length);
    if (clean == length) {
        return Py_NewRef(text);
    }
    void *out = PyMem_Malloc(length * width);
    if (out == NULL) {
        return PyErr_NoMemory();
    }
    size_t left = pfs_clean(points, width, length, clean, out);
    PyObject *made = PyUnicode_FromKindAndData(kind, out, (Py_ssize_t)left);
    PyMem_Free(out);
    return made;
}

static PyMethodDef text_methods[] = {
    {"clean_text", PFS_METHOD(text_clean), METH_O, clean_text_doc},
    {"text_overlap", PFS_METHOD(text_overlap), METH_FASTCALL, text_overlap_doc},
    {"word_line", PFS_METHOD(text_word_line), METH_O, word_line_doc},
    {NULL, NULL, 0, NULL},
};

int pfs_exec_text(PyObject *module)
{
    return PyModule_AddFunctions(module, text_methods);
}
