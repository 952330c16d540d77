/* The work of reading and writing shards in C: what a native core would bring, and no more.
 *
 * Plain headers (ustar, PAX records of times), maps of known fields, arrays of one dtype, texts in
 * ASCII: what the benchmark's samples are, in the layouts of this package and of the one on PyPI. Anything
 * else is reported as odd, so that what is read is either right or nothing. Called from native.py, which has
 * the same structures.
 */
#include <stdint.h>
#include <string.h>

typedef uint8_t u8;
typedef int64_t i64;
typedef uint64_t u64;

enum { BLOCK = 512, NAME = 100, AHEAD = 8, LINE = 64, LINES_AHEAD = 12, FAR = 4096, KEY = 9 };
enum kind { ARRAY, RAGGED, INTEGER, TEXT };
static const char ENDING[] = ".msgpack";
enum { ENDING_SIZE = sizeof ENDING - 1 };

struct field {
    i64 kind;
    const u8 *name; /* as msgpack has it */
    i64 name_size;
    const u8 *head; /* what is before an array's data */
    i64 head_size;
    i64 open_size; /* bytes of that before the length of the first axis; RAGGED */
    i64 unit;      /* bytes of an array's data; RAGGED, TEXT: of one element */
    u8 *data;      /* ARRAY, INTEGER: contiguous; RAGGED, TEXT: joined */
    i64 *starts;   /* RAGGED, TEXT: where each begins in data, in units; -1: None */
    i64 *ends;
    i64 width; /* TEXT: bytes of each; -1: they differ */
};

struct row {
    const u8 *payload;
    i64 size;
    const u8 *key;
    i64 key_size;
};

struct scan {
    const u8 *shard;
    i64 size;
    i64 at; /* next header, or the odd one */
    u64 *seen; /* pairs: hash and place of a name; of zeros at first */
    u64 mask;  /* pairs less one, a power of two less one */
};

static u64 big_endian(const u8 *at, int bytes)
{
    u64 number = 0;
    while (bytes--)
        number = number << 8 | *at++;
    return number;
}

/* -- headers ---------------------------------------------------------------------------------- */

/* -1: not octal digits that a NUL or a space ends. */
static i64 octal(const u8 *field, int size)
{
    i64 number = 0;
    int i = 0;
    for (; i < size && field[i] >= '0' && field[i] <= '7'; i++)
        number = number << 3 | (field[i] - '0');
    return i && i < size && (field[i] == 0 || field[i] == ' ') ? number : -1;
}

static i64 checksum(const u8 *header)
{
    const u64 even = 0x00ff00ff00ff00ffu;
    u64 lanes = 0, word;
    for (int i = 0; i < BLOCK; i += 8) {
        memcpy(&word, header + i, 8);
        lanes += (word & even) + (word >> 8 & even);
    }
    i64 sum = (lanes & 0xffff) + (lanes >> 16 & 0xffff) + (lanes >> 32 & 0xffff) + (lanes >> 48);
    for (int i = 148; i < 156; i++)
        sum += ' ' - header[i];
    return sum;
}

static int is_plain(const u8 *header)
{
    return !memcmp(header + 257, "ustar\0" "00", 8) && header[345] == 0;
}

/* Whether the header before a payload is one of this size and key. */
i64 header_agrees(const struct row *row)
{
    const u8 *header = row->payload - BLOCK;
    i64 size = row->key_size;
    return size + ENDING_SIZE < NAME && !memcmp(header, row->key, size)
        && !memcmp(header + size, ENDING, ENDING_SIZE + 1) && is_plain(header)
        && octal(header + 124, 12) == row->size;
}

/* Rows of a shard as its table has them: how many, or the first that is not where one can be.
 *
 * places: all offsets of payloads, their sizes, and where their keys end.
 */
i64 place(const u8 *shard, i64 bytes, const i64 *places, i64 n, const u8 *keys, i64 key_bytes,
          struct row *rows)
{
    const i64 *sizes = places + n, *key_ends = sizes + n;
    i64 end = 0, key = 0;
    for (i64 i = 0; i < n; i++) {
        i64 start = places[i], size = sizes[i], key_size = key_ends[i] - key;
        if (start < end + BLOCK || start % BLOCK || start > bytes || size < 0)
            return i;
        if (size > bytes - start || key_size <= 0 || key_size > key_bytes - key)
            return i;
        rows[i] = (struct row){shard + start, size, keys + key, key_size};
        end = start + size;
        key += key_size;
    }
    return n;
}

/* Whether PAX records are whole and tell of times alone. */
static int only_times(const u8 *at, i64 size)
{
    const u8 *end = at + size;
    while (at < end) {
        const u8 *start = at;
        i64 length = 0;
        for (; at < end && *at >= '0' && *at <= '9' && length <= size; at++)
            length = length * 10 + (*at - '0');
        if (length > end - start || length < at - start + 8 || start[length - 1] != '\n')
            return 0;
        if (*at != ' ' || !memchr("mac", at[1], 3) || memcmp(at + 2, "time=", 5))
            return 0;
        at = start + length;
    }
    return 1;
}

