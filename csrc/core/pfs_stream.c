/* One pass over the bytes, a line at a time.  The next LF and the next CR are looked for with
 * memchr and remembered, so that a stream with one kind of line end is searched once for the other
 * and not once a line.  What the chunk at hand cannot finish is copied when it is used up: the
 * event's data and name as slices that move into the parser, the unfinished line behind what was
 * carried of it.
 *
 * Every step allocates before it changes anything, so that after PFS_ENOMEM the same call goes on
 * where it stopped.  The rules: https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
#include "pfs_stream.h"

#include <string.h>

static const char BOM[3] = {'\xEF', '\xBB', '\xBF'};

pfs_status pfs_stream_init(pfs_stream *s, pfs_stream_kind kind, size_t max_event,
                           const pfs_alloc *alloc)
{
    if ((kind != PFS_STREAM_SSE && kind != PFS_STREAM_NDJSON && kind != PFS_STREAM_TEXT) ||
        max_event == 0 || max_event > (size_t)1 << 48) {
        return PFS_EINVAL;
    }
    *s = (pfs_stream){.alloc = alloc, .max_event = max_event, .kind = kind, .retry_ms = -1};
    return PFS_OK;
}

void pfs_stream_clear(pfs_stream *s)
{
    pfs_bytes_release(&s->line, s->alloc);
    pfs_bytes_release(&s->data_kept, s->alloc);
    pfs_bytes_release(&s->name_kept, s->alloc);
    pfs_bytes_release(&s->id, s->alloc);
    (void)pfs_stream_init(s, s->kind, s->max_event, s->alloc);
}

void pfs_stream_reset(pfs_stream *s)
{
    pfs_stream old = *s;
    (void)pfs_stream_init(s, old.kind, old.max_event, old.alloc);
    s->line = old.line;
    s->data_kept = old.data_kept;
    s->name_kept = old.name_kept;
    s->id = old.id;
    pfs_bytes_reuse(&s->line, s->alloc, PFS_STREAM_KEEP);
    pfs_bytes_reuse(&s->data_kept, s->alloc, PFS_STREAM_KEEP);
    pfs_bytes_reuse(&s->name_kept, s->alloc, PFS_STREAM_KEEP);
    pfs_bytes_reuse(&s->id, s->alloc, PFS_STREAM_KEEP);
}

pfs_status pfs_stream_feed(pfs_stream *s, const char *chunk, size_t length, int64_t at_ns)
{
    if (s->failed != PFS_OK) {
        return s->failed;
    }
    if (s->chunk != NULL) {
        return PFS_EINVAL;
    }
    if (length != 0) {
        s->chunk = chunk;
        s->length = length;
        s->at = s->lf = s->cr = 0;
        s->at_ns = at_ns;
    }
    return PFS_OK;
}

/* ---- lines ----------------------------------------------------------------------------------- */

static pfs_status fail(pfs_stream *s)
{
    s->chunk = NULL;
    s->failed = PFS_ERANGE;
    return PFS_ERANGE;
}

/* Where the next `end` at or after `at` is, or the chunk's length; *known remembers it. */
static inline size_t find(const pfs_stream *s, char end, size_t *known)
{
    if (*known <= s->at) {
        const char *found = (const char *)memchr(s->chunk + s->at, end, s->length - s->at);
        *known = 1 + (found == NULL ? s->length : (size_t)(found - s->chunk));
    }
    return *known - 1;
}

static inline size_t find_end(pfs_stream *s)
{
    if (s->chunk[s->at] == '\n') { /* the blank line that ends an event */
        return s->at;
    }
    size_t lf = find(s, '\n', &s->lf);
    if (s->kind == PFS_STREAM_NDJSON) {
        return lf;
    }
    size_t cr = find(s, '\r', &s->cr);
    return cr < lf ? cr : lf;
}

static inline bool too_long(const pfs_stream *s, size_t n)
{
    return s->line.length + n > s->max_event + PFS_STREAM_LINE_SLACK;
}

/* Moves a slice of the chunk into the parser. */
static pfs_status keep(const pfs_stream *s, pfs_stream_slice *slice, pfs_bytes *bytes)
{
    if (!slice->kept && slice->length != 0) {
        bytes->length = 0;
        pfs_status status = pfs_bytes_append(bytes, s->alloc, slice->at, slice->length);
        if (status != PFS_OK) {
            return status;
        }
        slice->at = bytes->at;
        slice->kept = true;
    }
    return PFS_OK;
}

