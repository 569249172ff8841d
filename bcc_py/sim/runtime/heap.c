/* Memory that kernel functions hand out: objects, masks. It lies in the simulated kernel's memory, where SimKernel has set a
   part aside (struct heap), and is never given back to this process, so a pointer that a program kept too long reads old
   bytes and nothing else.

   A block has a power of two of bytes, its head among them; one that was given back is the first to be handed out again. */

enum { BLOCK_LEAST = 5, BLOCK_CLASSES = 16 };

struct block {
    u64 next; /* of the list of free ones: its offset, 0 for none */
    u32 class;
    u32 unused;
};

/* size bytes of zeros behind a head, or null when there is no room. */
static u8 *heap_take(struct sim *sim, u64 size)
{
    struct heap *heap = &sim->heap;
    struct block *block = (struct block *)0;
    u32 class = 0;
    u64 bytes;
    while (class < BLOCK_CLASSES && (1ull << (class + BLOCK_LEAST)) < size + sizeof(struct block))
        class++;
    if (class == BLOCK_CLASSES)
        return (u8 *)0;
    bytes = 1ull << (class + BLOCK_LEAST);
    lock_take(&heap->lock);
    if (heap->free[class]) {
        block = (struct block *)(sim->kernel_bytes + heap->free[class]);
        heap->free[class] = block->next;
    } else if (heap->end - heap->at >= bytes) {
        block = (struct block *)(sim->kernel_bytes + heap->at);
        heap->at += bytes;
    }
    if (block)
        heap->blocks++;
    lock_give(&heap->lock);
    if (!block)
        return (u8 *)0;
    memset(block, 0, bytes);
    block->class = class;
    return (u8 *)(block + 1);
}

static struct block *block_of(u8 *memory)
{
    return (struct block *)memory - 1;
}

static void heap_give(struct sim *sim, u8 *memory)
{
    struct heap *heap = &sim->heap;
    struct block *block = block_of(memory);
    lock_take(&heap->lock);
    block->next = heap->free[block->class];
    heap->free[block->class] = (u64)((u8 *)block - sim->kernel_bytes);
    heap->blocks--;
    lock_give(&heap->lock);
}
