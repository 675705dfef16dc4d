/* A message from bytes, at a width that the first byte says: what is left holds to the rules, and
 * is what one code point after another says. */
#include "pfs_clean.h"

#include "fuzzing.h"

static size_t width;

static uint32_t point(const uint8_t *text, size_t i)
{
    uint32_t value = 0;
    if (width == 1) {
        return text[i];
    }
    if (width == 2) {
        uint16_t two;
        memcpy(&two, text + 2 * i, 2);
        return two;
    }
    memcpy(&value, text + 4 * i, 4);
    return value;
}

/* Where nothing of it is in a text of one or two code points. */
static size_t alone(const uint8_t *text, size_t i, size_t n, uint32_t *out)
{
    uint8_t *piece = malloc(n * width), *left = malloc(n * width);
    REQUIRE(piece != NULL && left != NULL);
    memcpy(piece, text + i * width, n * width);
    size_t length = pfs_clean(piece, width, n, 0, left);
    REQUIRE(length <= n);
    for (size_t j = 0; j < length; j++) {
        out[j] = point(left, j);
    }
    free(piece);
    free(left);
    return length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    width = (size_t)1 << data[0] % 3;
    size_t length = (size - 1) / width;
    /* Blocks of their own, of just that size: what reads or writes beyond is caught. */
    uint8_t *text = malloc(length * width + 1), *out = malloc(length * width + 1);
    uint8_t *exact = length ? malloc(length * width) : NULL;
    REQUIRE(text != NULL && out != NULL && (length == 0 || exact != NULL));
    if (length > 0) {
        memcpy(exact, data + 1, length * width);
    }
    size_t clean = pfs_clean_first(exact, width, length);
    REQUIRE(clean <= length);
    size_t left = pfs_clean(exact, width, length, clean, out);
    REQUIRE(left <= length && (clean < length || left == length));
    REQUIRE(pfs_clean_first(out, width, left) == left);
    REQUIRE(pfs_clean(exact, width, length, 0, text) == left);
    REQUIRE(memcmp(text, out, left * width) == 0);
    size_t n = 0;
    for (size_t i = 0; i < length;) {
        size_t taken =
            point(exact, i) == '\r' && i + 1 < length && point(exact, i + 1) == '\n' ? 2 : 1;
        uint32_t one[2];
        size_t stayed = alone(exact, i, taken, one);
        REQUIRE(stayed <= 1);
        if (stayed == 1) {
            REQUIRE(n < left && point(out, n) == one[0]);
            n++;
        }
        i += taken;
    }
    REQUIRE(n == left);
    free(text);
    free(out);
    free(exact);
    return 0;
}