/* Lets the chunk go: what is needed of it, and the `n` bytes of an unfinished line, are copied. */
static pfs_status finish_chunk(pfs_stream *s, size_t n)
{
    if (too_long(s, n)) {
        return fail(s);
    }
    if (n == 0 && !s->has_data && s->name.length == 0) {
        s->chunk = NULL;
        return PFS_EEMPTY;
    }
    if (keep(s, &s->data, &s->data_kept) != PFS_OK || keep(s, &s->name, &s->name_kept) != PFS_OK ||
        pfs_bytes_append(&s->line, s->alloc, n == 0 ? NULL : s->chunk + s->at, n) != PFS_OK) {
        return PFS_ENOMEM;
    }
    s->chunk = NULL;
    return PFS_EEMPTY;
}

/* ---- server-sent events ---------------------------------------------------------------------- */

static pfs_status set_slice(const pfs_stream *s, pfs_stream_slice *slice, pfs_bytes *bytes,
                            const char *value, size_t n, bool in_chunk)
{
    pfs_stream_slice set = {value, n, false};
    pfs_status status = in_chunk ? PFS_OK : keep(s, &set, bytes);
    if (status == PFS_OK) {
        *slice = set;
    }
    return status;
}

static pfs_status add_data(pfs_stream *s, const char *value, size_t n, bool in_chunk)
{
    pfs_status status;
    if (!s->has_data) {
        if (n > s->max_event) {
            return fail(s);
        }
        status = set_slice(s, &s->data, &s->data_kept, value, n, in_chunk);
        s->has_data = status == PFS_OK;
        return status;
    }
    if (s->data.length + 1 + n > s->max_event) {
        return fail(s);
    }
    if (!s->data.kept) {
        s->data_kept.length = 0; /* an empty first line is kept without a copy */
    }
    status = keep(s, &s->data, &s->data_kept);
    if (status == PFS_OK) {
        status = pfs_bytes_reserve(&s->data_kept, s->alloc, n + 1);
    }
    if (status == PFS_OK) {
        (void)pfs_bytes_append(&s->data_kept, s->alloc, "\n", 1);
        (void)pfs_bytes_append(&s->data_kept, s->alloc, value, n);
        s->data = (pfs_stream_slice){s->data_kept.at, s->data_kept.length, true};
    }
    return status;
}

static void set_retry(pfs_stream *s, const char *value, size_t n)
{
    int64_t ms = 0;
    for (size_t i = 0; i < n; i++) {
        if (value[i] < '0' || value[i] > '9') {
            return;
        }
        ms = ms > INT64_MAX / 10 - 1 ? INT64_MAX / 10 : ms * 10 + (value[i] - '0');
    }
    if (n != 0) {
        s->retry_ms = ms;
    }
}

static pfs_status read_field(pfs_stream *s, const char *line, size_t n, bool in_chunk)
{
    if (n >= 5 && memcmp(line, "data:", 5) == 0) { /* nearly every line is one */
        size_t skip = n > 5 && line[5] == ' ' ? 6 : 5;
        return add_data(s, line + skip, n - skip, in_chunk);
    }
    const char *colon = (const char *)memchr(line, ':', n);
    size_t name = colon == NULL ? n : (size_t)(colon - line);
    const char *value = line + name;
    size_t length = n - name;
    if (length != 0) { /* the colon, and one space */
        value++;
        length--;
    }
    if (length != 0 && value[0] == ' ') {
        value++;
        length--;
    }
    if (name == 4 && memcmp(line, "data", 4) == 0) {
        return add_data(s, value, length, in_chunk);
    }
    if (name == 5 && memcmp(line, "event", 5) == 0) {
        return set_slice(s, &s->name, &s->name_kept, value, length, in_chunk);
    }
    if (name == 5 && memcmp(line, "retry", 5) == 0) {
        set_retry(s, value, length);
    } else if (name == 2 && memcmp(line, "id", 2) == 0 &&
               (length == 0 || memchr(value, '\0', length) == NULL)) {
        pfs_status status = length > s->id.length
                                ? pfs_bytes_reserve(&s->id, s->alloc, length - s->id.length)
                                : PFS_OK;
        if (status != PFS_OK) {
            return status;
        }
        s->id.length = 0;
        (void)pfs_bytes_append(&s->id, s->alloc, value, length);
    }
    return PFS_OK; /* a comment (no name), or a field that the standard does not know */
}

