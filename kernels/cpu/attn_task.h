/* Private to kernels/cpu: how the attention ops spread over the threads. */
#ifndef LETHE_KERNELS_CPU_ATTN_TASK_H
#define LETHE_KERNELS_CPU_ATTN_TASK_H

#include "kernels/cpu/cpu.h"

/* Rows first..first+count-1 of a segment, the columns of one kv head. In attn_cached they may go on into the segments behind, which then share
 * their first prefix_len positions. */
typedef struct AttnTask {
    int32_t segment, first, count, kv_head, prefix_len;
} AttnTask;

typedef struct AttnPlan {
    const void *args;
    int64_t (*list)(AttnTask *task, const void *args); /* fills `task` unless it is NULL; how many there are */
    void (*compute[CPU_LEVELS])(const void *args, const AttnTask *task, void *block);
    size_t block_bytes; /* what compute needs for itself */
} AttnPlan;

/* Lists the tasks, then runs all of them. */
Status attn_run(Device *dev, const AttnPlan *plan);

#endif
