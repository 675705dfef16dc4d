/* The rules are a tree of keys.  The scan walks the JSON and the tree together; a value that the
 * tree does not know is skipped by looking for quotes and brackets alone.
 */
#include "pfs_json_scan.h"

#include <string.h>

struct pfs_json_node {
    const char *key;    /* NULL: elements of an array */
    size_t length;      /* of the key; of an element its place, or EVERY or LAST */
    uint64_t rules;     /* those that end here */
    size_t first, next; /* child, sibling; 0 for none (0 is the root) */
};

#define EVERY SIZE_MAX
#define LAST  (SIZE_MAX - 1)

/* ---- rules ----------------------------------------------------------------------------------- */

/* What stands in brackets from `text` on; how many bytes with them, 0 when it is no place. */
static size_t bracketed(const char *text, size_t n, size_t *place)
{
    static const char last[] = "[-1]";
    size_t i = 1, value = 0;
    if (n >= sizeof last - 1 && memcmp(text, last, sizeof last - 1) == 0) {
        *place = LAST;
        return sizeof last - 1;
    }
    while (i < n && text[i] >= '0' && text[i] <= '9' && i <= PFS_JSON_MAX_PLACE) {
        value = value * 10 + (size_t)(text[i++] - '0');
    }
    *place = i == 1 ? EVERY : value;
    return i < n && text[i] == ']' ? i + 1 : 0;
}

/* The child for this key (NULL: the elements at a place, which is the length), made when it is not
 * there. */
static size_t child(pfs_json_rules *rules, size_t node, const char *key, size_t length)
{
    size_t *link = &rules->nodes[node].first;
    while (*link != 0) {
        const pfs_json_node *at = &rules->nodes[*link];
        if ((at->key == NULL) == (key == NULL) && at->length == length &&
            (key == NULL || length == 0 || memcmp(at->key, key, length) == 0)) {
            return *link;
        }
        link = &rules->nodes[*link].next;
    }
    *link = rules->node_count;
    rules->nodes[rules->node_count] = (pfs_json_node){.key = key, .length = length};
    return rules->node_count++;
}

/* The most nodes that a rule can need; 0 when it is no rule. */
static size_t steps(const char *text)
{
    size_t n = strcspn(text, "="), count = 0;
    for (size_t i = 0; i < n; count++) {
        if (text[i] == '[') {
            size_t place, taken = bracketed(text + i, n - i, &place);
            if (taken == 0) {
                return 0;
            }
            i += taken;
            continue;
        }
        if (text[i] == '.') {
            i++;
            if (i == 1) {
                return 0;
            }
        } else if (i != 0) {
            return 0; /* a key behind [] without a dot */
        }
        size_t key = 0;
        while (i + key < n && strchr(".[]", text[i + key]) == NULL) {
            key++;
        }
        if (key == 0 || text[i + key] == ']') {
            return 0;
        }
        i += key;
    }
    return count > PFS_JSON_MAX_DEPTH ? 0 : count + 1;
}

static void add_rule(pfs_json_rules *rules, char *text)
{
    size_t n = strcspn(text, "="), node = 0;
    for (size_t i = 0; i < n;) {
        if (text[i] == '[') {
            size_t place, taken = bracketed(text + i, n - i, &place);
            node = child(rules, node, NULL, place);
            i += taken;
            continue;
        }
        i += text[i] == '.';
        size_t key = 0;
        while (i + key < n && text[i + key] != '.' && text[i + key] != '[') {
            key++;
        }
        node = child(rules, node, text + i, key);
        i += key;
    }
    size_t rule = rules->count++;
    rules->nodes[node].rules |= UINT64_C(1) << rule;
    rules->rules[rule].equals = text[n] == '=' ? text + n + 1 : NULL;
    rules->rules[rule].length = text[n] == '=' ? strlen(text + n + 1) : 0;
}

pfs_status pfs_json_rules_init(pfs_json_rules *rules, const char *const *texts, size_t count,
                               size_t *wrong, const pfs_alloc *alloc)
{
    size_t nodes = 1, bytes = 1, at = 0;
    if (count > PFS_JSON_MAX_RULES) {
        return PFS_EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        size_t more = steps(texts[i]);
        if (more == 0) {
            if (wrong != NULL) {
                *wrong = i;
            }
            return PFS_EFORMAT;
        }
        nodes += more;
        bytes += strlen(texts[i]) + 1;
    }
    pfs_json_rules made = {.alloc = alloc, .node_count = 1};
    made.text = (char *)pfs_alloc_array(alloc, bytes, 1);
    made.nodes = (pfs_json_node *)pfs_alloc_zeroed(alloc, nodes, sizeof *made.nodes);
    if (made.text == NULL || made.nodes == NULL) {
        pfs_json_rules_clear(&made);
        return PFS_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(texts[i]) + 1;
        memcpy(made.text + at, texts[i], n);
        add_rule(&made, made.text + at);
        at += n;
    }
    *rules = made;
    return PFS_OK;
}

void pfs_json_rules_clear(pfs_json_rules *rules)
{
    pfs_alloc_release(rules->alloc, rules->text);
    pfs_alloc_release(rules->alloc, rules->nodes);
    *rules = (pfs_json_rules){.alloc = rules->alloc};
}

