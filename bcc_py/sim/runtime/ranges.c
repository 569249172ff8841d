/* The free pages of an arena: which ranges of them there are, and which of those fits a request best.

   A set of numbers below RANGE_PAGES is a tree of 64-bit words: a bit of one level says that a word of the level below
   is not 0. The ranges of one size are a list, the one that was put there last in front: of several that fit as well as
   each other Linux takes that one (kernel/bpf/range_tree.c). Nothing here fails, nothing takes memory.

   There is room for twice the pages of 4 GiB, for a range may be given back that begins in front of the arena
   (arena_free_pages). */

enum { RANGE_PAGES = 1 << 21, SET_LEVELS = 4, SET_WORDS = 33289, NO_RANGE = 0xffffffff };

/* Where a set's levels begin, in words. */
static const u32 SET_AT[5] = {0, 32768, 33280, 33288, SET_WORDS};

static void set_add(u64 *set, u32 number)
{
    u32 level;
    for (level = 0; level < SET_LEVELS; level++, number >>= 6)
        set[SET_AT[level] + (number >> 6)] |= 1ull << (number & 63);
}

static void set_remove(u64 *set, u32 number)
{
    u32 level;
    for (level = 0; level < SET_LEVELS; level++, number >>= 6) {
        u64 *word = set + SET_AT[level] + (number >> 6);
        *word &= ~(1ull << (number & 63));
        if (*word)
            return;
    }
}

/* The least number of the set from number on, or NO_RANGE. */
static u32 set_from(const u64 *set, u32 number)
{
    u32 level;
    for (level = 0; level < SET_LEVELS; level++) {
        u32 word = number >> 6;
        u64 bits;
        if (SET_AT[level] + word >= SET_AT[level + 1])
            return NO_RANGE;
        bits = set[SET_AT[level] + word] & ~0ull << (number & 63);
        if (bits) {
            number = word * 64 + (u32)__builtin_ctzll(bits);
            while (level--)
                number = number * 64 + (u32)__builtin_ctzll(set[SET_AT[level] + number]);
            return number;
        }
        number = word + 1;
    }
    return NO_RANGE;
}

/* The greatest number of the set up to number, or NO_RANGE. */
static u32 set_until(const u64 *set, u32 number)
{
    u32 level;
    for (level = 0; level < SET_LEVELS; level++) {
        u32 word = number >> 6;
        u64 bits = set[SET_AT[level] + word] & ~0ull >> (63 - (number & 63));
        if (bits) {
            number = word * 64 + 63 - (u32)__builtin_clzll(bits);
            while (level--)
                number = number * 64 + 63 - (u32)__builtin_clzll(set[SET_AT[level] + number]);
            return number;
        }
        if (!word)
            return NO_RANGE;
        number = word - 1;
    }
    return NO_RANGE;
}

static void range_put(struct ranges *ranges, u32 first, u32 size)
{
    u32 head = ranges->heads[size];
    ranges->sizes[first] = size;
    ranges->next[first] = head;
    ranges->before[first] = 0;
    if (head)
        ranges->before[head - 1] = first + 1;
    else
        set_add(ranges->by_size, size);
    ranges->heads[size] = first + 1;
    set_add(ranges->starts, first);
}

static void range_take(struct ranges *ranges, u32 first)
{
    u32 size = ranges->sizes[first];
    u32 next = ranges->next[first];
    u32 before = ranges->before[first];
    if (next)
        ranges->before[next - 1] = before;
    if (before)
        ranges->next[before - 1] = next;
    else
        ranges->heads[size] = next;
    if (!ranges->heads[size])
        set_remove(ranges->by_size, size);
    set_remove(ranges->starts, first);
}

static u32 range_end(const struct ranges *ranges, u32 first)
{
    return first + ranges->sizes[first];
}

/* The first range with a page in first to end (exclusive), or NO_RANGE. */
static u32 range_in(const struct ranges *ranges, u32 first, u32 end)
{
    u32 at = set_until(ranges->starts, first);
    if (at != NO_RANGE && range_end(ranges, at) > first)
        return at;
    at = set_from(ranges->starts, first);
    return at != NO_RANGE && at < end ? at : NO_RANGE;
}

static int ranges_have(const struct ranges *ranges, u32 first, u32 size)
{
    u32 at = range_in(ranges, first, first + size);
    return at != NO_RANGE && at <= first && range_end(ranges, at) >= first + size;
}

/* The first page of the range that size pages are taken from, or NO_RANGE. */
static u32 ranges_find(const struct ranges *ranges, u32 size)
{
    u32 best = set_from(ranges->by_size, size);
    return best == NO_RANGE ? NO_RANGE : ranges->heads[best] - 1;
}

/* No page from first on, size of them, is free. What is left of a range on either side is put back left side first. */
static void ranges_remove(struct ranges *ranges, u32 first, u32 size)
{
    u32 end = first + size;
    u32 at;
    while ((at = range_in(ranges, first, end)) != NO_RANGE) {
        u32 at_end = range_end(ranges, at);
        range_take(ranges, at);
        if (at < first)
            range_put(ranges, at, first - at);
        if (at_end > end)
            range_put(ranges, end, at_end - end);
    }
}

/* All of them are free. A range that they lie in stays what it is, and when it was put there. */
static void ranges_add(struct ranges *ranges, u32 first, u32 size)
{
    u32 end = first + size;
    u32 at;
    if (ranges_have(ranges, first, size))
        return;
    ranges_remove(ranges, first, size);
    at = set_from(ranges->starts, end);
    if (at == end) {
        end = range_end(ranges, at);
        range_take(ranges, at);
    }
    at = first ? set_until(ranges->starts, first - 1) : NO_RANGE;
    if (at != NO_RANGE && range_end(ranges, at) == first) {
        range_take(ranges, at);
        first = at;
    }
    range_put(ranges, first, end - first);
}