/* Reads a complete line.  PFS_OK: it ends an event; PFS_EEMPTY: it does not. */
static inline pfs_status read_line(pfs_stream *s, const char *line, size_t n, bool in_chunk)
{
    if (!s->started && n >= sizeof BOM && memcmp(line, BOM, sizeof BOM) == 0) {
        line += sizeof BOM;
        n -= sizeof BOM;
    }
    if (n != 0) {
        pfs_status status = read_field(s, line, n, in_chunk);
        if (status != PFS_OK) {
            return status;
        }
    }
    s->started = true;
    if (n != 0) {
        return PFS_EEMPTY;
    }
    if (!s->has_data) {
        s->name = (pfs_stream_slice){0};
        return PFS_EEMPTY;
    }
    return PFS_OK;
}

static void dispatch(pfs_stream *s, pfs_stream_event *event)
{
    *event = (pfs_stream_event){
        .data = s->data.at,
        .length = s->data.length,
        .name = s->name.at,
        .name_length = s->name.length,
        .id = s->id.at,
        .id_length = s->id.length,
        .at_ns = s->at_ns,
    };
    s->has_data = false;
    s->data = s->name = (pfs_stream_slice){0};
}

/* Reads the line that was carried and is now complete. */
static pfs_status read_carried(pfs_stream *s)
{
    s->whole = true;
    pfs_status status = read_line(s, s->line.at, s->line.length, false);
    if (status == PFS_OK || status == PFS_EEMPTY) {
        s->whole = false;
        s->line.length = 0;
    }
    return status;
}

/* The common case, between events: one data line, ended by LF, and the blank line, in the chunk.
 * It does what the general way would do; false, with nothing changed, for everything else. */
static inline bool next_plain(pfs_stream *s, pfs_stream_event *event)
{
    const char *line = s->chunk + s->at;
    if (s->line.length != 0 || s->has_data || s->name.length != 0 || s->length - s->at < 7 ||
        memcmp(line, "data:", 5) != 0) {
        return false;
    }
    size_t end = find_end(s), skip = line[5] == ' ' ? 6 : 5;
    if (end + 1 >= s->length || s->chunk[end] != '\n' || s->chunk[end + 1] != '\n' ||
        end - s->at > s->max_event) {
        return false;
    }
    *event = (pfs_stream_event){
        .data = line + skip,
        .length = end - s->at - skip,
        .id = s->id.at,
        .id_length = s->id.length,
        .at_ns = s->at_ns,
    };
    s->at = end + 2;
    s->started = true;
    if (s->at == s->length) {
        s->chunk = NULL; /* nothing of it is carried */
    }
    return true;
}

static pfs_status next_sse(pfs_stream *s, pfs_stream_event *event)
{
    pfs_status status = s->whole ? read_carried(s) : PFS_EEMPTY;
    while (status == PFS_EEMPTY) {
        if (s->after_cr && s->chunk != NULL && s->at < s->length) {
            s->at += s->chunk[s->at] == '\n';
            s->after_cr = false;
        }
        if (s->chunk == NULL || s->at == s->length) {
            return s->chunk == NULL ? PFS_EEMPTY : finish_chunk(s, 0);
        }
        if (next_plain(s, event)) {
            return PFS_OK;
        }
        const char *line = s->chunk + s->at;
        size_t end = find_end(s), n = end - s->at;
        if (end == s->length) {
            return finish_chunk(s, n);
        }
        if (too_long(s, n)) {
            return fail(s);
        }
        bool carried = s->line.length != 0;
        status =
            carried ? pfs_bytes_append(&s->line, s->alloc, line, n) : read_line(s, line, n, true);
        if (status != PFS_OK && status != PFS_EEMPTY) {
            return status;
        }
        s->after_cr = s->chunk[end] == '\r';
        s->at = end + 1;
        if (carried) {
            status = read_carried(s);
        }
    }
    if (status == PFS_OK) {
        dispatch(s, event);
    }
    return status;
}