/* ---- strings --------------------------------------------------------------------------------- */

static int hex(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits at `from`, or -1. */
static int32_t unit(const char *from, const char *end)
{
    int32_t value = 0;
    if (end - from < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        if (hex(from[i]) < 0) {
            return -1;
        }
        value = value << 4 | hex(from[i]);
    }
    return value;
}

/* Writes a code point as UTF-8; how many bytes. */
static size_t encode(uint32_t point, char *out)
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    size_t n = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (point & 0x3f));
        point >>= 6;
    }
    out[0] = (char)((0xf00u >> n & 0xf0u) | point);
    return n;
}

/* Decodes the escape behind a backslash at *from; how many bytes, 0 when it is none. */
static size_t unescape(const char **from, const char *end, char *out)
{
    static const char MARKS[] = "\"\\/bfnrt", VALUES[] = "\"\\/\b\f\n\r\t";
    if (*from == end) {
        return 0;
    }
    char c = *(*from)++;
    const char *mark = c == '\0' ? NULL : strchr(MARKS, c);
    if (mark != NULL) {
        out[0] = VALUES[mark - MARKS];
        return 1;
    }
    int32_t point = c == 'u' ? unit(*from, end) : -1;
    if (point < 0) {
        return 0;
    }
    *from += 4;
    if (point >= 0xd800 && point < 0xdc00 && end - *from >= 6 && (*from)[0] == '\\' &&
        (*from)[1] == 'u') {
        int32_t low = unit(*from + 2, end);
        if (low >= 0xdc00 && low < 0xe000) {
            *from += 6;
            point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
        }
    }
    return encode((uint32_t)point, out);
}

/* Whether the string between these quotes is `want`. */
static bool same(const char *from, const char *end, const char *want, size_t length)
{
    if (memchr(from, '\\', (size_t)(end - from)) == NULL) {
        return (size_t)(end - from) == length && memcmp(from, want, length) == 0;
    }
    size_t at = 0;
    while (from < end) {
        char out[4] = {*from};
        size_t n = 1;
        if (*from++ == '\\') {
            n = unescape(&from, end, out);
        }
        if (n == 0 || n > length - at || memcmp(want + at, out, n) != 0) {
            return false;
        }
        at += n;
    }
    return at == length;
}

bool pfs_json_is_text(const char *json, size_t length, const char *text, size_t text_length)
{
    return length >= 2 && json[0] == '"' && same(json + 1, json + length - 1, text, text_length);
}

/* ---- the scan -------------------------------------------------------------------------------- */

typedef struct {
    const pfs_json_rules *rules;
    const char *start, *at, *end;
    pfs_json_span *spans;
    uint64_t matched;
} cursor;

static void skip_space(cursor *c)
{
    while (c->at < c->end &&
           (*c->at == ' ' || *c->at == '\n' || *c->at == '\r' || *c->at == '\t')) {
        c->at++;
    }
}

/* Whether the next byte that is no space is this one, which is then behind us. */
static bool take(cursor *c, char byte)
{
    skip_space(c);
    if (c->at == c->end || *c->at != byte) {
        return false;
    }
    c->at++;
    return true;
}

/* From behind the opening quote to behind the closing one. */
static bool skip_string(cursor *c)
{
    const char *from = c->at;
    for (;;) {
        const char *quote = (const char *)memchr(c->at, '"', (size_t)(c->end - c->at));
        if (quote == NULL) {
            return false;
        }
        c->at = quote + 1;
        const char *back = quote;
        while (back > from && back[-1] == '\\') {
            back--;
        }
        if ((quote - back) % 2 == 0) {
            return true;
        }
        from = c->at; /* so that no backslash is counted twice */
    }
}

/* Whether a number or a word can have it: letters, digits, and the marks of numbers. */
static bool is_bare(char c)
{
    char small = (char)(c | 0x20);
    return (c >= '0' && c <= '9') || (small >= 'a' && small <= 'z') || c == '.' || c == '-' ||
           c == '+';
}

static bool skip_scalar(cursor *c)
{
    const char *from = c->at;
    while (c->at < c->end && is_bare(*c->at)) {
        c->at++;
    }
    size_t n = (size_t)(c->at - from);
    return n != 0 && (*from == '-' || (*from >= '0' && *from <= '9') ||
                      (n == 4 && (memcmp(from, "true", 4) == 0 || memcmp(from, "null", 4) == 0)) ||
                      (n == 5 && memcmp(from, "false", 5) == 0));
}

/* From behind an opening bracket to behind the one that closes it. */
static bool skip_nested(cursor *c)
{
    for (size_t depth = 1; depth != 0;) {
        if (c->at == c->end) {
            return false;
        }
        switch (*c->at++) {
        case '"':
            if (!skip_string(c)) {
                return false;
            }
            break;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            depth--;
            break;
        default:
            break;
        }
    }
    return true;
}

static bool walk(cursor *c, size_t node);

