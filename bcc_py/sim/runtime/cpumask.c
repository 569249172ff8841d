/* Kernel functions about sets of CPUs. A mask is a struct cpumask at a kernel address, the program's own (struct bpf_cpumask)
   or one of the kernel's; only the bits of CPUs that exist are looked at. Source: kernel/bpf/cpumask.c of Linux 6.18. */

enum { MASK_WORDS = 16, MASK_BYTES = 128 };

/* The words of a mask; where there is none, zeros that nobody keeps. */
static u64 *mask_at(struct cpu *cpu, u64 address, u64 *none)
{
    u8 *place = kernel_place(cpu, address, MASK_BYTES);
    if (place)
        return (u64 *)place;
    memset(none, 0, MASK_BYTES);
    return none;
}

static u64 native_to_kernel(struct sim *sim, u8 *place)
{
    return sim->kernel_start + (u64)(place - sim->kernel_bytes);
}

/* The bits of a word that stand for CPUs. */
static u64 word_bits(struct cpu *cpu, u32 word)
{
    u32 cpus = cpu->sim->cpus;
    if (cpus >= (word + 1) * 64)
        return ~0ull;
    return cpus > word * 64 ? (1ull << (cpus - word * 64)) - 1 : 0;
}

u64 kfunc_bpf_cpumask_create(struct cpu *cpu)
{
    u8 *made = heap_take(cpu->sim, MASK_BYTES + 8);
    u32 one = 1;
    if (!made)
        return 0;
    memcpy(made + MASK_BYTES, &one, 4);
    return native_to_kernel(cpu->sim, made);
}

u64 kfunc_bpf_cpumask_acquire(struct cpu *cpu, u64 mask)
{
    u8 *place = kernel_place(cpu, mask, MASK_BYTES + 8);
    if (place)
        __atomic_fetch_add((u32 *)(place + MASK_BYTES), 1, RELAXED);
    return mask;
}

void kfunc_bpf_cpumask_release(struct cpu *cpu, u64 mask)
{
    u8 *place = kernel_place(cpu, mask, MASK_BYTES + 8);
    if (place && __atomic_fetch_sub((u32 *)(place + MASK_BYTES), 1, RELEASE) == 1)
        heap_give(cpu->sim, place);
}

/* The first CPU whose bit in (one & other) ^ flip is set, the number of CPUs if there is none. */
static u64 first_of(struct cpu *cpu, u64 one, u64 other, u64 flip)
{
    u64 none[MASK_WORDS];
    u64 *left = mask_at(cpu, one, none);
    u64 *right = mask_at(cpu, other, none);
    u32 i;
    for (i = 0; i < cpu->sim->cpus; i++)
        if (((left[i / 64] & right[i / 64]) ^ flip) >> (i % 64) & 1)
            return i;
    return cpu->sim->cpus;
}

u64 kfunc_bpf_cpumask_first(struct cpu *cpu, u64 mask)
{
    return first_of(cpu, mask, mask, 0);
}

u64 kfunc_bpf_cpumask_first_zero(struct cpu *cpu, u64 mask)
{
    return first_of(cpu, mask, mask, ~0ull);
}

u64 kfunc_bpf_cpumask_first_and(struct cpu *cpu, u64 one, u64 other)
{
    return first_of(cpu, one, other, 0);
}

static u64 *word_of(struct cpu *cpu, u64 number, u64 mask, u64 *none)
{
    return (u32)number < cpu->sim->cpus ? mask_at(cpu, mask, none) + (u32)number / 64 : (u64 *)0;
}

void kfunc_bpf_cpumask_set_cpu(struct cpu *cpu, u64 number, u64 mask)
{
    u64 none[MASK_WORDS];
    u64 *word = word_of(cpu, number, mask, none);
    if (word)
        __atomic_fetch_or(word, 1ull << ((u32)number % 64), RELAXED);
}

void kfunc_bpf_cpumask_clear_cpu(struct cpu *cpu, u64 number, u64 mask)
{
    u64 none[MASK_WORDS];
    u64 *word = word_of(cpu, number, mask, none);
    if (word)
        __atomic_fetch_and(word, ~(1ull << ((u32)number % 64)), RELAXED);
}

u64 kfunc_bpf_cpumask_test_cpu(struct cpu *cpu, u64 number, u64 mask)
{
    u64 none[MASK_WORDS];
    u64 *word = word_of(cpu, number, mask, none);
    return word ? *word >> ((u32)number % 64) & 1 : 0;
}

u64 kfunc_bpf_cpumask_test_and_set_cpu(struct cpu *cpu, u64 number, u64 mask)
{
    u64 none[MASK_WORDS];
    u64 *word = word_of(cpu, number, mask, none);
    u32 shift = (u32)number % 64;
    return word ? __atomic_fetch_or(word, 1ull << shift, RELAXED) >> shift & 1 : 0;
}

u64 kfunc_bpf_cpumask_test_and_clear_cpu(struct cpu *cpu, u64 number, u64 mask)
{
    u64 none[MASK_WORDS];
    u64 *word = word_of(cpu, number, mask, none);
    u32 shift = (u32)number % 64;
    return word ? __atomic_fetch_and(word, ~(1ull << shift), RELAXED) >> shift & 1 : 0;
}