/* ---- lines of JSON, and text ----------------------------------------------------------------- */

/* Takes off a BOM at the start, the CR at the end; whether anything but white space is left. */
static bool trim_line(pfs_stream *s, const char **line, size_t *n)
{
    if (!s->started && *n >= sizeof BOM && memcmp(*line, BOM, sizeof BOM) == 0) {
        *line += sizeof BOM;
        *n -= sizeof BOM;
    }
    s->started = true;
    if (*n != 0 && (*line)[*n - 1] == '\r') {
        --*n;
    }
    for (size_t i = 0; i < *n; i++) {
        if ((*line)[i] != ' ' && (*line)[i] != '\t' && (*line)[i] != '\r') {
            return true;
        }
    }
    return false;
}

static pfs_status next_line(pfs_stream *s, pfs_stream_event *event)
{
    while (s->chunk != NULL) {
        if (s->at == s->length) {
            return finish_chunk(s, 0);
        }
        const char *line = s->chunk + s->at;
        size_t end = find_end(s), n = end - s->at;
        if (end == s->length) {
            return finish_chunk(s, n);
        }
        if (too_long(s, n)) {
            return fail(s);
        }
        if (s->line.length != 0) {
            if (pfs_bytes_append(&s->line, s->alloc, line, n) != PFS_OK) {
                return PFS_ENOMEM;
            }
            line = s->line.at;
            n = s->line.length;
            s->line.length = 0; /* its bytes stay until the next call */
        }
        s->at = end + 1;
        if (trim_line(s, &line, &n)) {
            if (n > s->max_event) {
                return fail(s);
            }
            *event = (pfs_stream_event){.data = line, .length = n, .at_ns = s->at_ns};
            return PFS_OK;
        }
    }
    return PFS_EEMPTY;
}

static pfs_status next_piece(pfs_stream *s, pfs_stream_event *event)
{
    if (s->chunk == NULL) {
        return PFS_EEMPTY;
    }
    *event = (pfs_stream_event){.data = s->chunk, .length = s->length, .at_ns = s->at_ns};
    s->chunk = NULL;
    return PFS_OK;
}

/* ---- both ------------------------------------------------------------------------------------ */

pfs_status pfs_stream_next(pfs_stream *s, pfs_stream_event *event)
{
    if (s->failed != PFS_OK) {
        return s->failed;
    }
    switch (s->kind) {
    case PFS_STREAM_SSE:
        return next_sse(s, event);
    case PFS_STREAM_NDJSON:
        return next_line(s, event);
    case PFS_STREAM_TEXT:
        break;
    }
    return next_piece(s, event);
}

/* Whether an unfinished line says anything: not a comment, not a BOM. */
static bool says_something(const pfs_stream *s)
{
    const char *line = s->line.at;
    size_t n = s->line.length;
    if (!s->started && n != 0 && memcmp(line, BOM, n < sizeof BOM ? n : sizeof BOM) == 0) {
        size_t skipped = n < sizeof BOM ? n : sizeof BOM;
        line += skipped;
        n -= skipped;
    }
    return n != 0 && line[0] != ':';
}

pfs_status pfs_stream_end(pfs_stream *s, pfs_stream_event *event)
{
    if (s->failed != PFS_OK) {
        return s->failed;
    }
    if (s->chunk != NULL || s->whole) {
        return PFS_EINVAL;
    }
    if (s->kind == PFS_STREAM_NDJSON) {
        const char *line = s->line.at;
        size_t n = s->line.length;
        s->line.length = 0;
        if (!trim_line(s, &line, &n)) {
            return PFS_EEMPTY;
        }
        if (n > s->max_event) {
            return fail(s);
        }
        *event = (pfs_stream_event){.data = line, .length = n, .at_ns = s->at_ns};
        return PFS_OK;
    }
    bool unfinished = says_something(s);
    if (!unfinished && !s->has_data && s->name.length == 0) {
        return PFS_EEMPTY;
    }
    pfs_status status =
        s->line.length != 0 ? read_line(s, s->line.at, s->line.length, false) : PFS_EEMPTY;
    if (status == PFS_ENOMEM || status == PFS_ERANGE) {
        return status;
    }
    s->line.length = 0;
    dispatch(s, event);
    return PFS_EFORMAT;
}