/* The members of an object, from behind its `{`. */
static bool walk_object(cursor *c, size_t node)
{
    if (take(c, '}')) {
        return true;
    }
    do {
        if (!take(c, '"')) {
            return false;
        }
        const char *key = c->at;
        if (!skip_string(c)) {
            return false;
        }
        const char *end = c->at - 1;
        size_t next = c->rules->nodes[node].first;
        while (next != 0 &&
               (c->rules->nodes[next].key == NULL ||
                !same(key, end, c->rules->nodes[next].key, c->rules->nodes[next].length))) {
            next = c->rules->nodes[next].next;
        }
        if (!take(c, ':') || !walk(c, next == 0 ? SIZE_MAX : next)) {
            return false;
        }
    } while (take(c, ','));
    return take(c, '}');
}

/* The elements of an array, from behind its `[`.  One that is asked for by its place and with all
 * others is walked for each: so a value is met at most once for each node.  Which is the last is
 * known behind it: it is walked again. */
static bool walk_array(cursor *c, size_t node)
{
    const pfs_json_node *nodes = c->rules->nodes;
    const char *from;
    if (take(c, ']')) {
        return true;
    }
    size_t place = 0;
    do {
        from = c->at;
        bool asked = false;
        for (size_t i = nodes[node].first; i != 0; i = nodes[i].next) {
            if (nodes[i].key == NULL && (nodes[i].length == EVERY || nodes[i].length == place)) {
                c->at = from;
                asked = true;
                if (!walk(c, i)) {
                    return false;
                }
            }
        }
        if (!asked && !walk(c, SIZE_MAX)) {
            return false;
        }
        place++;
    } while (take(c, ','));
    for (size_t i = nodes[node].first; i != 0; i = nodes[i].next) {
        if (nodes[i].key == NULL && nodes[i].length == LAST) {
            c->at = from;
            if (!walk(c, i)) {
                return false;
            }
        }
    }
    return take(c, ']');
}

/* Of a number: every digit of what is not its exponent is 0. */
static bool is_zero(const char *number, size_t length)
{
    for (size_t i = 0; i < length && (number[i] | 0x20) != 'e'; i++) {
        if (number[i] >= '1' && number[i] <= '9') {
            return false;
        }
    }
    return true;
}

static void match(cursor *c, size_t node, const char *from)
{
    size_t n = (size_t)(c->at - from);
    bool empty = (*from == '"' && n == 2) || *from == 'n' || *from == 'f';
    bool zero = (*from == '-' || (*from >= '0' && *from <= '9')) && is_zero(from, n);
    if (*from == '{' || *from == '[') {
        cursor inside = *c;
        inside.at = from + 1;
        empty = take(&inside, *from == '{' ? '}' : ']');
    }
    for (size_t i = 0; i < c->rules->count; i++) {
        const char *want = c->rules->rules[i].equals;
        size_t length = c->rules->rules[i].length;
        if ((c->rules->nodes[node].rules >> i & 1) == 0) {
            continue;
        }
        bool found = !empty && (!zero || (c->rules->counting >> i & 1) != 0);
        if (want != NULL && *from == '"') {
            found = same(from + 1, c->at - 1, want, length);
        } else if (want != NULL) {
            found = n == length && memcmp(from, want, n) == 0;
        }
        if (found) {
            if (c->spans != NULL && (c->matched >> i & 1) == 0) {
                c->spans[i] = (pfs_json_span){(size_t)(from - c->start), n};
            }
            c->matched |= UINT64_C(1) << i;
        }
    }
}

/* One value; node SIZE_MAX: nobody asks for it. */
static bool walk(cursor *c, size_t node)
{
    skip_space(c);
    if (c->at == c->end) {
        return false;
    }
    const char *from = c->at;
    size_t first = node == SIZE_MAX ? 0 : c->rules->nodes[node].first, element = first;
    bool ok;
    switch (*from) {
    case '"':
        c->at++;
        ok = skip_string(c);
        break;
    case '{':
        c->at++;
        ok = first == 0 ? skip_nested(c) : walk_object(c, node);
        break;
    case '[':
        while (element != 0 && c->rules->nodes[element].key != NULL) {
            element = c->rules->nodes[element].next;
        }
        c->at++;
        ok = element == 0 ? skip_nested(c) : walk_array(c, node);
        break;
    default:
        ok = skip_scalar(c);
    }
    if (ok && node != SIZE_MAX && c->rules->nodes[node].rules != 0) {
        match(c, node, from);
    }
    return ok;
}

pfs_status pfs_json_scan(const pfs_json_rules *rules, const char *bytes, size_t length,
                         uint64_t *matched, pfs_json_span *spans)
{
    if (length == 0) {
        return PFS_EFORMAT;
    }
    cursor c = {.rules = rules, .start = bytes, .at = bytes, .end = bytes + length, .spans = spans};
    for (size_t i = 0; spans != NULL && i < rules->count; i++) {
        spans[i] = (pfs_json_span){0, 0};
    }
    if (!walk(&c, 0)) {
        return PFS_EFORMAT;
    }
    skip_space(&c);
    if (c.at != c.end) {
        return PFS_EFORMAT;
    }
    *matched = c.matched;
    return PFS_OK;
}