/* Whether a name is new. */
static int is_new(struct scan *scan, const u8 *name, i64 size)
{
    u8 padded[NAME + 8] = {0};
    u64 hash = size, word;
    memcpy(padded, name, size);
    for (i64 i = 0; i < size; i += 8) {
        memcpy(&word, padded + i, 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
    }
    hash |= 1;
    for (u64 slot = hash & scan->mask;; slot = (slot + 1) & scan->mask) {
        u64 *pair = scan->seen + 2 * slot;
        if (!pair[0]) {
            pair[0] = hash;
            pair[1] = name - scan->shard;
            return 1;
        }
        if (pair[0] == hash && !memcmp(scan->shard + pair[1], name, size + 1))
            return 0;
    }
}

/* The next samples of a shard without a table, every header verified; -1: scan->at is odd. */
i64 find(struct scan *scan, struct row *rows, i64 most)
{
    i64 found = 0;
    while (found < most && scan->at < scan->size) {
        const u8 *header = scan->shard + scan->at;
        if (scan->size - scan->at < BLOCK)
            return -1;
        if (!*header) { /* the end: nothing but zeros */
            for (; scan->at < scan->size; scan->at++)
                if (scan->shard[scan->at])
                    return -1;
            return found;
        }
        i64 size = octal(header + 124, 12);
        i64 padded = (size + BLOCK - 1) & -BLOCK;
        for (i64 line = 0; line < BLOCK + padded && line < FAR; line += LINE)
            __builtin_prefetch(header + FAR + line);
        if (octal(header + 148, 8) != checksum(header) || !is_plain(header))
            return -1;
        if (size < 0 || padded > scan->size - scan->at - BLOCK)
            return -1;
        if (header[156] == 'x') {
            if (!only_times(header + BLOCK, size))
                return -1;
        } else if (header[156] == '0' || header[156] == 0) {
            const u8 *end = memchr(header, 0, NAME), *dot = memchr(header, '.', NAME);
            if (!end || !dot || end - dot != ENDING_SIZE || memcmp(dot, ENDING, ENDING_SIZE))
                return -1;
            if (!is_new(scan, header, end - header))
                return -1;
            rows[found++] = (struct row){header + BLOCK, size, header, dot - header};
        } else
            return -1;
        scan->at += BLOCK + padded;
    }
    return found;
}

/* -- payloads: each returns the end of a value, or NULL if it is odd -------------------- */

static const u8 *integer(const u8 *at, const u8 *end, i64 *number)
{
    u8 tag = at < end ? *at++ : 0xc1;
    int bytes = (tag & 0xfc) == 0xcc || (tag & 0xfc) == 0xd0 ? 1 << (tag & 3) : 0;
    if (end - at < bytes || (!bytes && tag > 0x7f && tag < 0xe0))
        return NULL;
    u64 raw = big_endian(at, bytes);
    if (!bytes)
        *number = (int8_t)tag;
    else if (tag >= 0xd0) /* signed */
        *number = (i64)(raw << (64 - 8 * bytes)) >> (64 - 8 * bytes);
    else if (raw > INT64_MAX)
        return NULL;
    else
        *number = (i64)raw;
    return at + bytes;
}

/* To the first byte of a text or of bytes. */
static const u8 *sized(const u8 *at, const u8 *end, int text, i64 *size)
{
    u8 tag = at < end ? *at++ : 0xc1, first = text ? 0xd9 : 0xc4;
    if (text && (tag & 0xe0) == 0xa0)
        *size = tag & 0x1f;
    else if (tag >= first && tag <= first + 2 && end - at >= 1 << (tag - first)) {
        *size = (i64)big_endian(at, 1 << (tag - first));
        at += 1 << (tag - first);
    } else
        return NULL;
    return *size <= end - at ? at : NULL;
}

/* Whether an array of one axis has the head that it should, and is as long as that says. */
static int is_vector(const struct field *field, const u8 *at, i64 size)
{
    i64 length = 0, open = field->open_size;
    if (size < field->head_size || memcmp(at, field->head, open))
        return 0;
    const u8 *data = at + field->head_size;
    if (field->head[0] != 0x93)
        memcpy(&length, at + open, 8);
    else {
        for (at += open; at < data && *at >= '0' && *at <= '9' && length <= size; at++)
            length = length * 10 + (*at - '0');
        if (data - at < 6 || memcmp(at, ",), }", 5) || data[-1] != '\n')
            return 0;
        for (at += 5; at < data - 1; at++)
            if (*at != ' ')
                return 0;
    }
    return length >= 0 && length <= size && length * field->unit == size - field->head_size;
}

static const u8 *value(struct field *field, i64 row, i64 *used, const u8 *at, const u8 *end)
{
    i64 size, skip = 0;
    if (end - at < field->name_size || memcmp(at, field->name, field->name_size))
        return NULL;
    at += field->name_size;
    if (field->kind == INTEGER)
        return integer(at, end, (i64 *)field->data + row);
    if (field->kind == RAGGED && at < end && *at == 0xc0) {
        field->starts[row] = field->ends[row] = -1;
        return at + 1;
    }
    at = sized(at, end, field->kind == TEXT, &size);
    if (!at)
        return NULL;
    if (field->kind == ARRAY) {
        skip = field->head_size;
        if (size != skip + field->unit || memcmp(at, field->head, skip))
            return NULL;
        memcpy(field->data + row * field->unit, at + skip, field->unit);
        return at + size;
    }
    if (field->kind == RAGGED) {
        if (!is_vector(field, at, size))
            return NULL;
        skip = field->head_size;
    }
    size -= skip;
    if (!row || field->width != size)
        field->width = row ? -1 : size;
    memcpy(field->data + *used * field->unit, at + skip, size);
    field->starts[row] = *used;
    field->ends[row] = *used += size / field->unit;
    return at + skip + size;
}

/* A batch: the rows of this order, field by field. Returns n, or the first row that is odd. */
i64 decode(const struct row *rows, const i64 *order, i64 n, struct field *fields, i64 count,
           i64 headers)
{
    i64 used[16] = {0};
    for (i64 i = 0; i < n; i++) {
        if (i + AHEAD < n) { /* rows may lie anywhere: have them come */
            const struct row *next = rows + order[i + AHEAD];
            for (i64 at = 0; at < next->size && at < LINES_AHEAD * LINE; at += LINE)
                __builtin_prefetch(next->payload + at);
            for (i64 at = 0; headers && at <= 256; at += 2 * LINE)
                __builtin_prefetch(next->payload - BLOCK + at);
        }
        const struct row *row = rows + order[i];
        const u8 *at = row->payload, *end = at + row->size;
        if ((headers && !header_agrees(row)) || at == end || *at++ != (0x80 | count))
            return i;
        for (i64 k = 0; at && k < count; k++)
            at = value(fields + k, i, used + k, at, end);
        if (at != end)
            return i;
    }
    return n;
}

/* -- writing ---------------------------------------------------------------------------------- */

static u8 *sized_head(u8 *out, u8 first, i64 size)
{
    int bytes = size < 1 << 8 ? 1 : size < 1 << 16 ? 2 : 4;
    *out++ = first + bytes / 2;
    for (int i = bytes; i--;)
        *out++ = (u8)(size >> 8 * i);
    return out;
}

static u8 *decimal(u8 *out, i64 number, int least)
{
    u8 digits[20];
    int n = 0;
    for (; number || n < least; number /= 10)
        digits[n++] = '0' + number % 10;
    while (n)
        *out++ = digits[--n];
    return out;
}

static u8 *pack(u8 *out, const struct field *field, i64 row)
{
    memcpy(out, field->name, field->name_size);
    out += field->name_size;
    if (field->kind == INTEGER) { /* in nine bytes, as this package has them */
        i64 number = ((const i64 *)field->data)[row];
        *out++ = 0xd3;
        for (int i = 8; i--;)
            *out++ = (u8)((u64)number >> 8 * i);
        return out;
    }
    i64 start = field->kind == ARRAY ? row : field->starts[row];
    i64 size = (field->kind == ARRAY ? 1 : field->ends[row] - start) * field->unit;
    if (start < 0) {
        *out++ = 0xc0;
        return out;
    }
    if (field->kind == TEXT) {
        if (size < 32)
            *out++ = (u8)(0xa0 | size);
        else
            out = sized_head(out, 0xd9, size);
    } else {
        out = sized_head(out, 0xc4, field->head_size + size);
        memcpy(out, field->head, field->head_size);
        if (field->kind == RAGGED) {
            u8 *length = out + field->open_size, *newline = out + field->head_size - 1;
            length = decimal(length, size / field->unit, 1);
            memcpy(length, ",), }", 5);
            memset(length + 5, ' ', newline - length - 5);
        }
        out += field->head_size;
    }
    memcpy(out, field->data + start * field->unit, size);
    return out + size;
}

/* Rows as members of a tar, their numbers as keys. Returns the bytes that they are.
 *
 * starts and sizes: where in out each payload is, and how long; keys: KEY digits each.
 */
i64 build(const struct field *fields, i64 count, i64 first, i64 n, const u8 *header, u8 *out,
          i64 *starts, i64 *sizes, u8 *keys)
{
    u8 *at = out;
    for (i64 i = 0; i < n; i++) {
        u8 *payload = at + BLOCK, *end = payload;
        *end++ = (u8)(0x80 | count);
        for (i64 k = 0; k < count; k++)
            end = pack(end, fields + k, first + i);
        i64 size = end - payload, padded = (size + BLOCK - 1) & -BLOCK;
        memset(end, 0, payload + padded - end);
        memcpy(at, header, BLOCK);
        decimal(at, first + i, KEY);
        memcpy(keys + i * KEY, at, KEY);
        for (i64 digit = 0; digit < 11; digit++)
            at[124 + digit] = '0' + (size >> 3 * (10 - digit) & 7);
        i64 sum = checksum(at);
        for (int digit = 0; digit < 6; digit++)
            at[148 + digit] = '0' + (sum >> 3 * (5 - digit) & 7);
        starts[i] = payload - out;
        sizes[i] = size;
        at = payload + padded;
    }
    return at - out;
}