enum { MASK_AND, MASK_OR, MASK_XOR };

/* to = one OP other; 1 if any bit of it is set. */
static u64 combine(struct cpu *cpu, u64 to, u64 one, u64 other, u32 op)
{
    u64 none[MASK_WORDS];
    u64 nothing[MASK_WORDS];
    u64 *target = mask_at(cpu, to, nothing);
    u64 *left = mask_at(cpu, one, none);
    u64 *right = mask_at(cpu, other, none);
    u64 any = 0;
    u32 i;
    for (i = 0; i < MASK_WORDS; i++) {
        u64 word = op == MASK_AND ? left[i] & right[i] : op == MASK_OR ? left[i] | right[i] : left[i] ^ right[i];
        target[i] = word & word_bits(cpu, i);
        any |= target[i];
    }
    return any != 0;
}

u64 kfunc_bpf_cpumask_and(struct cpu *cpu, u64 to, u64 one, u64 other)
{
    return combine(cpu, to, one, other, MASK_AND);
}

void kfunc_bpf_cpumask_or(struct cpu *cpu, u64 to, u64 one, u64 other)
{
    combine(cpu, to, one, other, MASK_OR);
}

void kfunc_bpf_cpumask_xor(struct cpu *cpu, u64 to, u64 one, u64 other)
{
    combine(cpu, to, one, other, MASK_XOR);
}

void kfunc_bpf_cpumask_copy(struct cpu *cpu, u64 to, u64 from)
{
    combine(cpu, to, from, from, MASK_AND);
}

void kfunc_bpf_cpumask_clear(struct cpu *cpu, u64 mask)
{
    combine(cpu, mask, mask, mask, MASK_XOR);
}

void kfunc_bpf_cpumask_setall(struct cpu *cpu, u64 mask)
{
    u64 none[MASK_WORDS];
    u64 *words = mask_at(cpu, mask, none);
    u32 i;
    for (i = 0; i < MASK_WORDS; i++)
        words[i] = word_bits(cpu, i);
}

u64 kfunc_bpf_cpumask_weight(struct cpu *cpu, u64 mask)
{
    u64 none[MASK_WORDS];
    u64 *words = mask_at(cpu, mask, none);
    u64 count = 0;
    u32 i;
    for (i = 0; i < cpu->sim->cpus; i++)
        count += words[i / 64] >> (i % 64) & 1;
    return count;
}

u64 kfunc_bpf_cpumask_empty(struct cpu *cpu, u64 mask)
{
    return first_of(cpu, mask, mask, 0) == cpu->sim->cpus;
}

u64 kfunc_bpf_cpumask_full(struct cpu *cpu, u64 mask)
{
    return first_of(cpu, mask, mask, ~0ull) == cpu->sim->cpus;
}

u64 kfunc_bpf_cpumask_intersects(struct cpu *cpu, u64 one, u64 other)
{
    return first_of(cpu, one, other, 0) != cpu->sim->cpus;
}

/* Are the bits of one that are not in other (and, for equality, the other way round) none? */
static u64 has_no_more(struct cpu *cpu, u64 one, u64 other)
{
    u64 none[MASK_WORDS];
    u64 *left = mask_at(cpu, one, none);
    u64 *right = mask_at(cpu, other, none);
    u32 i;
    for (i = 0; i < MASK_WORDS; i++)
        if (left[i] & ~right[i] & word_bits(cpu, i))
            return 0;
    return 1;
}

u64 kfunc_bpf_cpumask_subset(struct cpu *cpu, u64 one, u64 other)
{
    return has_no_more(cpu, one, other);
}

u64 kfunc_bpf_cpumask_equal(struct cpu *cpu, u64 one, u64 other)
{
    return has_no_more(cpu, one, other) && has_no_more(cpu, other, one);
}

/* Any CPU of both, another one each time: the first behind the one that was given last. */
static u64 distribute(struct cpu *cpu, u64 one, u64 other)
{
    u64 none[MASK_WORDS];
    u64 *left = mask_at(cpu, one, none);
    u64 *right = mask_at(cpu, other, none);
    u32 cpus = cpu->sim->cpus;
    u32 i;
    for (i = 1; i <= cpus; i++) {
        u32 at = (cpu->distributed + i) % cpus;
        if ((left[at / 64] & right[at / 64]) >> (at % 64) & 1) {
            cpu->distributed = at;
            return at;
        }
    }
    return cpus;
}

u64 kfunc_bpf_cpumask_any_distribute(struct cpu *cpu, u64 mask)
{
    return distribute(cpu, mask, mask);
}

u64 kfunc_bpf_cpumask_any_and_distribute(struct cpu *cpu, u64 one, u64 other)
{
    return distribute(cpu, one, other);
}

s64 kfunc_bpf_cpumask_populate(struct cpu *cpu, u64 mask, const u8 *from, u64 size)
{
    u64 none[MASK_WORDS];
    u64 *words = mask_at(cpu, mask, none);
    u32 needed = (cpu->sim->cpus + 63) / 64;
    u32 i;
    if (size < needed * 8)
        return -EACCES;
    for (i = 0; i < needed; i++) {
        memcpy(words + i, from + i * 8, 8);
        words[i] &= word_bits(cpu, i);
    }
    return 0;
}
